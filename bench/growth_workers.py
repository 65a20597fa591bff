"""One account at its real limits, drained by 1, 2, 4 and 8 workers: what more of them cost."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from bench.common import BATCH, REAL_RATES, jobs, queue_of, start_workers
from bench.meter import Meter, per_job
from sandbox.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNTS: Final = (1, 2, 4, 8)
SECONDS: Final = 75.0
QUICK_SECONDS: Final = 15.0
WARM_S: Final = 5.0
PER_S: Final = 1000 / 60


def measure(quick: bool) -> Iterator[dict[str, Any]]:  # noqa: FBT001
    """A line for each number of workers; the share is that of 1,000 calls a minute."""
    for count in COUNTS[:2] if quick else COUNTS:
        yield _run(count, QUICK_SECONDS if quick else SECONDS)


def _run(count: int, seconds: float) -> dict[str, Any]:
    api = ("--model", "sliding-log", "--latency", "uniform:0:2", "--seed", "1")
    with Stack(api=api) as stack, queue_of(stack, REAL_RATES) as queue:
        queue.enqueue_many(jobs(int((seconds + WARM_S) * PER_S * 1.3) + 100), batch=BATCH)
        start_workers(stack, count)
        meter = Meter(stack.workers, stack.redis)
        time.sleep(WARM_S)
        first, begins, began = stack.stats()["arrivals"], meter.read(), time.monotonic()
        while time.monotonic() - began < seconds:
            time.sleep(1)
        stats, ends = stack.stats(), meter.read()
        lasted_s = time.monotonic() - began
        calls = stats["arrivals"] - first
    return {
        "workers": count,
        "seconds": round(lasted_s, 1),
        "share": round(calls / lasted_s / PER_S, 4),
        "refusals": stats["refusals"],
        "second_rooms": stats["duplicates"],
        "worst_1s": stats["worst_1s"],
        "worst_60s": stats["worst_60s"],
        **per_job(begins, ends, calls, count, meter.peak_bytes),
    }
