"""One POST: a client per thread, a limit for the body, and httpx's errors translated: they end here.

Neither httpx 0.28.1 nor httpcore 1.0.9 sends a request twice by itself (read in their source): httpcore's
`retries` (0 here) repeats only a failed connect, and its pool's loop only a `ConnectionNotAvailable`, raised
before the first byte. On a kept connection it swallows a write error and reads on; the read error that
follows is outcome unknown.
"""

from __future__ import annotations

import contextlib
import math
import threading
from http import HTTPStatus
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import httpx

from worker.errors import FlashdutyError, NoMoreSlots, NotSent, OutcomeUnknown, SettingsError
from worker.flashduty.app_key import AppKey, quiet_http_loggers
from worker.flashduty.envelope import Answer
from worker.flashduty.transport import APP_KEY, FENCE_AT, AppKeyTransport, DeadlineTransport, HeldUp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LIMITS: Final = httpx.Limits(max_connections=2, max_keepalive_connections=1, keepalive_expiry=60)

DEADLINE_MARGIN: Final = 1.25
"""The whole call may take this many times the connect and the read timeout together."""

HEADERS: Final = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",  # answers are small; a compressed one could be large
    "Accept-Language": "en",
    "User-Agent": f"warrooms/{version('warrooms')}",
}

NOT_SENT: Final = (
    httpx.ConnectError,  # refused, no route, DNS, TLS
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
"""What httpx raises before the request's first byte leaves. Everything else: outcome unknown."""


class Wire:
    """POSTs to one API. Each thread has its own `httpx.Client`: one for 200 threads is 2.5 times slower."""

    def __init__(
        self,
        base_url: str,
        transport: Callable[[], httpx.BaseTransport] | None,
        connect_timeout_s: float,
        read_timeout_s: float,
        max_body_bytes: int,
    ) -> None:
        self._base_url = checked_base_url(base_url)
        self._where = self._base_url.netloc.decode("ascii")
        self._timeout = httpx.Timeout(read_timeout_s, connect=connect_timeout_s, pool=connect_timeout_s)
        self._deadline_s = DEADLINE_MARGIN * (connect_timeout_s + read_timeout_s)
        self._transport = transport or (lambda: DeadlineTransport(LIMITS, self._deadline_s))
        self._max_body_bytes = max_body_bytes
        self._clients: dict[threading.Thread, httpx.Client] = {}
        self._lock = threading.Lock()
        quiet_http_loggers()

    def post(
        self, path: str, body: Mapping[str, object], key: AppKey, fence_at: float = math.inf
    ) -> Answer | FlashdutyError | NoMoreSlots:
        """The server's answer, or why there is none. An error is returned, not raised.

        Nothing that httpx raised leaves this method: its exceptions hold requests and frames with the key.

        Raises:
            SettingsError: there is no client, since the CA certificates cannot be read.
        """
        client = self._client()
        try:
            return self._exchange(client, path, body, key, fence_at)
        except Exception as error:  # noqa: BLE001 - whatever the HTTP stack does, the outcome has a name
            return self._translate(error)
        except BaseException as error:  # noqa: BLE001 - KeyboardInterrupt goes on, without the frames below
            error.__cause__ = error.__context__ = None
            raise error.with_traceback(None)  # noqa: B904 - both lines cut what hangs on it

    def close(self) -> None:
        """Close the connections of all threads. A later call opens a new one."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            client.close()

    def _exchange(
        self, client: httpx.Client, path: str, body: Mapping[str, object], key: AppKey, fence_at: float
    ) -> Answer:
        url = f"{str(self._base_url).rstrip('/')}{path}"
        with client.stream("POST", url, json=body, extensions={APP_KEY: key, FENCE_AT: fence_at}) as response:
            return Answer(response.status_code, response.headers, self._read(response))

    def _read(self, response: httpx.Response) -> bytes | None:
        """The body; None if it is too large. A 429 says it all in its status, even if its body is cut."""
        body = bytearray()
        told = response.status_code == HTTPStatus.TOO_MANY_REQUESTS
        with contextlib.suppress(*[httpx.HTTPError] * told):
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > self._max_body_bytes:
                    return None
        return bytes(body)

    def _client(self) -> httpx.Client:
        thread = threading.current_thread()
        with self._lock:
            client = self._clients.get(thread)
            if client is None:
                self._bury_dead_threads()
                client = self._clients[thread] = httpx.Client(
                    transport=AppKeyTransport(self._transport()),
                    headers=HEADERS,
                    timeout=self._timeout,
                    trust_env=False,
                    follow_redirects=False,
                )
            return client

    def _bury_dead_threads(self) -> None:
        for thread in [thread for thread in self._clients if not thread.is_alive()]:
            self._clients.pop(thread).close()

    def _translate(self, error: Exception) -> FlashdutyError | NoMoreSlots:
        if isinstance(error.__cause__, HeldUp):
            return NoMoreSlots(str(error))
        if isinstance(error, NOT_SENT):
            why = str(error) or type(error).__name__
            return NotSent(f"no connection to {self._where}: {why}", code="NotConnected", hint=_REACH)
        if isinstance(error, httpx.TimeoutException):
            waited = f"within {self._timeout.read:g} s (whole call: {self._deadline_s:g} s)"
            return OutcomeUnknown(f"no complete answer from {self._where} {waited}", code="Timeout")
        if isinstance(error, httpx.HTTPError):
            what = f"the connection to {self._where} broke before the answer was complete"
            return OutcomeUnknown(f"{what} ({type(error).__name__})", code="ConnectionCut")
        return OutcomeUnknown(f"the HTTP client failed ({type(error).__name__})", code="ClientFailed")


LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_REACH: Final = "check FLASHDUTY_BASE_URL, DNS, and the way out of this network"


def checked_base_url(text: str) -> httpx.URL:
    """The API's address; its path prefix is kept.

    Raises:
        SettingsError: it is not `http(s)://host[:port][/prefix]`; not shown, since it may hold a secret.
    """
    with contextlib.suppress(httpx.InvalidURL):
        url = httpx.URL(text)
        plain = not url.userinfo and not any(character in "?#" or character.isspace() for character in text)
        if url.scheme in {"http", "https"} and url.host and plain and url.port in {None, *range(1, 65536)}:
            if url.scheme == "http" and url.host not in LOOPBACK:
                raise SettingsError("FLASHDUTY_BASE_URL must be https: else the app key crosses the network in clear")
            return url
    raise SettingsError(
        "FLASHDUTY_BASE_URL must be http(s)://host[:port][/prefix], without user, query, fragment or spaces"
    )
