"""The values of the trade: a job, its key, its state, the room it opens. Frozen, validated at birth, no I/O."""

from __future__ import annotations

import re
from enum import StrEnum
from string import hexdigits
from typing import Annotated, Final, Self

from pydantic import BaseModel, ConfigDict, FailFast, Field, StringConstraints, ValidationError, field_validator

from worker.errors import InvalidJob

INT64_MAX: Final = 2**63 - 1

ACCOUNT_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,62}$"
"""An account names a queue (`warrooms.<account>`) and a Redis hash tag: no dot, colon or brace."""

BATCH_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"

_INCIDENT = re.compile(r"[0-9a-fA-F]{24}", re.ASCII)

AccountName = Annotated[str, StringConstraints(strict=True, pattern=ACCOUNT_PATTERN)]
BatchName = Annotated[str, StringConstraints(strict=True, pattern=BATCH_PATTERN)]
ObjectId = Annotated[str, StringConstraints(strict=True)]
PositiveInt64 = Annotated[int, Field(strict=True, gt=0, le=INT64_MAX)]


class Lane(StrEnum):
    """Which line a job stands in. Urgent overtakes bulk; bulk keeps a share, so it never starves."""

    URGENT = "urgent"
    BULK = "bulk"


class JobState(StrEnum):
    """Where a job is in its life; the picture is in docs/architecture.md."""

    QUEUED = "queued"
    OPENING = "opening"
    RETRYING = "retrying"
    OPENED = "opened"
    FOUND = "found"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to the job by itself."""
        return self in FINISHED

    @property
    def has_room(self) -> bool:
        """Whether the incident has its room."""
        return self in {JobState.OPENED, JobState.FOUND}


FINISHED: Final = frozenset({JobState.OPENED, JobState.FOUND, JobState.FAILED, JobState.CANCELLED})


class JobKey(BaseModel):
    """One key, one room: the natural identity of a job. `str(key)` is the job's id everywhere."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    account: AccountName
    incident_id: ObjectId
    integration_id: PositiveInt64

    @field_validator("incident_id")
    @classmethod
    def _object_id(cls, value: str) -> str:
        return incident_id(value)

    def __str__(self) -> str:
        return f"{self.account}.{self.incident_id}.{self.integration_id}"

    @classmethod
    def parse(cls, job_id: str) -> Self:
        """The key that `str(key)` was made from.

        Raises:
            InvalidJob: the text is no job id.
        """
        parts = job_id.split(".")
        if len(parts) != 3 or not re.fullmatch(r"[1-9][0-9]{0,18}", parts[2], re.ASCII):  # noqa: PLR2004
            raise InvalidJob(f"{job_id!r} is no job id: <account>.<incident_id>.<integration_id> is expected")
        try:
            return cls(account=parts[0], incident_id=parts[1], integration_id=int(parts[2]))
        except ValidationError as error:
            raise InvalidJob(f"{job_id!r} is no job id: {explain(error)}") from None


class WarRoomJob(BaseModel):
    """Open a war room for this incident. Validated exactly as the API documents its request.

    `incident_id` is folded to lower case (it is a hexadecimal number); duplicate `member_ids` are removed,
    the first one of each stays. Source: Flashduty's OpenAPI, `CreateWarRoomRequest`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    account: AccountName = "default"
    incident_id: ObjectId
    integration_id: PositiveInt64
    member_ids: Annotated[tuple[PositiveInt64, ...], FailFast()] = ()
    add_observers: Annotated[bool, Field(strict=True)] = False
    lane: Lane = Lane.BULK
    batch: BatchName | None = None

    @field_validator("incident_id")
    @classmethod
    def _object_id(cls, value: str) -> str:
        return incident_id(value)

    @field_validator("member_ids", mode="before")
    @classmethod
    def _none_is_nobody(cls, value: object) -> object:
        return () if value is None else value

    @field_validator("member_ids")
    @classmethod
    def _each_once(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(dict.fromkeys(value))

    @property
    def key(self) -> JobKey:
        """The job's identity; built without validating again what this job already proved."""
        return JobKey.model_construct(
            account=self.account, incident_id=self.incident_id, integration_id=self.integration_id
        )

    @property
    def id(self) -> str:
        """The job's id: the text of its key, also the Celery task id."""
        return f"{self.account}.{self.incident_id}.{self.integration_id}"

    @classmethod
    def of(cls, **fields: object) -> Self:
        """A job from loose fields.

        Raises:
            InvalidJob: says each field that is wrong, and how.
        """
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise InvalidJob(explain(error)) from None


class WarRoom(BaseModel):
    """A room as the API describes it. `share_link` may be empty: not every IM gives one."""

    model_config = ConfigDict(frozen=True)

    chat_id: Annotated[str, StringConstraints(min_length=1)]
    chat_name: str = ""
    share_link: str = ""


def incident_id(value: str) -> str:
    """The incident's id in lower case.

    Raises:
        ValueError: it is not 24 hexadecimal digits (the API's `^[0-9a-fA-F]{24}$`).
    """
    if not _INCIDENT.fullmatch(value):
        raise ValueError(f"must be 24 hexadecimal digits, got {_what_is_wrong(value)}")
    return value.lower()


def _what_is_wrong(value: str) -> str:
    shown = repr(value if len(value) <= 40 else value[:40] + "…")  # noqa: PLR2004
    if len(value) != 24:  # noqa: PLR2004
        return f"{shown} ({len(value)} character{'' if len(value) == 1 else 's'})"
    position, strange = next((n, c) for n, c in enumerate(value, 1) if c not in hexdigits)
    return f"{shown} with {strange!r} at position {position}"


def _number(value: object) -> str:
    """Python refuses to print an integer of more than 4300 digits."""
    return "a far larger one" if isinstance(value, int) and value.bit_length() > 128 else str(value)[:40]  # noqa: PLR2004


_PLAIN: Final = {
    "extra_forbidden": "is not a field of a job",
    "missing": "is missing",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "string_unicode": "must be text without broken characters",
    "tuple_type": "must be a list of whole numbers",
}


def explain(error: ValidationError) -> str:
    """Each wrong field and what is wrong with it, in one line: `incident_id: is missing; …`."""
    return "; ".join(_explain_one(dict(detail)) for detail in error.errors(include_url=False))


def _explain_one(detail: dict[str, object]) -> str:
    location = detail["loc"]
    path = ".".join(str(part) for part in location) if isinstance(location, tuple) else ""
    kind = str(detail["type"])
    if kind in {"greater_than", "less_than_equal"} and path.split(".")[0] in {"integration_id", "member_ids"}:
        text = f"must be from 1 to {INT64_MAX} (int64), got {_number(detail['input'])}"
    elif kind == "string_pattern_mismatch":
        text = f"must be letters, digits, '-' or '_' (a batch also '.'), got {str(detail['input'])[:40]!r}"
    else:
        text = _PLAIN.get(kind) or str(detail["msg"]).removeprefix("Value error, ")
    return f"{path}: {text}" if path else text
