"""What the ledger tells of a job, of a batch and of an account: frozen values, no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from worker.jobs import JobState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.jobs import Lane, WarRoom, WarRoomJob


@dataclass(frozen=True, slots=True)
class Entered:
    """What the ledger said to an enqueue.

    Args:
        job_id: the job's id.
        state: its own.
        new: whether this enqueue made it queued.
        lane: the line that it stands in, or stood in.
        chat_id: its room, if it has one.
        share_link: the link to it, if its IM gives links.
        position: jobs of its lane in front of it; None if it does not wait in line.
    """

    job_id: str
    state: JobState
    new: bool
    lane: Lane
    chat_id: str = ""
    share_link: str = ""
    position: int | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Who stands in an account's lines.

    Args:
        urgent: queued urgent jobs.
        bulk: queued bulk jobs.
        retrying: jobs that wait for another attempt.
        took_s: how long an attempt takes lately, in seconds; None if none has ended well yet.
        unread_urgent: messages of other clients in the urgent queue that no worker has read, about.
        unread_bulk: those in the bulk queue.
        opening: jobs in a worker's hands.
        last_retry_s: when the last retry is due, in seconds from now.
    """

    urgent: int
    bulk: int
    retrying: int
    took_s: float | None
    unread_urgent: int = 0
    unread_bulk: int = 0
    opening: int = 0
    last_retry_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a job. A claim that was lost changes nothing any more (the token fences it).

    Args:
        job: the job as the ledger knows it.
        token: says who claimed, and when.
        attempt: the number of the attempt that may begin now.
        look_first: whether an earlier call may have opened the room.
        failing_s: how long ago the job first went wrong, in seconds; 0 if it never did.
        denials: how many of its attempts ended in a 403.
        trace: the W3C traceparent of its enqueue; empty without traces.
        queued_at: since when it waited, in seconds since the epoch; 0 without traces.
    """

    job: WarRoomJob
    token: str
    attempt: int
    look_first: bool
    failing_s: float = 0.0
    denials: int = 0
    trace: str = ""
    queued_at: float = field(default=0.0, compare=False)


class Reason(StrEnum):
    """Why a job must be queued again, or a message for it."""

    DUE = "due"  # a retry whose time has come
    DEAD = "dead"  # its worker died
    LOST = "lost"  # a message left its queue and nobody claimed a job with it


@dataclass(frozen=True, slots=True)
class Stray:
    """A job that must be queued again, or that a lost message is written for, and the evidence to check again."""

    reason: Reason
    job: WarRoomJob
    evidence: str


@dataclass(frozen=True, slots=True)
class Record:
    """A job as the ledger knows it; times in seconds since the epoch, None if it has not happened.

    Args:
        worker: who has it in hand; empty if nobody has.
        began_at: since when an attempt is under way; None if a job in hand still waits for its slot.
        look_first: whether an earlier call may have opened the room, so that the next attempt looks.
    """

    job: WarRoomJob
    state: JobState
    batches: tuple[str, ...]
    attempts: int
    created_at: float
    updated_at: float
    due_at: float | None
    first_failed_at: float | None
    finished_at: float | None
    room: WarRoom | None
    request_id: str
    code: str
    message: str
    hint: str
    status: int | None
    worker: str = ""
    began_at: float | None = None
    look_first: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """Jobs by state; of a batch, or of the account (there finished ones are totals since the first job)."""

    states: Mapping[JobState, int]
    queued_urgent: int = 0
    created_at: float | None = None

    @property
    def total(self) -> int:
        """All jobs counted."""
        return sum(self.states.values())

    @property
    def waiting(self) -> int:
        """Jobs that still need at least one call."""
        return self.states[JobState.QUEUED] + self.states[JobState.RETRYING] + self.states[JobState.OPENING]

    @property
    def with_room(self) -> int:
        """Jobs whose incident has its room."""
        return self.states[JobState.OPENED] + self.states[JobState.FOUND]
