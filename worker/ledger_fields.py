"""How the ledger's hashes and replies are written and read: text to values and back, no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.jobs import JobKey, JobState, Lane, WarRoom, WarRoomJob
from worker.records import Entered, Progress, Reason, Record, Stray

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.errors import FlashdutyError

NEW: Final = "new"


def short_of(job_id: str) -> str:
    """A job's name within its account: incident and integration."""
    return job_id.partition(".")[2]


def request_of(job: WarRoomJob) -> tuple[str, str, str]:
    """What a job asks for: lane, members, observers."""
    return job.lane.value, ",".join(map(str, job.member_ids)), "1" if job.add_observers else ""


def job_of(key: JobKey, lane: str, members: str, observers: str, batches: str) -> WarRoomJob:
    """The job with this key that asks for this; it is in the first of its batches."""
    # Without validating again: what stands in the ledger must be readable, whoever wrote it.
    return WarRoomJob.model_construct(
        account=key.account,
        incident_id=key.incident_id,
        integration_id=key.integration_id,
        member_ids=tuple(dict.fromkeys(int(m) for m in members.split(",") if m)),
        add_observers=observers == "1",
        lane=Lane(lane),
        batch=batches.partition(",")[0] or None,
    )


def stray_of(account: str, reason: str, short: str, evidence: str, *request: str) -> Stray:
    """A row of the reply to `strays`."""
    return Stray(Reason(reason), job_of(JobKey.parse(f"{account}.{short}"), *request), evidence)


def entered_of(job_id: str, status: str, chat_id: str, share_link: str, position: int | str, lane: str) -> Entered:
    """A row of the reply to `enqueue`."""
    state = JobState.QUEUED if status == NEW else JobState(status)
    place = position if isinstance(position, int) else None
    return Entered(job_id, state, status == NEW, Lane(lane), chat_id, share_link, place)


def fields_of_error(error: FlashdutyError) -> dict[str, str | int]:
    """The fields of a record that say how an attempt ended."""
    return {
        "code": error.code,
        "message": str(error),
        "hint": error.hint,
        "request_id": error.request_id,
        "status": "" if error.status is None else error.status,
    }


def flat(fields: Mapping[str, str | int]) -> list[str | int]:
    """Names and values in one list, as a script takes them."""
    return [part for pair in fields.items() for part in pair]


def record_of(key: JobKey, stored: Mapping[str, str]) -> Record:
    """A job's hash, read."""
    batches = stored.get("batches", "")
    in_hand = stored["state"] == JobState.OPENING
    return Record(
        job=job_of(key, stored["lane"], stored.get("members", ""), stored.get("observers", ""), batches),
        state=JobState(stored["state"]),
        batches=tuple(filter(None, batches.split(","))),
        attempts=int(stored.get("attempts", 0)),
        worker=stored.get("token", "").rpartition("/")[0] if in_hand else "",
        began_at=_time(stored.get("began", "").rstrip("s")) if in_hand else None,
        look_first=stored.get("look") == "1",
        created_at=int(stored["created"]) / 1000,
        updated_at=int(stored["updated"]) / 1000,
        due_at=_time(stored.get("due")),
        first_failed_at=_time(stored.get("first")),
        finished_at=_time(stored.get("finished")),
        room=_room(stored),
        request_id=stored.get("request_id", ""),
        code=stored.get("code", ""),
        message=stored.get("message", ""),
        hint=stored.get("hint", ""),
        status=int(stored["status"]) if stored.get("status") else None,
    )


def _room(stored: Mapping[str, str]) -> WarRoom | None:
    if not stored.get("chat_id"):
        return None
    return WarRoom(**{name: stored.get(name, "") for name in ("chat_id", "chat_name", "share_link")})


def _time(ms: str | None) -> float | None:
    return int(ms) / 1000 if ms else None


def progress_of(stored: Mapping[str, str]) -> Progress:
    """A hash of counters, read."""
    states = {state: int(stored.get(state.value, 0)) for state in JobState}
    return Progress(states, int(stored.get("queued.urgent", 0)), _time(stored.get("created")))
