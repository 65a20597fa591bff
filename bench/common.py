"""What several of the scripts about faults need. They run as modules: `python -m bench.kills`."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from producers.queue import JobQueue
from sandbox.stack import INTEGRATION_ID, until
from worker.jobs import JobState, WarRoomJob
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.stack import Stack
    from worker.ledger import Ledger
    from worker.records import Progress

AOF: Final = {"appendonly": "yes", "appendfsync": "everysec"}
REAL_RATES: Final = "50/second;1000/minute"
CREATE: Final = "/incident/war-room/create"
BATCH: Final = "bench"
STUCK_S: Final = 240.0
"""Nothing finished for so long: the rest is lost."""


@contextmanager
def queue_of(stack: Stack, rates: str = REAL_RATES) -> Iterator[JobQueue]:
    """A queue into the stack, past its proxy."""
    queue = JobQueue(Settings(redis_url=stack.redis_url, integration_id=INTEGRATION_ID, rates=rates))
    try:
        yield queue
    finally:
        queue.close()


def job(number: int) -> WarRoomJob:
    """The job with this number."""
    return WarRoomJob(incident_id=f"{number:024x}", integration_id=INTEGRATION_ID)


def jobs(count: int, first: int = 0) -> list[WarRoomJob]:
    """Jobs by their numbers."""
    return [job(number) for number in range(first, first + count)]


def start_workers(stack: Stack, count: int) -> None:
    """Starts them at the same time and waits for the first call of any."""
    before = stack.stats()["arrivals"]
    for _ in range(count):
        stack.start_worker(wait=False)
    until(lambda: stack.stats()["arrivals"] > before, "the first call", within_s=60)


def progress_of(ledger: Ledger) -> Progress:
    """The bench's batch."""
    progress = ledger.batch(BATCH)
    if progress is None:
        raise LookupError("the ledger does not know the batch")
    return progress


def drain(ledger: Ledger, stuck_s: float = STUCK_S) -> Progress:
    """Waits until every job has ended, or nothing moved for `stuck_s` seconds."""
    progress, moved = progress_of(ledger), time.monotonic()
    while progress.waiting and time.monotonic() - moved < stuck_s:
        time.sleep(0.1)
        before, progress = progress, progress_of(ledger)
        if progress.waiting != before.waiting:
            moved = time.monotonic()
    return progress


def max_attempts(ledger: Ledger, count: int) -> int:
    """The most attempts that one of the first `count` jobs took."""
    records = (ledger.record(one.id) for one in jobs(count))
    return max((record.attempts for record in records if record is not None), default=0)


def outcome(stack: Stack, progress: Progress, count: int) -> dict[str, Any]:
    """How the jobs ended, by the ledger and by the API. `lost`: neither has a room nor is a dead letter."""
    stats = stack.stats()
    failed = progress.states[JobState.FAILED]
    return {
        "jobs": count,
        "opened": progress.states[JobState.OPENED],
        "found": progress.states[JobState.FOUND],
        "failed": failed,
        "lost": count - progress.with_room - failed - progress.states[JobState.CANCELLED],
        "incidents_with_rooms": stats["incidents_with_rooms"],
        "second_rooms": stats["duplicates"],
        "refusals": stats["refusals"],
    }


def full_speed_after(stack: Stack, per_s: float, within_s: float, window_s: float = 5.0) -> float | None:
    """Seconds from now until the first window begins in which calls arrive at 95 % of a speed; None if none does."""
    began = time.monotonic()
    samples = [(0.0, int(stack.stats()["arrivals"]))]
    while samples[-1][0] < within_s + window_s:
        time.sleep(0.1)
        samples.append((time.monotonic() - began, int(stack.stats()["arrivals"])))
        at_s, arrivals = samples[-1]
        while samples[1:] and samples[1][0] <= at_s - window_s:
            del samples[0]
        since_s, before = samples[0]
        if at_s - since_s >= window_s and (arrivals - before) / (at_s - since_s) >= 0.95 * per_s:
            return round(since_s, 1)
    return None


def seconds_until(true: Any, what: str, within_s: float = 300.0) -> float:  # noqa: ANN401
    """How long it took until something was true, in seconds."""
    began = time.monotonic()
    until(true, what, within_s=within_s)
    return round(time.monotonic() - began, 2)


def report(**facts: object) -> None:
    """One line of JSON, at once."""
    print(json.dumps(facts), flush=True)
