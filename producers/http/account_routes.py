"""`/v1/limits`: what the accounts may do, and how they stand with it."""

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from producers.desk import Desk
from producers.http import examples, schemas
from producers.http.answering import Json
from producers.http.problems import Kind
from producers.http.schemas import LimitJson, LimitsJson
from producers.http.web import MayRead, Web, web_of
from producers.look import look
from producers.pausing import next_slot_s, pause_s, paused_json
from worker.jobs import JobState


def routes(_web: Web) -> APIRouter:
    """The route."""
    router = APIRouter(tags=["accounts"])
    router.add_api_route(
        "/v1/limits",
        limits,
        methods=["GET"],
        summary="The accounts' limits, and what waits for them",
        responses={
            **schemas.answers(200, "each account that exists for this token", LimitsJson, examples.LIMITS),
            **schemas.problems(Kind.UNAUTHORIZED, Kind.FORBIDDEN, Kind.INVALID, Kind.UNAVAILABLE),
        },
    )
    return router


async def limits(request: Request, caller: MayRead) -> Response:
    """The rates, the bucket, how many jobs wait, and why nothing is called, if that is so."""
    web = web_of(request)
    most = web.settings.max_backlog
    return Json({"accounts": await to_thread.run_sync(lambda: [_limit(desk, most) for desk in web.desks(caller)])})


def _limit(desk: Desk, most: int) -> LimitJson:
    seen, progress = look(desk), desk.ledger.progress()
    level, plan = seen.forecast.level, seen.forecast.plan
    queued = max(0, progress.states[JobState.QUEUED])
    urgent = min(max(0, progress.queued_urgent), queued)
    said: LimitJson = {
        "account": desk.account.name,
        "rates": str(plan),
        "allowed_per_minute": round(plan.allowed_per_s * 60, 1),
        "sustained_per_minute": round(plan.rate_per_s * 60, 1),
        "tokens": [max(0.0, tokens) for tokens in level.tokens],
        "next_slot_s": next_slot_s(level),
        "pause_s": pause_s(level),
        "paused": paused_json(level),
        "halt": None if seen.halt is None else seen.halt.as_json(),
        "workers_alive": seen.crew.alive,
        "waiting": {
            "urgent": urgent,
            "bulk": queued - urgent,
            "opening": max(0, progress.states[JobState.OPENING]),
            "retrying": max(0, progress.states[JobState.RETRYING]),
            "most": most,
        },
    }
    return said
