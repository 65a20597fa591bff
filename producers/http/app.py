"""The web application: the only place that builds its parts and joins them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import structlog
from anyio import CapacityLimiter
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from producers.gauges import Gauges
from producers.http import (
    account_routes,
    bulk_routes,
    failed_routes,
    health_routes,
    jobs_routes,
    login_routes,
    metrics_routes,
    page_routes,
    problems,
    replay_routes,
    schemas,
    webhook_routes,
)
from producers.http.answering import ProblemAnswer
from producers.http.attempts import Attempts
from producers.http.boards import Boards
from producers.http.events import recorder
from producers.http.hand_over import HandOver
from producers.http.idempotency import Answers
from producers.http.intake import Intake
from producers.http.meters import Measured, WebMeters
from producers.http.page import board_of
from producers.http.probe import Probe
from producers.http.problems import Kind, Problem, Refused
from producers.http.sessions import Sessions
from producers.http.size import SizeLimit
from producers.http.together import Together
from producers.http.usual import Usual
from producers.http.web import Web
from producers.queue import JobQueue
from worker.errors import InvalidJob, QueueUnavailable
from worker.meters import new_registry, shown
from worker.redis_store import RedisStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import Request, Response

    from producers.http.settings import WebSettings
    from worker.settings import Settings

REDIS_TIMEOUT_S: Final = 3.0
"""How long a request waits for one answer of Redis, in seconds."""

PROBE_TIMEOUT_S: Final = 1.0
"""The same for /readyz: a probe that hangs is no answer."""

KEY_THREADS: Final = 40
"""Threads for Idempotency-Keys: as many as anyio has for bulk requests and readers, who may hold all of those."""

PAGE_THREADS: Final = 8
"""Threads that look who is signed in to the status page."""

DOCS: Final = "/docs"
OPENAPI: Final = "/openapi.json"

DESCRIPTION: Final = """
Opens incident war rooms through Flashduty, at the account's speed and never twice.

Every enqueue is answered at once, with when the job is expected to start. Jobs are idempotent: the same incident and
integration is one job and one room, however often it is sent. Errors are `application/problem+json` (RFC 9457).
"""


def build(settings: Settings, web_settings: WebSettings) -> FastAPI:
    """The application.

    Raises:
        SettingsError: a setting is missing or wrong; without tokens there is no API.
    """
    web = _parts(settings, web_settings)
    app = FastAPI(
        title="warrooms",
        version="1",
        description=DESCRIPTION,
        lifespan=_life,
        docs_url=DOCS,
        openapi_url=OPENAPI,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.web = web
    for routes in (
        jobs_routes,
        bulk_routes,
        failed_routes,
        account_routes,
        webhook_routes,
        health_routes,
        metrics_routes,
    ):
        app.include_router(routes.routes(web))
    for page in (page_routes, login_routes, replay_routes):
        app.include_router(page.routes(web))
    app.add_middleware(
        SizeLimit, most_bytes=web_settings.max_body_bytes, others={bulk_routes.PATH: web_settings.max_bulk_bytes}
    )
    described = frozenset({DOCS, OPENAPI})
    app.add_middleware(Measured, meters=web.meters, besides=described)  # around all the others: what they refuse counts
    for error, answer in _ANSWERS.items():
        app.add_exception_handler(error, answer)
    _describe_problems(app)
    return app


def _parts(settings: Settings, web_settings: WebSettings) -> Web:
    tokens = web_settings.tokens(settings.accounts().keys())
    queue = JobQueue(settings, timeout_s=REDIS_TIMEOUT_S)
    intake = Intake(queue, web_settings.max_backlog)
    asked = RedisStore(settings.redis_url, timeout_s=PROBE_TIMEOUT_S)
    registry = new_registry()
    all_shown = shown(registry)
    all_shown.register(Gauges(queue.desks(), asked))
    return Web(
        queue=queue,
        probe=Probe(asked.ping, asked.close),
        settings=web_settings,
        tokens=tokens,
        intake=intake,
        together=Together(intake),
        answers=Answers(queue.store),
        key_threads=CapacityLimiter(KEY_THREADS),
        hand_over=HandOver(recorder(queue)),
        usual=Usual(queue.defaults),
        meters=WebMeters(registry),
        shown=all_shown,
        boards=Boards(queue.desks(), board_of),
        sessions=Sessions(queue.store, tokens),
        attempts=Attempts(),
        page_threads=CapacityLimiter(PAGE_THREADS),
    )


@asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
    web: Web = app.state.web
    if not web.settings.webhook_secret.get_secret_value():
        log = structlog.get_logger("warrooms.web")
        log.warning("webhook.off", why="WARROOMS_WEBHOOK_SECRET is not set; /webhooks/flashduty answers 404")
    besides = [asyncio.create_task(web.hand_over.run()), asyncio.create_task(web.usual.run())]
    await web.usual.first()
    try:
        yield
    finally:
        for task in besides:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await web.hand_over.finish()
        web.queue.close()
        web.probe.close()


async def _gone(_request: Request, _error: Exception) -> Response:
    """Nobody reads this: the client went away while it sent. No defect of ours, so no traceback."""
    return ProblemAnswer(Problem(Kind.MALFORMED, "the body ended too early"))


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101 - so it was registered; the framework's type is wider
    return ProblemAnswer(error.problem)


async def _invalid_job(_request: Request, error: Exception) -> Response:
    assert isinstance(error, InvalidJob)  # noqa: S101 - same
    return ProblemAnswer(problems.of_invalid(error))


async def _unavailable(_request: Request, error: Exception) -> Response:
    assert isinstance(error, QueueUnavailable)  # noqa: S101 - same
    return ProblemAnswer(problems.of_unavailable(error))


async def _invalid_request(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - same
    return ProblemAnswer(_of_validation(error.errors()))


async def _framework(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - same
    kind, detail = problems.kind_of(error.status_code), str(error.detail)
    if kind is Kind.NOT_FOUND:  # what we ourselves do not find is Refused
        detail = f"there is no such path; the API is described at {DOCS}, for programs at {OPENAPI}"
    return ProblemAnswer(Problem(kind, detail, headers=error.headers or {}))


async def _defect(_request: Request, _error: Exception) -> Response:
    return ProblemAnswer(Problem(Kind.OUR_FAULT, "a defect of this program; its log says more"))


_ANSWERS: Final[dict[type[Exception], Any]] = {
    Refused: _refused,
    InvalidJob: _invalid_job,
    QueueUnavailable: _unavailable,
    ClientDisconnect: _gone,
    RequestValidationError: _invalid_request,
    HTTPException: _framework,
    Exception: _defect,
}


def _of_validation(details: Any) -> Problem:  # noqa: ANN401 - pydantic's own
    """The problem of a query, a path, a header or a body that FastAPI has checked."""
    errors = []
    for detail in details[:8]:
        where, *path = map(str, detail["loc"])
        sentence = f"{path[-1] if path else where}: {str(detail['msg'])[:200]}"
        if where != "body":
            errors.append({"field": ".".join(path)[:60], "detail": sentence})
        else:
            errors.append({"pointer": problems.pointer(".".join(path))[:120], "detail": sentence})
    return Problem(Kind.INVALID, "; ".join(each["detail"] for each in errors), errors)


def _describe_problems(app: FastAPI) -> None:
    """Adds the shape of problems to the OpenAPI page, which all error answers refer to."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            page = made()
            problem = TypeAdapter(schemas.ProblemJson).json_schema(ref_template="#/components/schemas/{model}")
            shapes = page.setdefault("components", {}).setdefault("schemas", {})
            shapes |= problem.pop("$defs", {}) | {"ProblemJson": problem}
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]
