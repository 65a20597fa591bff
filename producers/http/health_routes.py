"""`/healthz`: this process lives. `/readyz`: it can do its work, or why not."""

from fastapi import APIRouter, Request, Response

from producers.http import schemas
from producers.http.answering import Json
from producers.http.problems import Kind
from producers.http.schemas import HealthJson
from producers.http.web import Web, web_of


def routes(_web: Web) -> APIRouter:
    """The routes; they ask for no token."""
    router = APIRouter(tags=["health"])
    router.add_api_route(
        "/healthz",
        healthz,
        methods=["GET"],
        summary="Does this process answer?",
        responses=schemas.answers(200, "it does", HealthJson, {"status": "ok"}),
    )
    router.add_api_route(
        "/readyz",
        readyz,
        methods=["GET"],
        summary="Does Redis answer it?",
        responses={
            **schemas.answers(200, "it does", HealthJson, {"status": "ready"}),
            **schemas.problems(Kind.UNAVAILABLE),
        },
    )
    return router


async def healthz() -> Response:
    """Restart the process if this does not answer; Redis has no say in it."""
    return Json({"status": "ok"})


async def readyz(request: Request) -> Response:
    """Send no requests here while this is not 200; the detail says what is wrong."""
    await web_of(request).probe.ask()
    return Json({"status": "ready"})
