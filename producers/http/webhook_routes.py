"""`POST /webhooks/flashduty`: Flashduty's incident webhook opens the room of an incident, in the urgent lane."""

import hmac
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response, Security
from fastapi.security import APIKeyHeader

from producers.http import examples, schemas
from producers.http.answering import Json, check_plain
from producers.http.events import Event
from producers.http.hand_over import NoRoom
from producers.http.problems import Kind, Refused, refused
from producers.http.schemas import WebhookJson
from producers.http.tokens import digest_of
from producers.http.web import Web, check_account, check_query, web_of
from producers.json_object import tolerant_object
from producers.parsing import parse_job
from producers.receipt import Status
from producers.webhook import Ignored, Opens, Rules, read_event
from worker.jobs import ACCOUNT_PATTERN, WarRoomJob

HEADER = "X-Warrooms-Secret"

_SECRET = APIKeyHeader(
    name=HEADER, auto_error=False, description="WARROOMS_WEBHOOK_SECRET; a custom header of Flashduty's webhook."
)


def routes(web: Web) -> APIRouter:
    """The route; `web` is asked for what the page shows of this installation, not kept."""
    router = APIRouter(tags=["webhook"])
    router.add_api_route(
        "/webhooks/flashduty",
        flashduty,
        methods=["POST"],
        dependencies=[Depends(_sender)],
        summary="Flashduty's incident webhook",
        responses={
            **schemas.answers(
                200,
                "recorded, or nothing to do",
                WebhookJson,
                {"result": "queued", "job_id": examples.JOB_ID, "reason": None},
            ),
            **schemas.problems(
                Kind.MALFORMED,
                Kind.UNAUTHORIZED,
                Kind.NOT_FOUND,
                Kind.TOO_LARGE,
                Kind.UNSUPPORTED,
                Kind.INVALID,
                Kind.HELD,
                Kind.NOT_HELD,
            ),
        },
        openapi_extra=schemas.body([("application/json", _schema(web.settings.rules()), examples.WEBHOOK_EVENT)]),
    )
    return router


async def _sender(request: Request, secret: Annotated[str | None, Security(_SECRET)]) -> None:
    """Who has not the secret is told of no parameter."""
    web = web_of(request)
    known = web.settings.webhook_secret.get_secret_value()
    if not known:
        raise refused(Kind.NOT_FOUND, "the webhook is off here; to have it, set WARROOMS_WEBHOOK_SECRET")
    if secret is None or not hmac.compare_digest(digest_of(secret), digest_of(known)):
        web.meters.event("unauthorized")
        said = "it has another value" if secret else "it is missing"
        challenge = f'Secret header="{HEADER}"'
        raise refused(Kind.UNAUTHORIZED, f"the header {HEADER} is needed: {said}", WWW_Authenticate=challenge)


async def flashduty(
    request: Request,
    account: Annotated[
        str | None, Query(pattern=ACCOUNT_PATTERN, description="the account; the only one, or `default`, without it")
    ] = None,
) -> Response:
    """An event that opens no room is acknowledged, with the reason.

    503 means that Redis did not take it in time: it is held in memory, and recorded as soon as Redis is back.
    """
    web = web_of(request)
    result = "refused"
    try:
        result, answer = await _take(request, web, account)
    except Refused as refusal:
        result = _RESULTS.get(refusal.problem.kind, result)
        raise
    else:
        return answer
    finally:
        web.meters.event(result)


_RESULTS = {Kind.HELD: "held", Kind.NOT_HELD: "lost"}
"""How refusals are counted; the others are `refused`."""


async def _take(request: Request, web: Web, account: str | None) -> tuple[str, Response]:
    check_query(request, {"account"})
    check_account(account, web.queue.desks())
    check_plain(request)  # not the charset: what is read of an event is ASCII in nearly all of them
    payload = tolerant_object(await request.body())
    asked = read_event(payload, web.settings.rules())
    if isinstance(asked, Ignored):
        return "ignored", _answer("ignored", reason=asked.reason)
    event = Event(asked.event_id, _job(asked, account, web))
    try:
        done = await web.hand_over.offer(event)
    except NoRoom:
        detail = "Redis is away and too many events are held already: this one is not; look for it in the history"
        raise refused(Kind.NOT_HELD, detail, Retry_After="60") from None
    if done is None:
        detail = "Redis does not answer in time: the event is held in memory and recorded as soon as it does"
        raise refused(Kind.HELD, detail, Retry_After="60")
    if done.receipt is None:
        return "duplicate", _answer("duplicate", done.job_id, f"event {asked.event_id} was recorded before")
    status = done.receipt.status
    return "queued" if status is Status.QUEUED else "known", _answer(status.value, done.job_id)


def _job(asked: Opens, account: str | None, web: Web) -> WarRoomJob:
    fields = {"incident_id": asked.incident_id, "urgent": True, "account": account}
    return parse_job(fields, web.defaults_of(None))


def _answer(result: str, job_id: str | None = None, reason: str | None = None) -> Response:
    return Json({"result": result, "job_id": job_id, "reason": reason})


def _schema(rules: Rules) -> dict[str, Any]:
    text = {"type": "string", "minLength": 1, "maxLength": 200}
    incident = {
        "type": "object",
        "properties": {"incident_id": {"type": "string", "pattern": "^[0-9a-fA-F]{24}$"}},
        "required": ["incident_id"],
    }
    opens = {
        "type": "object",
        "title": "an event that opens a room",
        "properties": {"event_id": text, "event_type": {"enum": sorted(rules.events)}, "incident": incident},
        "required": ["event_id", "event_type", "incident"],
    }
    others = {
        "type": "object",
        "title": "any other event, which is acknowledged",
        "properties": {"event_id": text, "event_type": {**text, "not": {"enum": sorted(rules.events)}}},
        "required": ["event_id", "event_type"],
    }
    return {"anyOf": [opens, others]}
