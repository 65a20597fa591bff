"""Redis, as both adapters use it: one connection pool, scripts from package files, foreign errors translated here."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker import sentinel_address
from worker.errors import QueueUnavailable, SettingsError
from worker.scripts import Script, Scripts, text_of
from worker.sentinel_address import SentinelAddress, is_sentinel
from worker.sentinels import SentinelDenies, Sentinels, tls

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from worker.reading import Reading

T = TypeVar("T")

SOCKET_TIMEOUT_S: Final = 5.0
HEALTH_CHECK_S: Final = 10
SCHEMES: Final = ("redis://", "rediss://", *sentinel_address.SCHEMES)
PLACE_UNREADABLE: Final = "(unreadable address)"
SENTINELS_WANT: Final = "another password; give it in REDIS_URL as ?sentinel_password=…, and sentinel_username if any"
SEE_DOCTOR: Final = "see: warrooms doctor"
_SCRIPT_TAIL: Final = re.compile(r"\.?\s*script: (?:\S+ )?on @user_script:\d+\.?\s*$")


Hold = Callable[[int, QueueUnavailable], bool]


def never(_tries: int, _error: QueueUnavailable) -> bool:
    """The `hold` of a producer: it fails at once and says so."""
    return False


def _silent() -> None:
    """The `back` of those who said nothing."""


class RedisStore:
    """A Redis database, its scripts and its errors. Thread-safe; connects on first use.

    Args:
        url: `redis://`, `rediss://`, or that of Sentinels (`worker.sentinel_address`): then its Redis is whoever is the
            primary. A password never shows in an error or a repr.
        hold: called with the number of failed tries (from 1) and why, when Redis is away; True: try again. Workers
            pass one that waits: they hold, they never go on without the shared bucket. Producers fail at once.
        back: called when a call that was held has its answer.
        timeout_s: how long an answer may take, in seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        hold: Hold = never,
        back: Callable[[], None] = _silent,
        timeout_s: float = SOCKET_TIMEOUT_S,
    ) -> None:
        self.place = place_of(url)
        self._hold = hold
        self._back = back
        self._scripts = Scripts(lambda: self.client)
        # One immediate retry replaces a pooled connection that died with the last server. All scripts
        # bear a second execution: at worst a slot is reserved and not used.
        options: dict[str, Any] = {
            "decode_responses": True,
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
            "socket_keepalive": True,
            "health_check_interval": HEALTH_CHECK_S,
            "retry": Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
            "client_name": "warrooms",
        }
        self.sentinels: Sentinels | None = None
        if is_sentinel(url):
            self.sentinels = _sentinels(url, options)
            self.client = self.sentinels.primary()
        else:
            self.client = _client(url, options)

    def __repr__(self) -> str:
        return f"RedisStore({self.place})"

    def script(self, *names: str, **functions: str) -> Script:
        """The script of these parts, which calls other scripts as functions; see scripts.text_of."""
        return Script(self._scripts, text_of(names, functions), self.held)

    def held(self, call: Callable[[], T]) -> T:
        """The call's result, tried again for as long as `hold` says so.

        Raises:
            QueueUnavailable: Redis does not answer or refuses.
        """
        tries = 0
        while True:
            try:
                with self.errors():
                    result = call()
            except QueueUnavailable as error:
                tries += 1
                if not self._hold(tries, error):
                    raise
            else:
                if tries:
                    self._back()
                return result

    def together(self, readings: Sequence[Reading[T]]) -> list[T]:
        """What all of them read, in their order and one round trip.

        Raises:
            QueueUnavailable: Redis does not answer or refuses.
        """

        def ask() -> list[list[Any]]:
            return self._scripts.again(once)

        def once() -> list[list[Any]]:
            pipe, ends = self.client.pipeline(transaction=False), [0]
            for reading in readings:
                reading.ask(pipe)
                ends.append(len(pipe))
            replies = pipe.execute()
            return [replies[begin:end] for begin, end in pairwise(ends)]

        return [reading.read(replies) for reading, replies in zip(readings, self.held(ask), strict=True)]

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Translates what redis-py raises.

        Raises:
            QueueUnavailable: with the place and what to do, without credentials.
        """
        passing = True
        try:
            yield
        except SentinelDenies:
            passing, problem = False, f"the Sentinels of {self.place} want {SENTINELS_WANT}"
        except redis.AuthenticationError:
            passing, problem = False, f"Redis at {self.place} refuses the password; correct it in REDIS_URL"
        except redis.exceptions.NoPermissionError as error:
            passing = False
            problem = f"Redis at {self.place} does not permit this user what is needed: {error}"
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            problem = f"cannot reach Redis at {self.place} ({_reason(error)}); is it running, is REDIS_URL right?"
        except redis.RedisError as error:
            # Where in which script it happened says nothing to those who read this.
            said = _SCRIPT_TAIL.sub("", str(error)).rstrip(".")
            problem = f"Redis at {self.place} refuses: {said}; {SEE_DOCTOR}"
        else:
            return
        raise QueueUnavailable(problem, passing=passing)

    def length(self, queue: str) -> int:
        """How many messages stand in a queue.

        Raises:
            QueueUnavailable: Redis does not answer or refuses.
        """
        return self.held(lambda: self.client.llen(queue))

    def ping(self) -> None:
        """One round trip.

        Raises:
            QueueUnavailable: Redis does not answer or refuses.
        """
        with self.errors():
            self.client.ping()

    def close(self) -> None:
        """Closes every connection."""
        self.client.close()
        if self.sentinels is not None:
            self.sentinels.close()


def _client(url: str, options: dict[str, Any]) -> redis.Redis:
    """A client of one Redis.

    Raises:
        SettingsError: what is wrong with the address.
    """
    try:
        client = redis.Redis.from_url(url, **options)
        client.connection_pool.make_connection()  # opens nothing, but reads every option
    except (ValueError, TypeError):
        wrong = _what_is_wrong(url)
    else:
        wrong = "" if place_of(url) != PLACE_UNREADABLE else _what_is_wrong(url)
        if not wrong:
            return client
    raise SettingsError(f"REDIS_URL is no Redis address: {wrong}")


def _sentinels(url: str, options: dict[str, Any]) -> Sentinels:
    """The Sentinels of an address.

    Raises:
        SettingsError: what is wrong with it.
    """
    try:
        to = SentinelAddress.of(url)
    except SettingsError as error:
        problem = str(error)
    else:
        return Sentinels(
            to, db=to.database, username=to.username or None, password=to.password or None, **options, **tls(to)
        )
    raise SettingsError(f"REDIS_URL is no address of Sentinels: {problem}")


def place_of(url: str) -> str:
    """Where a Redis address points, without user, password and query: fit for people to read."""
    if is_sentinel(url):
        try:
            return SentinelAddress.of(url).place
        except SettingsError:
            return PLACE_UNREADABLE
    try:
        parts = urlsplit(url)
        if parts.scheme == "unix":
            return parts.path
        # Anything else behind the slash or a '#' is a piece of a password that is not percent-encoded.
        if re.fullmatch(r"/?|/[0-9]+", parts.path) and not parts.fragment:
            return f"{parts.hostname or 'localhost'}:{parts.port or 6379}{parts.path}"
    except ValueError:
        pass
    return PLACE_UNREADABLE


def _reason(error: BaseException) -> str:
    if isinstance(error, redis.TimeoutError | TimeoutError):
        return "no answer in time"
    # redis-py: "Error 111 connecting to host:port. Connection refused." - the place is said already.
    return str(error).rsplit(". ", 1)[-1].rstrip(".") or type(error).__name__


def _what_is_wrong(url: str) -> str:
    """Says nothing of what the address holds: any piece of it may belong to the password."""
    if not url.startswith(SCHEMES):
        return f"it must begin with {', '.join(SCHEMES[:-1])} or {SCHEMES[-1]}"
    if place_of(url) == PLACE_UNREADABLE:
        return "it is not host:port/number; a password needs its '/', '#', '?', '@' and ':' percent-encoded"
    return "it has an option that is not known, or a value that does not fit"
