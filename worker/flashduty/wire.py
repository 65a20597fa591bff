"""One POST: a transport per thread, a limit for the body, and httpx's errors translated: they end here.

The request goes straight to httpx's transport. `httpx.Client` adds what this call has no use for (cookies, redirects,
authentication, several ways to build a URL), and that was a tenth of a job's CPU.

Neither httpx 0.28.1 nor httpcore 1.0.9 sends a request twice by itself (read in their source): httpcore's
`retries` (0 here) repeats only a failed connect, and its pool's loop only a `ConnectionNotAvailable`, raised
before the first byte. On a kept connection it swallows a write error and reads on; the read error that
follows is outcome unknown.
"""

from __future__ import annotations

import contextlib
import json
import math
import threading
from http import HTTPStatus
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import httpx

from worker.errors import FlashdutyError, NoMoreSlots, NotSent, OutcomeUnknown, SettingsError
from worker.flashduty.app_key import MASK, AppKey, quiet_http_loggers
from worker.flashduty.envelope import Answer
from worker.flashduty.transport import FENCE_AT, DeadlineTransport, HeldUp

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LIMITS: Final = httpx.Limits(max_connections=2, max_keepalive_connections=1, keepalive_expiry=60)

DEADLINE_MARGIN: Final = 1.25
"""The whole call may take this many times the connect and the read timeout together."""

HEADERS: Final = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",  # answers are small; a compressed one could be large
    "Accept-Language": "en",
    "Content-Type": "application/json",
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
    """POSTs to one API. Each thread has its own connections: one pool for 200 threads is 2.5 times slower."""

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
        self._addresses = Addresses(self._base_url)
        self._deadline_s = DEADLINE_MARGIN * (connect_timeout_s + read_timeout_s)
        self._transport = transport or (lambda: DeadlineTransport(LIMITS, self._deadline_s))
        self._max_body_bytes = max_body_bytes
        self._transports: dict[threading.Thread, httpx.BaseTransport] = {}
        self._lock = threading.Lock()
        quiet_http_loggers()

    def post(
        self, path: str, body: Mapping[str, object], key: AppKey, fence_at: float = math.inf
    ) -> Answer | FlashdutyError | NoMoreSlots:
        """The server's answer, or why there is none. An error is returned, not raised.

        Nothing that httpx raised leaves this method: its exceptions hold requests and frames with the key.

        Raises:
            SettingsError: there is no way out, since the CA certificates cannot be read.
        """
        transport = self._of_thread()
        try:
            return self._exchange(transport, path, body, key, fence_at)
        except Exception as error:  # noqa: BLE001 - whatever the HTTP stack does, the outcome has a name
            return self._translate(error)
        except BaseException as error:  # noqa: BLE001 - KeyboardInterrupt goes on, without the frames below
            error.__cause__ = error.__context__ = None
            raise error.with_traceback(None)  # noqa: B904 - both lines cut what hangs on it

    def close(self) -> None:
        """Close the connections of all threads. A later call opens a new one."""
        with self._lock:
            transports, self._transports = list(self._transports.values()), {}
        for transport in transports:
            transport.close()

    def _exchange(
        self, transport: httpx.BaseTransport, path: str, body: Mapping[str, object], key: AppKey, fence_at: float
    ) -> Answer:
        # The request, which has the key in its URL, is no local variable here: tracebacks may show those.
        response = transport.handle_request(self._request(path, body, key, fence_at))
        try:
            return Answer(response.status_code, response.headers, self._read(response))
        finally:
            response.close()

    def _request(self, path: str, body: Mapping[str, object], key: AppKey, fence_at: float) -> httpx.Request:
        return httpx.Request(
            "POST",
            self._addresses.of(path, key),
            headers=HEADERS,
            content=json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(),
            extensions={"timeout": self._timeout.as_dict(), FENCE_AT: fence_at},
        )

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

    def _of_thread(self) -> httpx.BaseTransport:
        thread = threading.current_thread()
        with self._lock:
            transport = self._transports.get(thread)
            if transport is None:
                self._bury_dead_threads()
                transport = self._transports[thread] = self._transport()
            return transport

    def _bury_dead_threads(self) -> None:
        for thread in [thread for thread in self._transports if not thread.is_alive()]:
            self._transports.pop(thread).close()

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


class Addresses:
    """The endpoints' URLs with the key, each made once: it would be a thirtieth of a job's CPU. Thread-safe.

    Args:
        base: the API's address.
    """

    def __init__(self, base: httpx.URL) -> None:
        self._base = str(base).rstrip("/")
        self._made: dict[str, _Address] = {}

    def of(self, path: str, key: AppKey) -> httpx.URL:
        """The URL of one endpoint for this key; one for another key is forgotten."""
        query = key.query()
        made = self._made.get(path)
        if made is None or made.query != query:
            made = self._made[path] = _Address(query, httpx.URL(f"{self._base}{path}").copy_with(query=query))
        return made.url


class _Address:
    """A URL with a key. No repr and no attribute listing shows it."""

    __slots__ = ("query", "url")

    def __init__(self, query: bytes, url: httpx.URL) -> None:
        self.query = query
        self.url = url

    def __repr__(self) -> str:
        return f"<address with {MASK}>"


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
