"""What the same call costs in a bare Celery task when nobody has to wait: the baseline of the cost of a job.

Twice, since a worker also costs something while it waits for work: fed 1,000 jobs a minute, as fast as the limit lets
the contenders go, which is what their cost is compared with; and with a backlog, as fast as it goes.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from bench.meter import Meter, per_job
from sandbox.stack import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.arena import Arena

GENEROUS: Final = (10_000, 600_000)
"""What an account would have to allow a second and a minute, so that nothing is ever refused."""

PACED: Final = 1000
PACED_EVERY_S: Final = 60 / PACED
BACKLOG: Final = 3000
SLOWEST_S: Final = 150.0


def cost(arena: Arena, workers: int) -> dict[str, Any]:
    """Both costs; the one at full speed is `full_speed_cpu_ms_per_job`."""
    meter = arena.start_workers()
    paced = _paced(arena, meter, workers)
    full = _full_speed(arena, meter, workers)
    return {
        "jobs": PACED,
        **paced,
        "full_speed_cpu_ms_per_job": full["cpu_ms_per_job"],
        "full_speed_machine_busy": full["machine_busy"],
    }


def feed(arena: Arena, incident_ids: Sequence[str]) -> None:
    """Queues them at the account's pace, as evenly as a limit lets them through: several at once cost less each."""
    next_at = time.monotonic()
    for incident_id in incident_ids:
        arena.enqueue([incident_id])
        next_at += PACED_EVERY_S
        time.sleep(max(0.0, next_at - time.monotonic()))


def _paced(arena: Arena, meter: Meter, workers: int) -> dict[str, Any]:
    before = meter.read()
    feed(arena, [f"{number:024x}" for number in range(PACED)])
    until(lambda: arena.rooms() >= PACED, "all rooms", within_s=SLOWEST_S)
    return per_job(before, meter.read(), PACED, workers, meter.peak_bytes)


def _full_speed(arena: Arena, meter: Meter, workers: int) -> dict[str, Any]:
    """From when all jobs are queued: who queues is not to be measured."""
    arena.enqueue([f"{number:024x}" for number in range(PACED, PACED + BACKLOG)])
    before, rooms = meter.read(), arena.rooms()
    until(lambda: arena.rooms() >= PACED + BACKLOG, "all rooms", within_s=SLOWEST_S)
    return per_job(before, meter.read(), PACED + BACKLOG - rooms, workers, meter.peak_bytes)
