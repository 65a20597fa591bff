"""One drain of one contender against one model of the server, from the first call to the last room."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from bench.bound import ALL_MODELS, earliest_s
from bench.meter import per_job

if TYPE_CHECKING:
    from bench.arena import Arena
    from bench.meter import Meter, Reading

OK: Final = 200
PER_MINUTE: Final = 1000
RATES: Final = "50/second;1000/minute"
MILESTONES: Final = (100, 1000, 5000)
URGENT_JOBS: Final = 20
TICK_S: Final = 0.1
LOOK_S: Final = 1.0
STUCK_S: Final = 150.0
"""Nothing came for so long, which is more than it takes any contender to take over what was lost: the rest is lost."""

CEILING: Final = 3.0
"""A drain may take so many times what the minute's limit allows."""

CURVE_STEP_S: Final = 5.0


@dataclass(slots=True)
class Urgent:
    """Jobs that are queued one by one while the backlog drains, and how long each of their rooms took.

    A wait includes the API's own latency, and is seen to a tenth of a second, or to a twentieth of its length.
    """

    arena: Arena
    count: int
    first_s: float
    gap_s: float
    waits_s: list[float] = field(default_factory=list)
    _sent: int = 0
    _open: dict[str, tuple[float, float]] = field(default_factory=dict)  # when it was sent; when to look again

    def tick(self, elapsed_s: float) -> None:
        """Queues the next one when its time has come, and looks for the rooms of those that wait."""
        now = time.monotonic()
        if self._sent < self.count and elapsed_s >= self.first_s + self._sent * self.gap_s:
            incident_id = f"{self._sent:020x}ffff"
            self._sent += 1
            self.arena.enqueue([incident_id], urgent=True)
            self._open[incident_id] = (now, now + TICK_S)
        for incident_id, (sent_at, look_at) in list(self._open.items()):
            if now < look_at:
                continue
            waited_s = now - sent_at
            if self.arena.has_room(incident_id):
                self.waits_s.append(waited_s)
                del self._open[incident_id]
            else:
                self._open[incident_id] = (sent_at, now + max(TICK_S, waited_s / 20))

    def facts(self) -> dict[str, Any]:
        """Half and worst of the waits; those that never got a room are counted."""
        return {
            "urgent_jobs": self._sent,
            "urgent_without_room": len(self._open),
            "urgent_p50_s": round(median(self.waits_s), 2) if self.waits_s else None,
            "urgent_worst_s": round(max(self.waits_s), 2) if self.waits_s else None,
        }


def drain(arena: Arena, model: str, jobs: int, workers: int) -> dict[str, Any]:
    """Queues the jobs for workers that wait, and reads what became of them."""
    meter = arena.start_workers()
    arena.enqueue([f"{number:024x}" for number in range(jobs)])
    arena.first_call()
    began, first = time.monotonic(), meter.read()
    rooms_before = arena.rooms()
    bulk_s = jobs / PER_MINUTE * 60
    urgent = Urgent(arena, URGENT_JOBS, bulk_s * 0.05, bulk_s * 0.8 / URGENT_JOBS)
    ended, last, rooms = _watch(arena, meter, urgent, jobs + URGENT_JOBS, began, bulk_s * CEILING + STUCK_S)
    stats, arrivals = arena.stats(), arena.stack.arrivals()
    return {
        "ended": ended,
        "jobs": jobs + URGENT_JOBS,
        "rooms": rooms,
        "missing": jobs + URGENT_JOBS - rooms,
        "doubled": stats["duplicates"],
        "calls": stats["arrivals"],
        "refused": stats["refusals"],
        "worst_1s": stats["worst_1s"],
        "worst_60s": stats["worst_60s"],
        **speed([at_s for at_s, _, _, status in arrivals if status == OK], jobs, model),
        **urgent.facts(),
        **per_job(first, last, rooms - rooms_before, workers, meter.peak_bytes),
    }


def _watch(
    arena: Arena, meter: Meter, urgent: Urgent, jobs: int, began: float, ceiling_s: float
) -> tuple[str, Reading, int]:
    """Until all have rooms, nothing moves or the ceiling is reached; what was spent when the last room came."""
    last, rooms, moved_at, look_at = meter.read(), 0, began, began
    while True:
        now = time.monotonic()
        urgent.tick(now - began)
        if now >= look_at:
            look_at = now + LOOK_S
            seen = arena.rooms()
            if seen > rooms:
                last, rooms, moved_at = meter.read(), seen, now
        if rooms >= jobs:
            return "drained", last, rooms
        if now - moved_at > STUCK_S:
            return "stuck", last, rooms
        if now - began > ceiling_s:
            return "ceiling", last, rooms
        time.sleep(TICK_S)


def speed(accepted_s: list[float], jobs: int, model: str) -> dict[str, Any]:
    """How fast the calls came that were let through, from the first call of all on, beside the physical bound.

    Args:
        accepted_s: when they came, in order, in seconds after the first call.
        jobs: how many bulk jobs there were: past 95 % of them the backlog no longer fills the limit.
        model: how the server counted.
    """
    counts = tuple(n for n in MILESTONES if n <= min(jobs, len(accepted_s)))
    busy_until_s = accepted_s[min(len(accepted_s), round(jobs * 0.95)) - 1] if accepted_s else 0.0
    first_minute = sum(at_s < 60 for at_s in accepted_s)
    later = sum(60 <= at_s <= busy_until_s for at_s in accepted_s)
    later_s = busy_until_s - 60
    return {
        "seconds": round(accepted_s[-1], 1) if accepted_s else None,
        "share_minute_1": round(first_minute / PER_MINUTE, 4) if busy_until_s >= 50 else None,
        "share_after": round(later / (later_s / 60 * PER_MINUTE), 4) if later_s >= 20 else None,
        "open_s": {str(n): round(accepted_s[n - 1], 2) for n in counts},
        "bound_s": {str(n): s for n, s in earliest_s(RATES, (model,), MILESTONES).items()},
        "bound_any_model_s": {str(n): s for n, s in earliest_s(RATES, ALL_MODELS, MILESTONES).items()},
        "curve": _curve(accepted_s),
    }


def _curve(accepted_s: list[float]) -> list[int]:
    """How many were let through after 5 s, 10 s, and so on."""
    curve, seen = [], 0
    for step in range(1, int((accepted_s[-1] if accepted_s else 0) / CURVE_STEP_S) + 2):
        while seen < len(accepted_s) and accepted_s[seen] < step * CURVE_STEP_S:
            seen += 1
        curve.append(seen)
    return curve
