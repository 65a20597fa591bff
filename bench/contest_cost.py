"""What the same call costs in a bare Celery task when nobody has to wait: the baseline of the cost of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bench.meter import per_job
from sandbox.stack import until

if TYPE_CHECKING:
    from bench.arena import Arena

GENEROUS: Final = (10_000, 600_000)
"""What an account would have to allow a second and a minute, so that nothing is ever refused."""

JOBS: Final = 3000
SLOWEST_PER_S: Final = 20.0


def cost(arena: Arena, workers: int, jobs: int = JOBS) -> dict[str, Any]:
    """Opens rooms as fast as it goes, and reads what that took from when all jobs were queued."""
    meter = arena.start_workers()
    arena.enqueue([f"{number:024x}" for number in range(jobs)])
    before, rooms = meter.read(), arena.rooms()
    until(lambda: arena.rooms() >= jobs, "all rooms", within_s=jobs / SLOWEST_PER_S)
    return {"jobs": jobs, **per_job(before, meter.read(), jobs - rooms, workers, meter.peak_bytes)}
