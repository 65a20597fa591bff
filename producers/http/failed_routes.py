"""`/v1/failed`: the dead letters, and queueing them again."""

import time
from itertools import islice
from typing import Annotated, Any

import structlog
from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from producers.answers import record_json
from producers.bad_input import BadInput
from producers.choice import Choice, seconds
from producers.http import examples, schemas
from producers.http.answering import Json, json_body
from producers.http.letters import Place, newest_first
from producers.http.problems import Kind, Problem, Refused, of_fields
from producers.http.replays import replay
from producers.http.schemas import AGE, FailedPage, ReplayJson, ReplayRequest
from producers.http.web import MayOperate, MayRead, Web, check_account, web_of
from producers.json_object import json_object
from worker.jobs import ACCOUNT_PATTERN, BATCH_PATTERN, JobState


class FailedQuery(BaseModel):
    """Which dead letters, and how many of them."""

    model_config = ConfigDict(extra="forbid")

    batch: Annotated[str | None, Field(pattern=BATCH_PATTERN, description="only the jobs of this batch")] = None
    code: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=100)]],
        Field(max_length=50, description="only with this error code, in any case; repeatable"),
    ] = []
    older_than: Annotated[
        str | None, Field(pattern=AGE, description="failed longer ago than this: 30s, 15m, 2h, 3d")
    ] = None
    newer_than: Annotated[str | None, Field(pattern=AGE, description="failed within the last 30s, 15m, 2h, 3d")] = None
    account: Annotated[str | None, Field(pattern=ACCOUNT_PATTERN, description="only of this account")] = None
    limit: Annotated[int, Field(ge=1, le=500, description="at most so many")] = 100
    cursor: Annotated[
        str | None,
        Field(pattern=r"^[0-9]{1,15}-[A-Za-z0-9_.-]{1,120}$", description="`next_cursor` of the page before"),
    ] = None


def routes(_web: Web) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["dead letters"])
    known = (Kind.UNAUTHORIZED, Kind.FORBIDDEN, Kind.NOT_FOUND, Kind.INVALID, Kind.UNAVAILABLE)
    page = {"failed_jobs": [examples.FAILED_JOB], "next_cursor": None}
    router.add_api_route(
        "/v1/failed",
        failed,
        methods=["GET"],
        summary="Dead letters, newest first",
        responses={**schemas.answers(200, "a page of them", FailedPage, page), **schemas.problems(*known)},
    )
    router.add_api_route(
        "/v1/failed/replay",
        replay_failed,
        methods=["POST"],
        summary="Queue dead letters again",
        responses={
            **schemas.answers(200, "what was queued again", ReplayJson, examples.REPLAYED),
            **schemas.problems(*known, Kind.MALFORMED, Kind.TOO_LARGE, Kind.UNSUPPORTED),
        },
        openapi_extra=schemas.body(
            [
                (
                    "application/json",
                    ReplayRequest.model_json_schema(),
                    {"batch": examples.BATCH, "codes": ["Timeout"]},
                )
            ]
        ),
    )
    return router


async def failed(request: Request, caller: MayRead, query: Annotated[FailedQuery, Query()]) -> Response:
    """What failed for good and why; filters as `warrooms failed list` has them."""
    web = web_of(request)
    check_account(query.account, web.desks(caller))
    after = None if query.cursor is None else _cursor(query.cursor)
    choice = Choice(
        batch=query.batch,
        codes=_codes(query.code),
        older_than_s=_seconds("older_than", query.older_than),
        newer_than_s=_seconds("newer_than", query.newer_than),
    )

    def read() -> dict[str, Any]:
        now_s = time.time()
        desks = [desk for desk in web.desks(caller) if query.account in {None, desk.account.name}]
        until_ms = None if after is None else after.failed_ms
        letters = newest_first((desk.ledger.dead_letters(until_ms=until_ms) for desk in desks), after)
        wanted = (one for one in letters if one.state is JobState.FAILED and choice.takes(one, now_s))
        page = list(islice(wanted, query.limit))
        # A page that is full may be the last one; then the next is empty, and nobody had to look further.
        more = str(Place.of(page[-1])) if len(page) == query.limit else None
        return {"failed_jobs": [record_json(record) for record in page], "next_cursor": more}

    return Json(await to_thread.run_sync(read))


async def replay_failed(request: Request, caller: MayOperate) -> Response:
    """Each goes to the end of its own lane, oldest first, with attempts counted anew.

    Nothing opens twice: a job whose last call may have opened a room looks for it first.
    """
    web = web_of(request)
    which = _which(await json_body(request))
    if not which.model_fields_set - {"limit", "dry_run"}:
        sentence = (
            "say which dead letters to replay: job_ids, batch, codes, older_than, newer_than or account; "
            "every one of them with all: true"
        )
        raise Refused(Problem(Kind.INVALID, sentence))
    check_account(which.account or None, web.desks(caller))
    choice = Choice(
        targets=tuple(dict.fromkeys(which.job_ids)),
        batch=which.batch or None,
        codes=_codes(which.codes),
        older_than_s=_seconds("older_than", which.older_than or None),
        newer_than_s=_seconds("newer_than", which.newer_than or None),
        account=which.account or None,
    )
    desks = web.desks(caller)
    done = await to_thread.run_sync(lambda: replay(choice, desks, which.limit, dry_run=which.dry_run))
    log = structlog.get_logger("warrooms.web")
    log.info("web.replayed", by=caller.name, count=done["replayed"], dry_run=which.dry_run)
    return Json(done)


def _which(body: bytes) -> ReplayRequest:
    fields = json_object(body.decode(), example='{"batch": "…"}')
    try:
        return ReplayRequest.model_validate(fields)
    except ValidationError as error:
        details = error.errors(include_url=False)
    raise RequestValidationError([{**detail, "loc": ("body", *detail["loc"])} for detail in details])


def _codes(codes: list[str]) -> frozenset[str]:
    return frozenset(code.strip().casefold() for code in codes)


def _seconds(name: str, text: str | None) -> float | None:
    try:
        return None if text is None else seconds(name, text)
    except BadInput as error:
        raise _invalid(name, str(error)) from None


def _cursor(text: str) -> Place:
    try:
        return Place.parse(text)
    except BadInput as error:
        raise _invalid("cursor", str(error)) from None


def _invalid(name: str, sentence: str) -> Refused:
    return Refused(Problem(Kind.INVALID, sentence, of_fields([(name, sentence)])))
