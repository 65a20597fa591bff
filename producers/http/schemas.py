"""What the OpenAPI page says of bodies and answers: their shapes. Long, because there are many; no I/O.

The shapes of receipts, jobs and batches are in producers/answers.py. `WarRoomFields` is only written about here: what
comes in is read by producers/parsing.py, as at every other door.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NotRequired

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from typing_extensions import TypedDict

from producers.answers import RecordJson  # noqa: TC001 - pydantic reads it
from producers.halts import HaltJson  # noqa: TC001 - same
from producers.http import examples
from producers.http.problems import MEDIA_TYPE, Kind
from producers.pausing import PausedJson  # noqa: TC001 - pydantic reads it
from worker.jobs import ACCOUNT_PATTERN, BATCH_PATTERN, INT64_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from worker.settings import Account

AGE: Final = r"^([0-9]{1,9}(\.[0-9]{1,3})?[smhd])+$"


class ErrorJson(TypedDict):
    """One thing that is wrong: where (a JSON pointer into the body, or the name of a field), and a sentence."""

    detail: str
    pointer: NotRequired[str]
    field: NotRequired[str]


class ProblemJson(TypedDict):
    """RFC 9457; `detail` is a sentence for people, `type` is for programs."""

    type: str
    title: str
    status: int
    detail: str
    errors: NotRequired[list[ErrorJson]]


class WarRoomFields(BaseModel):
    """A job: open a war room for this incident."""

    model_config = ConfigDict(extra="forbid")

    incident_id: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{24}$", description="24 hexadecimal digits")]
    integration_id: Annotated[
        int | None,
        Field(gt=0, le=INT64_MAX, description="the IM integration; the account's default, or its only one, without it"),
    ] = None
    member_ids: Annotated[
        list[Annotated[int, Field(gt=0, le=INT64_MAX)]] | None, Field(description="people to add")
    ] = None
    add_observers: Annotated[bool | None, Field(description="true to add former responders")] = None
    account: Annotated[str | None, Field(pattern=ACCOUNT_PATTERN, description="which Flashduty account")] = None
    batch: Annotated[str | None, Field(pattern=BATCH_PATTERN, description="a name to count progress by")] = None
    urgent: Annotated[bool | None, Field(description="true to overtake every backlog")] = None


class FailedPage(TypedDict):
    """Dead letters, newest first; `next_cursor` asks for those behind, and is null on the last page."""

    failed_jobs: list[RecordJson]
    next_cursor: str | None


def _true() -> Literal[True]:
    """As a factory, so that the page names no default: who leaves `all` out does not ask for all."""
    return True


def _whole(value: object) -> object:
    """JSON knows numbers, not integers: 7.0 is the whole number 7."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class ReplayRequest(BaseModel):
    """Which dead letters to queue again: at least one of `job_ids`, `batch`, `codes`, `account`, the ages, or `all`."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "anyOf": [
                {"required": [name]}
                for name in ("job_ids", "batch", "codes", "older_than", "newer_than", "account", "all")
            ]
        },
    )

    job_ids: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200)]], Field(min_length=1, max_length=1000)
    ] = []
    batch: Annotated[str, Field(pattern=BATCH_PATTERN)] = ""
    codes: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(min_length=1, max_length=50)] = []
    older_than: Annotated[str, Field(pattern=AGE, description="failed longer ago than this: 30s, 15m, 2h, 3d")] = ""
    newer_than: Annotated[str, Field(pattern=AGE, description="failed within the last 30s, 15m, 2h, 3d")] = ""
    account: Annotated[str, Field(pattern=ACCOUNT_PATTERN)] = ""
    all: Literal[True] = Field(default_factory=_true, description="every dead letter that exists for this token")
    limit: Annotated[
        int, Field(ge=1, le=10_000, description="at most so many, the oldest first"), BeforeValidator(_whole)
    ] = 10_000
    dry_run: bool = False


class ReplayJson(TypedDict):
    """What was queued again; `more` tells whether others are left, `gone` how many somebody else was faster with."""

    dry_run: bool
    replayed: int
    selected: int
    by_code: dict[str, int]
    gone: int
    misses: list[str]
    more: bool


class WaitingJson(TypedDict):
    """Jobs of an account that are not finished; `most` is how many may wait."""

    urgent: int
    bulk: int
    opening: int
    retrying: int
    most: int


class LimitJson(TypedDict):
    """An account's limits, and how it stands with them."""

    account: str
    rates: str
    allowed_per_minute: float
    sustained_per_minute: float
    tokens: list[float]
    next_slot_s: float | None
    pause_s: float | None
    paused: PausedJson | None
    halt: HaltJson | None
    workers_alive: int
    waiting: WaitingJson


class LimitsJson(TypedDict):
    """Every account that exists for this token."""

    accounts: list[LimitJson]


class HealthJson(TypedDict):
    """This process answers."""

    status: Literal["ok", "ready"]


class WebhookJson(TypedDict):
    """What came of an event."""

    result: Literal["queued", "already queued", "already opening", "already open", "duplicate", "ignored"]
    job_id: str | None
    reason: str | None


_DETAILS: Final = {
    Kind.MALFORMED: "is not JSON: Expecting value (column 1); the body is one object",
    Kind.UNAUTHORIZED: "the token is not known; send 'Authorization: Bearer <token>'",
    Kind.FORBIDDEN: "the token 'grafana' has not the right to operate; it has: enqueue, read",
    Kind.NOT_FOUND: f"there is no job {examples.JOB_ID}: never queued, or forgotten after the retention",
    Kind.IN_PROGRESS: "a request with this Idempotency-Key is under way; ask again",
    Kind.TOO_LARGE: "the body is larger than 1,048,576 bytes",
    Kind.UNSUPPORTED: "the body must be application/json",
    Kind.INVALID: "incident_id is missing",
    Kind.BACKLOG_FULL: "account default has 1,000,000 waiting jobs, and takes new ones below 1,000,000",
    Kind.UNAVAILABLE: "cannot reach Redis at redis.internal:6379/0 (Connection refused)",
    Kind.HELD: "Redis does not answer in time: the event is held in memory and recorded as soon as it does",
    Kind.NOT_HELD: "Redis is away and too many events are held already: this one is not; look for it in the history",
}

_RETRY: Final = {"Retry-After": {"schema": {"type": "integer"}, "description": "when to ask again, in seconds"}}
_CHALLENGE: Final = {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "how to say who asks"}}
_HEADERS: Final = {401: _CHALLENGE, 409: _RETRY, 429: _RETRY, 503: _RETRY}


def problems(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI descriptions of these problems."""
    return {
        kind.status: {
            "description": kind.title,
            "headers": _HEADERS.get(kind.status, {}),
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/ProblemJson"},
                    "example": {
                        "type": kind.type,
                        "title": kind.title,
                        "status": kind.status,
                        "detail": _DETAILS[kind],
                    },
                }
            },
        }
        for kind in kinds
    }


def answers(
    status: int, description: str, model: object, example: object, headers: dict[str, Any] | None = None
) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI description of a good answer."""
    content = {"application/json": {"example": example}}
    return {status: {"description": description, "model": model, "content": content, "headers": headers or {}}}


def job_schema(accounts: Mapping[str, Account]) -> dict[str, Any]:
    """The JSON Schema of a job, as this installation takes it: its accounts."""
    schema = WarRoomFields.model_json_schema()
    schema["properties"]["account"] = {"enum": [*sorted(accounts), None], "description": "which Flashduty account"}
    if len(accounts) > 1 and "default" not in accounts:
        schema["required"] = [*schema["required"], "account"]
        schema["properties"]["account"] = {"enum": sorted(accounts)}
    return schema


def body(media_types: Iterable[tuple[str, object, object]]) -> dict[str, Any]:
    """The OpenAPI description of a body that a route reads by itself: media type, schema, example."""
    content = {name: {"schema": schema, "example": example} for name, schema, example in media_types}
    return {"requestBody": {"required": True, "content": content}}
