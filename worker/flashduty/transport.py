"""httpx's transport with the deadline of a whole call, and the fence that its request must pass in time."""

from __future__ import annotations

import contextlib
import functools
import math
from typing import TYPE_CHECKING, Any, Final

import httpcore
import httpx

from worker.clock import elapsed_s
from worker.errors import SettingsError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Iterator

FENCE_AT: Final = "warrooms.fence_at"
"""The request extension that says when, on worker.clock, its first byte must not leave any more."""


class HeldUp(httpcore.ConnectTimeout):
    """The request has not left in time, since this process was stopped or starved."""


class Deadline:
    """The moment by which the call under way must have ended. One per client, so one per thread.

    Args:
        total_s: how long a call may take, in seconds.
        clock: seconds that never go back (worker.clock).
    """

    def __init__(self, total_s: float, clock: Callable[[], float] = elapsed_s) -> None:
        self._clock = clock
        self._total_s = total_s
        self._at = 0.0
        self._fence_at = math.inf
        self._connecting_s = 0.0

    def start(self, fence_at: float = math.inf) -> None:
        """A new call begins; its request must have left by `fence_at`."""
        self._at = self._clock() + self._total_s
        self._fence_at = fence_at
        self._connecting_s = 0.0

    @contextlib.contextmanager
    def connecting(self) -> Iterator[None]:
        """Measures what the network takes before the first byte can leave."""
        began = self._clock()
        try:
            yield
        finally:
            self._connecting_s += self._clock() - began

    def leave(self) -> None:
        """Bytes of the request are about to leave. Without the last ones it is no request.

        Raises:
            httpcore.ConnectTimeout: it is too late, since connecting took so long.
            HeldUp: it is too late, for any other reason.
        """
        late_s = self._clock() - self._fence_at
        if late_s > self._connecting_s:
            raise HeldUp("this process was held up between the slot and the call")
        if late_s > 0:
            raise httpcore.ConnectTimeout(f"connecting took too long ({self._connecting_s:.1f} s)")

    def within(self, timeout_s: float | None, late: type[httpcore.TimeoutException]) -> float:
        """The smaller of the timeout and the time left.

        Raises:
            httpcore.TimeoutException: no time is left; of the class `late`.
        """
        left_s = self._at - self._clock()
        if left_s <= 0:
            raise late("the deadline of the whole call has passed")
        return left_s if timeout_s is None else min(timeout_s, left_s)


class DeadlineTransport(httpx.HTTPTransport):
    """httpx's transport with a deadline for the whole call.

    A read timeout only bounds the silence between two bytes: a server that sends one now and then, also in a
    header, holds a thread for days. So each socket operation gets no more time than the call has left.
    """

    def __init__(self, limits: httpx.Limits, total_s: float) -> None:
        super().__init__(verify=_ssl_context(), trust_env=False)
        self._deadline = Deadline(total_s)
        self._pool = httpcore.ConnectionPool(
            ssl_context=_ssl_context(),
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            retries=0,
            network_backend=_Network(self._deadline),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Start the clock and send."""
        self._deadline.start(request.extensions.get(FENCE_AT, math.inf))
        return super().handle_request(request)


@functools.cache
def _ssl_context() -> ssl.SSLContext:
    """One for all threads, built at the first call. Obeys SSL_CERT_FILE and SSL_CERT_DIR."""
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        raise SettingsError(f"no CA certificates: check SSL_CERT_FILE and SSL_CERT_DIR ({error})") from None


class _Network(httpcore.NetworkBackend):
    def __init__(self, deadline: Deadline) -> None:
        self._inner = httpcore.SyncBackend()
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        left_s = self._deadline.within(timeout, httpcore.ConnectTimeout)
        with self._deadline.connecting():
            stream = self._inner.connect_tcp(host, port, left_s, local_address, socket_options)
        return _Stream(stream, self._deadline)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._deadline.within(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer:  # httpcore writes nothing once more behind the body
            self._deadline.leave()
        self._inner.write(buffer, self._deadline.within(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left_s = self._deadline.within(timeout, httpcore.ConnectTimeout)
        with self._deadline.connecting():
            stream = self._inner.start_tls(ssl_context, server_hostname, left_s)
        return _Stream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's own signature
        return self._inner.get_extra_info(info)
