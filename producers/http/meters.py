"""What the web process counts of itself, and the middleware that counts requests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from worker import telemetry as t
from worker.meters import counter, histogram

if TYPE_CHECKING:
    from collections.abc import Collection

    from prometheus_client import CollectorRegistry
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER: Final = "other"


class WebMeters:
    """The web process's meters."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = counter(t.HTTP_REQUESTS, registry)
        self._seconds = histogram(t.HTTP_SECONDS, registry)
        self._events = counter(t.WEBHOOK_EVENTS, registry)

    def request(self, route: str, method: str, status: int, took_s: float) -> None:
        """A request was answered; `route` is its template."""
        self._requests.labels(route, method if method in METHODS else OTHER, str(status)).inc()
        self._seconds.labels(route).observe(took_s)

    def event(self, result: str) -> None:
        """A webhook event came; the catalogue has the results."""
        self._events.labels(result).inc()


class Measured:
    """Counts and times every request by its route's template: whatever paths are asked for, the series stay few.

    Args:
        app: the application behind it.
        meters: where they are counted.
        besides: paths that exist and that the framework gives no template.
    """

    def __init__(self, app: ASGIApp, meters: WebMeters, besides: Collection[str] = ()) -> None:
        self._app = app
        self._meters = meters
        self._besides = besides

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s, status = time.perf_counter(), 500  # what an exception becomes

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            usual: str = scope["path"] if scope["path"] in self._besides else OTHER
            route: str = getattr(scope.get("route"), "path", usual)
            self._meters.request(route, scope["method"], status, time.perf_counter() - began_s)
