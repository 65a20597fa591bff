"""A job's record as JSON and as text. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from producers.console import many, when
from worker.jobs import JobState, Lane

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.records import Record


_PASSING: Final = "the API or the way to it was not well: wait until it is"

_HINTS: Final = {
    "ConnectionCut": _PASSING,
    "Defect": "a defect of this program: see the worker's log, and report it",
    "InternalError": _PASSING,
    "RoomGone": "the room was deleted in the IM: open it there, if it is still needed",
    "ServiceUnavailable": _PASSING,
    "Timeout": _PASSING,
    "WorkerLost": "its workers ended in the middle of every attempt: see why (killed, out of memory)",
}
"""For what Flashduty's own hints say nothing about."""


def record_lines(record: Record, now_s: float) -> list[str]:
    """The record for people."""
    job = record.job
    rows: Mapping[str, str | None] = {
        "state": state_of(record, now_s),
        "worker": record.worker,
        "room": room_name(record),
        "link": record.room.share_link if record.room else None,
        "error": record.message,
        "outcome": outcome_of(record),
        "to do": to_do(record),
        "request": record.request_id,
        "lane": job.lane.value,
        "members": ", ".join(map(str, job.member_ids)) + (" and the observers" if job.add_observers else ""),
        "batches": ", ".join(record.batches),
        "queued": when(record.created_at, now_s),
        "changed": when(record.updated_at, now_s) if _changed(record) else None,
        "finished": when(record.finished_at, now_s) if record.finished_at else None,
    }
    return [job.id, *(f"  {name:<9}{text.strip()}" for name, text in rows.items() if text)]


def _changed(record: Record) -> bool:
    return record.finished_at is None and record.updated_at > record.created_at


def state_of(record: Record, now_s: float) -> str:
    """The state in words: what happens next, or how it ended."""
    tries = many(record.attempts, "attempt")
    match record.state:
        case JobState.QUEUED:
            return "queued" + (f" again after {tries}" if record.attempts else ", waits for its turn")
        case JobState.OPENING:
            waits = "in a worker's hands, waits for its slot" + (f" after {tries}" if record.attempts else "")
            return f"opening, attempt {record.attempts}" if record.began_at else waits
        case JobState.RETRYING:
            due = when(record.due_at, now_s) if record.due_at else "soon"
            return f"retrying after {tries}, next one {due}"
        case JobState.FOUND:
            return "found: the incident had its room already"
        case JobState.FAILED:
            return f"failed after {tries}"
    given_up = record.state is JobState.CANCELLED and record.attempts
    return record.state.value + (f": given up after {tries}" if given_up else "")


def room_name(record: Record) -> str:
    """The room's name and id; empty if there is none."""
    if record.room is None:
        return ""
    return f"{record.room.chat_name} ({record.room.chat_id})" if record.room.chat_name else record.room.chat_id


def room_link(record: Record) -> str:
    """The way into the room: its link, or its name where the IM gives no links."""
    link = record.room.share_link if record.room else ""
    return link or (f"room {room_name(record)} (its IM gives no link)" if record.room else "no room")


def to_do(record: Record) -> str:
    """What a person can do about a job that failed or was given up; empty if nothing."""
    if record.state is JobState.CANCELLED:
        return f"if it is wanted after all, queue it anew: {open_command(record)}"
    if record.state is not JobState.FAILED:
        return record.hint
    return f"{hint_of(record) or 'see to the cause'}; then queue it again: {replay_command(record)}"


def hint_of(record: Record) -> str:
    """What the API's code, or ours, asks of a person; empty if nothing is known."""
    return record.hint or _HINTS.get(record.code, "")


def outcome_of(record: Record) -> str:
    """What is unknown about a job whose last call may have opened a room; empty if nothing is."""
    if not record.look_first:
        return ""
    then = {JobState.CANCELLED: "look for it in your IM", JobState.FAILED: "a replay looks before it opens one"}
    return f"unknown: a room may be there already; {then.get(record.state, 'the next attempt looks first')}"


def replay_command(record: Record) -> str:
    """The command that queues a failed job anew."""
    return f"warrooms failed replay {record.job.id}"


def open_command(record: Record) -> str:
    """The command that queues a cancelled job anew."""
    job = record.job
    lane = " --bulk" if job.lane is Lane.BULK else ""
    return f"warrooms open {job.incident_id} --integration {job.integration_id}{account_option(job.account)}{lane}"


def account_option(account: str | None) -> str:
    """How a command names the account; nothing if it needs no name."""
    return f" --account {account}" if account not in {None, "default"} else ""


def failure_lines(records: Sequence[Record]) -> list[str]:
    """Dead letters, a line each."""
    return [f"  {record.job.id}: {record.message or 'no reason is known'}" for record in records]
