"""`/v1/war-rooms`, `/v1/jobs/{id}`, `/v1/batches/{id}`: enqueue one, and see what became of it."""

from contextlib import suppress
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Header, Path, Request, Response

from producers.answers import (
    BatchJson,
    BatchView,
    JobJson,
    RoomReceiptJson,
    batch_json,
    record_json,
    room_receipt_json,
)
from producers.desk import batch_progress
from producers.http import examples, schemas
from producers.http.answering import Json, json_body
from producers.http.idempotency import Kept
from producers.http.idempotency import Request as Keyed
from producers.http.intake import Full
from producers.http.problems import Kind, refused
from producers.http.web import MayEnqueue, MayRead, Web, web_of
from producers.json_object import json_object
from producers.outlook import batch_view, explanation_of
from producers.parsing import parse_job
from producers.receipt import Status
from worker.errors import InvalidJob, QueueUnavailable
from worker.jobs import BATCH_PATTERN, JobKey, WarRoomJob

ENQUEUED, THERE_ALREADY = 202, 200

_LOCATION = {"Location": {"schema": {"type": "string"}, "description": "where the job is: /v1/jobs/{id}"}}
_REPLAYED = "Idempotency-Replayed"
_HEADERS = _LOCATION | {_REPLAYED: {"schema": {"const": "true"}, "description": "the first answer to this key, again"}}

IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]+$",
        description="any text of yours; the same key and body get the same answer for a day",
        examples=["8e03978e-40d5-43dd-bc93-6894a57f9324"],
    ),
]


def routes(web: Web) -> APIRouter:
    """The routes; `web` is asked for what the page shows of this installation, not kept."""
    router = APIRouter(tags=["jobs"])
    schema = schemas.job_schema(web.queue.accounts)
    example = {"incident_id": "69da451ef77b1b51f40e83ee", "urgent": True}
    if "account" in schema["required"]:
        example["account"] = min(web.queue.accounts)
    router.add_api_route(
        "/v1/war-rooms",
        open_war_room,
        methods=["POST"],
        summary="Open a war room",
        status_code=ENQUEUED,
        responses={
            **schemas.answers(202, "queued", RoomReceiptJson, examples.RECEIPT, _HEADERS),
            **schemas.answers(200, "the job was there already", RoomReceiptJson, examples.ROOM, _HEADERS),
            **schemas.problems(
                Kind.MALFORMED,
                Kind.UNAUTHORIZED,
                Kind.FORBIDDEN,
                Kind.IN_PROGRESS,
                Kind.TOO_LARGE,
                Kind.UNSUPPORTED,
                Kind.INVALID,
                Kind.BACKLOG_FULL,
                Kind.UNAVAILABLE,
            ),
        },
        openapi_extra=schemas.body([("application/json", schema, example)]),
    )
    router.add_api_route(
        "/v1/jobs/{id}",
        job,
        methods=["GET"],
        summary="One job: its state, its room, or why there is none",
        responses={
            **schemas.answers(200, "the job", JobJson, examples.KNOWN_JOB),
            **schemas.problems(Kind.UNAUTHORIZED, Kind.FORBIDDEN, Kind.NOT_FOUND, Kind.INVALID, Kind.UNAVAILABLE),
        },
    )
    router.add_api_route(
        "/v1/batches/{id}",
        batch,
        methods=["GET"],
        summary="One batch: how far it is",
        responses={
            **schemas.answers(200, "the batch", BatchJson, examples.BATCH_ANSWER),
            **schemas.problems(Kind.UNAUTHORIZED, Kind.FORBIDDEN, Kind.NOT_FOUND, Kind.INVALID, Kind.UNAVAILABLE),
        },
    )
    return router


async def open_war_room(request: Request, caller: MayEnqueue, idempotency_key: IdempotencyKey = None) -> Response:
    """Queues the job and answers at once: when it is expected to start, or the room, if there is one already.

    Jobs are idempotent: the same incident and integration is one job, however often it is sent.
    """
    web = web_of(request)
    body = await json_body(request)
    if idempotency_key is None:
        return _answer(await _enqueue(web, parse_job(json_object(body.decode()), web.defaults(caller))))
    keyed = Keyed(caller.name, idempotency_key, body)
    known = await to_thread.run_sync(web.answers.begin, keyed, limiter=web.key_threads)
    if known is not None:
        return _answer(known, replayed=True)
    try:
        answer = await _enqueue(web, parse_job(json_object(body.decode()), web.defaults(caller)))
    except Exception:
        with suppress(QueueUnavailable):
            await to_thread.run_sync(web.answers.forget, keyed, limiter=web.key_threads)
        raise
    with suppress(QueueUnavailable):  # the job is queued; a repeat finds it there
        await to_thread.run_sync(web.answers.keep, keyed, answer, limiter=web.key_threads)
    return _answer(answer)


async def _enqueue(web: Web, job: WarRoomJob) -> Kept:
    receipt = await web.together.enqueue(job)
    if isinstance(receipt, Full):
        raise refused(Kind.BACKLOG_FULL, receipt.sentence(), Retry_After=str(receipt.retry_after_s))
    status = ENQUEUED if receipt.status is Status.QUEUED else THERE_ALREADY
    return Kept(status, {**room_receipt_json(receipt)})


def _answer(kept: Kept, *, replayed: bool = False) -> Response:
    headers = {"Location": f"/v1/jobs/{kept.body['job_id']}"} | ({_REPLAYED: "true"} if replayed else {})
    return Json(kept.body, kept.status, headers)


async def job(
    request: Request,
    caller: MayRead,
    id: Annotated[str, Path(max_length=200, examples=[examples.JOB_ID])],  # noqa: A002 - its name in the path
) -> Response:
    """Everything that is known of the job: its state, its room, what it waits for, when it is expected to be done."""
    web = web_of(request)
    try:
        key = JobKey.parse(id)
    except InvalidJob as error:
        raise refused(Kind.NOT_FOUND, str(error)) from None

    def read() -> Any:  # noqa: ANN401
        for desk in web.desks(caller):
            if desk.account.name == key.account and (record := desk.ledger.record(str(key))):
                return explanation_of(desk, record)
        return None

    told = await to_thread.run_sync(read)
    if told is None:
        raise refused(Kind.NOT_FOUND, f"there is no job {key}: never queued, or forgotten after the retention")
    return Json({**record_json(told.record), **told.times_json(), "waits_for": told.sentences()})


async def batch(
    request: Request,
    caller: MayRead,
    id: Annotated[str, Path(pattern=BATCH_PATTERN, examples=[examples.BATCH])],  # noqa: A002 - its name in the path
) -> Response:
    """Its jobs by state, over all accounts that exist for this token, and when the last one is expected to be done."""
    web = web_of(request)

    def read() -> BatchView | None:
        desks = web.desks(caller)
        jobs = batch_progress(desks, id)
        return batch_view(desks, id, jobs) if jobs else None

    view = await to_thread.run_sync(read)
    if view is None:
        raise refused(Kind.NOT_FOUND, f"there is no batch {id!r}, or it was forgotten after the retention")
    return Json(batch_json(view))
