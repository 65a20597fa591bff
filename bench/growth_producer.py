"""A producer that queues many jobs, and how much it grew: a process of its own, so that nothing else is measured.

python -m bench.growth_producer COUNT [FIRST]        # into the Redis of REDIS_URL
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Final

import psutil

from bench.common import BATCH, job, report
from producers.queue import JobQueue
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.jobs import WarRoomJob

WARM: Final = 1000
"""Jobs before the first look: what a producer needs once is there then."""

EVERY: Final = 5000


def main() -> None:
    count, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    queue = JobQueue(Settings.load())
    process, before, peak, seen = psutil.Process(os.getpid()), 0, 0, 0

    def watch(_job: WarRoomJob, _receipt: object) -> None:
        nonlocal before, peak, seen
        seen += 1
        if seen == min(WARM, count):
            before = peak = process.memory_info().rss
        if seen % EVERY == 0:
            peak = max(peak, process.memory_info().rss)

    began = time.perf_counter()
    queue.enqueue_many((job(number) for number in range(first, first + count)), batch=BATCH, on_receipt=watch)
    took_s = time.perf_counter() - began
    peak = max(peak, process.memory_info().rss)
    queue.close()
    report(per_s=round(count / took_s), growth_mb=round((peak - before) / 1e6, 2), rss_mb=round(peak / 1e6, 1))


if __name__ == "__main__":
    main()
