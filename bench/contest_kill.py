"""What a contender makes of a worker that dies: jobs lost, and rooms opened twice."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from sandbox.stack import until

if TYPE_CHECKING:
    from bench.arena import Arena

STUCK_S: Final = 150.0
LOOK_S: Final = 0.5


def kill(arena: Arena, jobs: int) -> dict[str, Any]:
    """Opens a third of the rooms, kills one of the workers with SIGKILL and starts another, as a supervisor would.

    Then waits until every incident has a room or nothing has come for `STUCK_S` seconds.
    """
    arena.start_workers()
    arena.enqueue([f"{number:024x}" for number in range(jobs)])
    arena.first_call()
    until(lambda: arena.rooms() >= jobs // 3, "a third", within_s=60 + jobs / 2)
    arena.kill_worker()
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
