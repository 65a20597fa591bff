"""Records and troubles as a test writes them."""

from __future__ import annotations

from typing import Final

from worker.health import Level, Trouble
from worker.jobs import JobState, Lane, WarRoomJob
from worker.records import Record

NOW_S: Final = 1_790_000_000.0
ID: Final = "69da451ef77b1b51f40e83ee"
JOB: Final = WarRoomJob(incident_id=ID, integration_id=7, lane=Lane.URGENT)
UNAUTHORIZED: Final = Trouble(
    level=Level.SUSPENDED,
    since=NOW_S - 300,
    probes=4,
    code="Unauthorized",
    message="Unauthorized (HTTP 401): the app key is not valid",
    hint="check the app key",
    request_id="req-1",
)
DOWN: Final = Trouble(Level.DOWN, NOW_S - 20, 0, "Timeout", "Timeout: no complete answer", "", "")


def record(state: JobState = JobState.QUEUED, job: WarRoomJob = JOB, **changes: object) -> Record:
    values: dict[str, object] = {
        "batches": (),
        "attempts": 0,
        "created_at": NOW_S - 60,
        "updated_at": NOW_S - 60,
        "due_at": None,
        "first_failed_at": None,
        "finished_at": None,
        "room": None,
        "request_id": "",
        "code": "",
        "message": "",
        "hint": "",
        "status": None,
    }
    return Record(job=job, state=state, **(values | changes))  # type: ignore[arg-type]


def dead(code: str = "Timeout", ago_s: float = 60.0, **changes: object) -> Record:
    """A dead letter that failed so long ago."""
    values: dict[str, object] = {
        "code": code,
        "message": f"{code}: no answer",
        "attempts": 6,
        "finished_at": NOW_S - ago_s,
    }
    return record(JobState.FAILED, JOB, **(values | changes))
