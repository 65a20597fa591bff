"""`/metrics`: this process's own meters, and the accounts' state that every web process shows alike."""

from collections.abc import Iterator
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from producers.http.tokens import Caller
from producers.http.web import MayRead, Web, web_of


def routes(web: Web) -> APIRouter:
    """The route; it asks for the right to read, unless WARROOMS_METRICS_OPEN says that anybody may."""
    router = APIRouter()
    route = everything if web.settings.metrics_open else metrics
    router.add_api_route("/metrics", route, methods=["GET"], include_in_schema=False)
    return router


async def metrics(request: Request, caller: MayRead) -> Response:
    """What this token may see: an account that does not exist for it is not in it."""
    return await _answer(request, caller)


async def everything(request: Request) -> Response:
    """All of it, for anybody."""
    return await _answer(request, None)


async def _answer(request: Request, caller: Caller | None) -> Response:
    web = web_of(request)
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    shown = web.shown if caller is None or caller.accounts is None else _Part(web.shown, caller)
    text = await to_thread.run_sync(encode, shown)
    return Response(text, headers={"Content-Type": media_type})


class _Part(Collector):
    """What a caller sees of a registry: the samples of no account, and those of its own."""

    def __init__(self, registry: CollectorRegistry, caller: Caller) -> None:
        self._registry = registry
        self._caller = caller

    def collect(self) -> Iterator[Any]:
        """The families of which something is left."""
        for family in self._registry.collect():
            family.samples = [one for one in family.samples if self._sees(one.labels.get("account"))]
            if family.samples:
                yield family

    def _sees(self, account: str | None) -> bool:
        return account is None or self._caller.sees(account)
