"""The Sentinels, asked where the primary is, and a pool of connections that follows it.

redis-py asks them whenever it connects anew. That leaves a connection to a primary that was frozen or cut off, and woke
up when another had taken its place: for some seconds both would answer, two buckets would give out slots, and what the
old one took down would be lost. So a pool asks again before a command when nobody has for half a second. Sentinels take
longer than that to find a primary dead: what the old one gives out after its time is less than nobody gave meanwhile.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool

if TYPE_CHECKING:
    from worker.sentinel_address import SentinelAddress

ASK_EVERY_S: Final = 0.5
TIMEOUT_S: Final = 1.0
"""How long a Sentinel may take to answer; then the next one is asked."""

NOBODY_S: Final = 5.0
"""When no Sentinel answers, but the primary does: so soon they are asked again."""


class NobodyAnswers(MasterNotFoundError):
    """No Sentinel answers; where the primary was, it may still be."""


class SentinelDenies(redis.AuthenticationError):
    """A Sentinel wants a password, or another one."""


class Sentinels(Sentinel):
    """The Sentinels of an address. Thread-safe; connects on first use.

    Args:
        address: where they are, and whom they watch.
        connection: options of every connection to the primary.
    """

    def __init__(self, address: SentinelAddress, **connection: Any) -> None:  # noqa: ANN401
        own: dict[str, Any] = {
            "socket_timeout": TIMEOUT_S,
            "socket_connect_timeout": TIMEOUT_S,
            "socket_keepalive": True,
            "decode_responses": True,
            "retry": Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
            "username": address.sentinel_username or None,
            "password": address.sentinel_password or None,
        }
        super().__init__(address.hosts, sentinel_kwargs=own | tls(address), **connection)  # type: ignore[no-untyped-call]
        self._primary = address.primary

    def primary(self, **connection: Any) -> redis.Redis:  # noqa: ANN401
        """A client of whoever is the primary."""
        client: redis.Redis = self.master_for(  # type: ignore[no-untyped-call]
            self._primary, redis_class=redis.Redis, connection_pool_class=PrimaryPool, **connection
        )
        return client

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Host and port of the primary, by the first Sentinel that knows it to be well.

        Raises:
            SentinelDenies: one wants a password, or another one.
            redis.exceptions.NoPermissionError: one does not permit this user to ask.
            NobodyAnswers: none answers.
            MasterNotFoundError: those that answer know none, or say that it is down.
        """
        found = ""
        for sentinel in list(self.sentinels):
            try:
                state, named = _ask(sentinel, service_name)
            except redis.AuthenticationError:
                raise SentinelDenies from None
            except redis.exceptions.NoPermissionError:
                raise
            except (redis.ConnectionError, redis.TimeoutError):
                continue
            except redis.ResponseError:
                found = found or f"the Sentinels know no primary {service_name!r}"
                continue
            # In a failover it names the next one as soon as that says so, and some seconds before its state does.
            if named != (state["ip"], state["port"]) or self.check_master_state(state, service_name):  # type: ignore[no-untyped-call]
                self._ask_first(sentinel)
                return named
            found = f"the Sentinels say that the primary {service_name!r} is down and name no other yet"
        if found:
            raise MasterNotFoundError(found)
        raise NobodyAnswers("no Sentinel answers")

    def told(self) -> dict[str, dict[str, Any] | None]:
        """What each Sentinel says of the primary, by its place; None of one that does not answer, or knows none.

        Raises:
            SentinelDenies: one wants a password, or another one.
        """
        return {_place(sentinel): self._told(sentinel) for sentinel in self.sentinels}

    def _told(self, sentinel: Any) -> dict[str, Any] | None:  # noqa: ANN401
        try:
            return dict(sentinel.sentinel_master(self._primary))
        except redis.AuthenticationError:
            raise SentinelDenies from None
        except redis.RedisError:
            return None

    def _ask_first(self, sentinel: Any) -> None:  # noqa: ANN401
        self.sentinels = [sentinel, *(one for one in self.sentinels if one is not sentinel)]


class PrimaryPool(SentinelConnectionPool):
    """Connections to whoever is the primary, by what the Sentinels said within the last half second."""

    def __init__(self, service_name: str, sentinel_manager: Sentinels, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(service_name, sentinel_manager, **kwargs)  # type: ignore[no-untyped-call]
        self._asking = threading.Lock()
        self._ask_at_s = 0.0

    def get_connection(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """A connection to the primary.

        Raises:
            redis.ConnectionError: there is none, or it does not answer.
        """
        if self.master_address is not None:  # else the connection asks as it connects
            self._ask_again()
        return super().get_connection(*args, **kwargs)

    def _ask_again(self) -> None:
        with self._asking:
            if time.monotonic() < self._ask_at_s:
                return
            pause_s = ASK_EVERY_S
            try:
                self.get_master_address()  # type: ignore[no-untyped-call] # which drops the connections to another one
            except NobodyAnswers:
                pause_s = NOBODY_S
            self._ask_at_s = time.monotonic() + pause_s


def _ask(sentinel: Any, primary: str) -> tuple[dict[str, Any], tuple[str, int]]:  # noqa: ANN401
    """What one Sentinel knows of the primary, and where it sends us: one round trip."""
    both = sentinel.pipeline(transaction=False)
    both.sentinel_master(primary)
    both.sentinel_get_master_addr_by_name(primary)
    state, named = both.execute()
    return state, named


def _place(sentinel: Any) -> str:  # noqa: ANN401
    options = sentinel.get_connection_kwargs()
    return f"{options['host']}:{options['port']}"


def tls(address: SentinelAddress) -> dict[str, Any]:
    """What TLS takes, for redis-py; empty if there is none."""
    if address.tls is None:
        return {}
    options: dict[str, Any] = {**address.tls}
    if "ssl_check_hostname" in options:
        options["ssl_check_hostname"] = options["ssl_check_hostname"].lower() in {"true", "yes", "1"}
    return {"ssl": True, **options}
