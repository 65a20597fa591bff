"""What went wrong, as `application/problem+json` (RFC 9457): one sentence for people, one type for programs. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from worker.errors import InvalidJob, QueueUnavailable

MEDIA_TYPE: Final = "application/problem+json"

LONGEST: Final = 1000
"""Characters of a detail; what somebody sent is not said back at full length."""

REDIS_BACK_S: Final = 5
"""When to ask again if Redis is away, in seconds: that long a restart takes."""


class Kind(Enum):
    """Every type of problem: its name, its HTTP status, its title."""

    MALFORMED = ("malformed", 400, "The body cannot be read")
    UNAUTHORIZED = ("unauthorized", 401, "A known token is needed")
    FORBIDDEN = ("forbidden", 403, "This token may not do that")
    NOT_FOUND = ("not-found", 404, "There is no such thing")
    METHOD_NOT_ALLOWED = ("method-not-allowed", 405, "This path does not take that method")
    TOO_SLOW = ("too-slow", 408, "The request came too slowly")
    IN_PROGRESS = ("in-progress", 409, "The same request is under way")
    TOO_LARGE = ("too-large", 413, "The body is too large")
    UNSUPPORTED = ("unsupported-media-type", 415, "A body of another type is needed")
    INVALID = ("invalid", 422, "The request does not make sense")
    KEY_REUSED = ("idempotency-key-reused", 422, "The Idempotency-Key belongs to another request")
    BACKLOG_FULL = ("backlog-full", 429, "Too many jobs wait already")
    HEAD_TOO_LARGE = ("head-too-large", 431, "The head of the request is too large")
    OUR_FAULT = ("our-fault", 500, "A defect of this program")
    UNAVAILABLE = ("unavailable", 503, "Redis is away")
    HELD = ("held-in-memory", 503, "Not recorded yet, held in memory")
    NOT_HELD = ("not-held", 503, "Not recorded and not held")

    @property
    def type(self) -> str:
        """The problem's `type`, for programs."""
        return f"urn:warrooms:problem:{self.value[0]}"

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.value[1]

    @property
    def title(self) -> str:
        """The same for every problem of this kind."""
        return self.value[2]


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem, ready to be said.

    Args:
        kind: its type.
        detail: what is wrong here, and what to do.
        errors: each thing that is wrong: where it stands (`pointer` or `field`), and a sentence (`detail`).
        headers: what else the answer has.
    """

    kind: Kind
    detail: str
    errors: Sequence[Mapping[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """The body of the answer."""
        detail = self.detail if len(self.detail) <= LONGEST else self.detail[:LONGEST] + " …"
        said: dict[str, object] = {
            "type": self.kind.type,
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": detail,
        }
        return said | ({"errors": list(self.errors)} if self.errors else {})


class Refused(Exception):
    """The request ends here, with this problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def refused(kind: Kind, detail: str, **headers: str) -> Refused:
    """A refusal; headers with `_` for `-`."""
    return Refused(Problem(kind, detail, headers={name.replace("_", "-"): value for name, value in headers.items()}))


def of_invalid(error: InvalidJob) -> Problem:
    """The problem of a JSON body that is no job: each field by its pointer."""
    errors = [{"pointer": pointer(name), "detail": sentence} for name, sentence in error.problems]
    return Problem(Kind.INVALID if errors else Kind.MALFORMED, str(error), errors)


def of_fields(problems: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """The errors of a line, or of a query: each field by its name."""
    return [{"field": name, "detail": sentence} for name, sentence in problems]


def of_unavailable(error: QueueUnavailable) -> Problem:
    """The problem of a Redis that does not answer, or refuses."""
    return Problem(Kind.UNAVAILABLE, str(error), headers={"Retry-After": str(REDIS_BACK_S)})


def pointer(name: str) -> str:
    """A field's path (`member_ids[2]`, `incident.incident_id`) as a JSON pointer (`#/member_ids/2`)."""
    parts = re.sub(r"\[(\d+)\]", r".\1", name).split(".")
    return "#/" + "/".join(part.replace("~", "~0").replace("/", "~1") for part in parts)


def kind_of(status: int) -> Kind:
    """The kind for a status that the framework chose."""
    known = {400: Kind.MALFORMED, 401: Kind.UNAUTHORIZED, 404: Kind.NOT_FOUND, 405: Kind.METHOD_NOT_ALLOWED}
    known |= {408: Kind.TOO_SLOW, 431: Kind.HEAD_TOO_LARGE}
    known |= {413: Kind.TOO_LARGE, 415: Kind.UNSUPPORTED, 422: Kind.INVALID}
    return known.get(status, Kind.MALFORMED if status < Kind.OUR_FAULT.status else Kind.OUR_FAULT)
