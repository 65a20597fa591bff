"""What a contender makes of a worker that dies: jobs lost, and rooms opened twice."""

from __future__ import annotations

import contextlib
import time
from operator import sub
from typing import TYPE_CHECKING, Any, Final

from sandbox.stack import StackError, until

if TYPE_CHECKING:
    from bench.arena import Arena
    from sandbox.processes import Process

STUCK_S: Final = 150.0
LOOK_S: Final = 0.5
IN_FLIGHT: Final = 6
IN_FLIGHT_WITHIN_S: Final = 20.0


def kill(arena: Arena, jobs: int) -> dict[str, Any]:
    """Opens a third of the rooms, kills a worker in the middle of its work and starts another, as a supervisor would.

    Then waits until every incident has a room or nothing has come for `STUCK_S` seconds.
    """
    arena.start_workers()
    arena.enqueue([f"{number:024x}" for number in range(jobs)])
    arena.first_call()
    until(lambda: arena.rooms() >= jobs // 3, "a third", within_s=60 + jobs / 2)
    arena.kill_worker(_busy_worker(arena))
    killed_at = moved_at = time.monotonic()
    arena.start_worker()
    rooms = 0
    while rooms < jobs and time.monotonic() - moved_at < STUCK_S:
        time.sleep(LOOK_S)
        seen = arena.rooms()
        if seen > rooms:
            rooms, moved_at = seen, time.monotonic()
    stats = arena.stats()
    return {
        "jobs": jobs,
        "rooms": rooms,
        "lost": jobs - rooms,
        "doubled": stats["duplicates"],
        "refused": stats["refusals"],
        "done_after_kill_s": round(moved_at - killed_at, 1),
    }


def _busy_worker(arena: Arena) -> Process:
    """The worker that has done the most in the last second or so, at a moment when calls are under way.

    Who works in bursts has none under way most of the time, and all of a burst may be one worker's; who is slow may
    never have so many.
    """
    before = arena.worker_cpu_s()
    time.sleep(1)
    with contextlib.suppress(StackError):
        until(lambda: arena.stats()["in_flight"] >= IN_FLIGHT, "calls under way", within_s=IN_FLIGHT_WITHIN_S)
    used = list(map(sub, arena.worker_cpu_s(), before))
    return arena.workers[used.index(max(used))]
