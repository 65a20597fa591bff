"""Receipts, jobs and batches as JSON: one form for `--json`, the HTTP API and its OpenAPI page. Pure.

Times are ISO 8601 with an offset; what is not known, or does not apply, is null.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from typing_extensions import TypedDict  # pydantic cannot read typing's own before Python 3.12

from producers.console import iso
from worker.jobs import FINISHED, JobState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from producers.receipt import Receipt
    from worker.records import Progress, Record


class ReceiptJson(TypedDict):
    """The answer to an enqueue; the place and the times are null if the job does not wait in line, or nobody knows."""

    job_id: str
    status: Literal["queued", "already queued", "already opening", "already open"]
    position: int | None
    starts_at: str | None
    done_by: str | None


class RoomReceiptJson(ReceiptJson):
    """A receipt, and the room if there is one already; `share_link` may be empty, not every IM gives one."""

    chat_id: str | None
    share_link: str | None


class RoomJson(TypedDict):
    """A war room; `share_link` may be empty, not every IM gives one."""

    chat_id: str
    chat_name: str
    share_link: str


class FailureJson(TypedDict):
    """How the last attempt ended: the API's code or ours, a sentence, what a person can do, the HTTP status."""

    code: str
    message: str
    hint: str
    status: int | None


class RecordJson(TypedDict):
    """Everything that is known of a job."""

    job_id: str
    state: Literal["queued", "opening", "retrying", "opened", "found", "failed", "cancelled"]
    account: str
    incident_id: str
    integration_id: int
    member_ids: list[int]
    add_observers: bool
    lane: Literal["urgent", "bulk"]
    batches: list[str]
    attempts: int
    created_at: str | None
    updated_at: str | None
    due_at: str | None
    finished_at: str | None
    room: RoomJson | None
    error: FailureJson | None
    request_id: str
    first_failed_at: str | None
    outcome_unknown: bool
    worker: str | None


class JobJson(RecordJson):
    """A job, and when it is expected to be done; null if it does not wait in line, or nobody knows."""

    in_front: int | None
    starts_at: str | None
    done_by: str | None
    waits_for: list[str]


class BatchJson(TypedDict):
    """A batch: how many jobs it has, how many are in which state, and when it is expected to be done.

    `done_by` is null if nothing waits, or nobody knows when.
    """

    batch: str
    created_at: str | None
    total: int
    done: int
    queued: int
    opening: int
    retrying: int
    opened: int
    found: int
    failed: int
    cancelled: int
    done_by: str | None


def receipt_json(receipt: Receipt) -> ReceiptJson:
    """The receipt for machines, without the room: what else is known of the job tells it."""
    return {
        "job_id": receipt.job_id,
        "status": receipt.status.value,
        "position": receipt.position,
        "starts_at": None if receipt.starts_at is None else iso(receipt.starts_at.timestamp()),
        "done_by": None if receipt.done_by is None else iso(receipt.done_by.timestamp()),
    }


def room_receipt_json(receipt: Receipt) -> RoomReceiptJson:
    """The receipt for machines, with the room."""
    has_room = bool(receipt.chat_id)
    return {
        **receipt_json(receipt),
        "chat_id": receipt.chat_id if has_room else None,
        "share_link": receipt.share_link if has_room else None,
    }


def record_json(record: Record) -> RecordJson:
    """The record for machines."""
    job, room = record.job, record.room
    return {
        "job_id": job.id,
        "state": record.state.value,
        "account": job.account,
        "incident_id": job.incident_id,
        "integration_id": job.integration_id,
        "member_ids": list(job.member_ids),
        "add_observers": job.add_observers,
        "lane": job.lane.value,
        "batches": list(record.batches),
        "attempts": record.attempts,
        "created_at": iso(record.created_at),
        "updated_at": iso(record.updated_at),
        "due_at": iso(record.due_at),
        "finished_at": iso(record.finished_at),
        "room": {"chat_id": room.chat_id, "chat_name": room.chat_name, "share_link": room.share_link} if room else None,
        "error": _failure_json(record),
        "request_id": record.request_id,
        "first_failed_at": iso(record.first_failed_at),
        "outcome_unknown": record.look_first,
        "worker": record.worker or None,
    }


def _failure_json(record: Record) -> FailureJson | None:
    if not record.message:
        return None
    return {"code": record.code, "message": record.message, "hint": record.hint, "status": record.status}


@dataclass(frozen=True, slots=True)
class BatchView:
    """One batch over all accounts it has jobs in; times in seconds since the epoch.

    Args:
        name: its name.
        states: how many of its jobs are in which state.
        created_at: when its first job was queued.
        done_by: when the last of its jobs should have its room; None if none waits, or nobody knows.
    """

    name: str
    states: Mapping[JobState, int]
    created_at: float | None
    done_by: float | None = None

    @classmethod
    def of(cls, name: str, by_account: Mapping[str, Progress], done_by: float | None = None) -> BatchView:
        """The sum over the accounts."""
        each = list(by_account.values())
        created = [progress.created_at for progress in each if progress.created_at is not None]
        states = {state: sum(max(0, progress.states[state]) for progress in each) for state in JobState}
        return cls(name, states, min(created, default=None), done_by)

    @property
    def total(self) -> int:
        """All jobs of the batch."""
        return sum(self.states.values())

    @property
    def finished(self) -> int:
        """Jobs to which nothing more will happen."""
        return sum(self.states[state] for state in FINISHED)


def batch_json(view: BatchView) -> BatchJson:
    """The batch for machines."""
    return {
        "batch": view.name,
        "created_at": iso(view.created_at),
        "total": view.total,
        "done": view.finished,
        "queued": view.states[JobState.QUEUED],
        "opening": view.states[JobState.OPENING],
        "retrying": view.states[JobState.RETRYING],
        "opened": view.states[JobState.OPENED],
        "found": view.states[JobState.FOUND],
        "failed": view.states[JobState.FAILED],
        "cancelled": view.states[JobState.CANCELLED],
        "done_by": iso(view.done_by),
    }
