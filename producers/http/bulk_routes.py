"""`POST /v1/war-rooms/bulk`: a body of jobs of any length, answered line by line."""

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Annotated, BinaryIO

import structlog
from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from producers.backlog import BadLine, Form, GoodLine, read_array, read_jobs
from producers.http import examples, schemas
from producers.http.answering import check_charset, check_plain, media_type_of, spooled
from producers.http.bulk import MEDIA_TYPE, Bulk
from producers.http.problems import Kind, refused
from producers.http.tokens import Caller
from producers.http.web import MayEnqueue, Web, check_query, web_of
from producers.parsing import Defaults
from producers.queue import new_batch_name
from worker.jobs import BATCH_PATTERN

PATH = "/v1/war-rooms/bulk"

ARRAY = "application/json"
FORMS = {
    "application/x-ndjson": Form.JSONL,
    "application/jsonl": Form.JSONL,
    "application/jsonlines": Form.JSONL,
    "application/x-jsonlines": Form.JSONL,
    "text/csv": Form.CSV,
    "text/plain": Form.IDS,
}

_LINES_EXAMPLE = (
    '{"line": 1, "job_id": "default.69da451ef77b1b51f40e83ee.7", "status": "queued", "position": 0, '
    '"starts_at": "2026-11-26T09:30:00.750+00:00", "done_by": "2026-11-26T09:30:01.800+00:00", '
    '"chat_id": null, "share_link": null}\n'
    '{"line": 2, "status": "refused", "detail": "incident_id is missing", '
    '"errors": [{"field": "incident_id", "detail": "incident_id is missing"}]}\n'
    '{"summary": {"batch": "outage-42", "lines": 2, "queued": 1, "already_queued": 0, "already_opening": 0, '
    '"already_open": 0, "refused": 1, "held_back": 0, "retry_after_s": null, '
    '"last_starts_at": "2026-11-26T09:30:00.750+00:00", "done_by": "2026-11-26T09:30:01.800+00:00", '
    '"on_disk": true, "error": null}}\n'
)


def routes(web: Web) -> APIRouter:
    """The route; `web` is asked for what the page shows of this installation, not kept."""
    router = APIRouter(tags=["jobs"])
    job = schemas.job_schema(web.queue.accounts)
    element = {"anyOf": [job, {"description": "what is no job is answered in its place, the others go on"}]}
    text = {"description": "lines of text"}  # of no JSON type: on the wire, whatever it is, it is text
    one = '{"incident_id": "69da451ef77b1b51f40e83ee"}\n'
    router.add_api_route(
        PATH,
        bulk,
        methods=["POST"],
        summary="Open many war rooms",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "an answer per line, in their order, and a last one with the summary",
                "content": {MEDIA_TYPE: {"schema": {"type": "string"}, "example": _LINES_EXAMPLE}},
            },
            **schemas.problems(
                Kind.MALFORMED,
                Kind.UNAUTHORIZED,
                Kind.FORBIDDEN,
                Kind.TOO_LARGE,
                Kind.UNSUPPORTED,
                Kind.INVALID,
                Kind.BACKLOG_FULL,
                Kind.UNAVAILABLE,
            ),
        },
        openapi_extra=schemas.body(
            [
                ("application/x-ndjson", text, one + one.replace("ee", "ef")),
                ("text/csv", text, "incident_id,urgent\n69da451ef77b1b51f40e83ee,true\n"),
                ("text/plain", text, "69da451ef77b1b51f40e83ee\n69da451ef77b1b51f40e83ef\n"),
                (
                    ARRAY,
                    {"type": "array", "items": element, "minItems": 1},
                    [{"incident_id": "69da451ef77b1b51f40e83ee"}],
                ),
            ]
        ),
    )
    return router


async def bulk(
    request: Request,
    caller: MayEnqueue,
    batch: Annotated[
        str | None,
        Query(pattern=BATCH_PATTERN, description="counts the jobs; a new name without it", examples=[examples.BATCH]),
    ] = None,
) -> Response:
    """Queues the jobs of a body: JSON Lines, CSV with a header, incident ids one a line, or a JSON array.

    Nothing is queued before all of the body is here. Then 500 lines at a time are queued, before their answers leave:
    who was cut off, or is told of an error in the summary, hands everything in again; nothing is lost or doubled.
    """
    check_query(request, {"batch"})
    web = web_of(request)
    form = _form(request)
    spool = await spooled(request)
    name = batch or _name_of(caller, request.headers.get("idempotency-key"))
    lines = _lines(spool, form, replace(web.defaults(caller), batch=name))
    work = Bulk(lines, web.queue, web.intake, name)
    try:
        answers = await to_thread.run_sync(work.answers)
    except BaseException:
        spool.close()
        raise
    log = structlog.get_logger("warrooms.web")
    log.info("web.bulk", by=caller.name, batch=name)
    return StreamingResponse(_closing(spool, answers), media_type=MEDIA_TYPE)


def _name_of(caller: Caller, key: str | None) -> str:
    """A repeat with the same Idempotency-Key counts in the same batch."""
    if key is None:
        return new_batch_name("http")
    return f"http-{hashlib.sha256(f'{caller.name} {key}'.encode()).hexdigest()[:24]}"


def _form(request: Request) -> Form | None:
    """How the body is written; None for a JSON array."""
    sent = media_type_of(request)
    if sent != ARRAY and sent not in FORMS:
        types = ", ".join((*FORMS, ARRAY))
        raise refused(Kind.UNSUPPORTED, f"say how the lines are written by the Content-Type, one of: {types}")
    check_plain(request)
    check_charset(request)
    return FORMS.get(sent)


def _lines(spool: BinaryIO, form: Form | None, defaults: Defaults) -> Iterator[GoodLine | BadLine]:
    if form is not None:
        return read_jobs(spool, defaults, form=form)
    return read_array(spool, defaults)


def _closing(spool: BinaryIO, answers: Iterator[bytes]) -> Iterator[bytes]:
    with closing(spool):
        yield from answers
