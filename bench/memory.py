"""A worker's memory with a backlog of 10 and of 200,000 jobs.

python -m bench.memory [--seconds 30] [--backlog 200000]
"""

from __future__ import annotations

import argparse
import json
import time

import psutil

from producers.queue import JobQueue
from sandbox.stack import INTEGRATION_ID, Stack, until
from worker.jobs import WarRoomJob
from worker.settings import Settings


def peak_mb(backlog: int, seconds: float) -> float:
    """The worker's largest resident size in `seconds` of work, in MB; it finishes 10 jobs or works on the backlog."""
    with Stack(api=("--latency", "uniform:0:2", "--seed", "1")) as stack:
        queue = JobQueue(Settings(redis_url=stack.redis_url, integration_id=INTEGRATION_ID))
        queue.enqueue_many(WarRoomJob(incident_id=f"{n:024x}", integration_id=INTEGRATION_ID) for n in range(backlog))
        worker = psutil.Process(stack.start_worker().popen.pid)
        until(lambda: stack.stats()["arrivals"] > 0, "the first call")
        peak, began = 0, time.monotonic()
        while time.monotonic() - began < seconds:
            peak = max(peak, worker.memory_info().rss)
            time.sleep(0.25)
        queue.close()
    return peak / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--backlog", type=int, default=200_000)
    options = parser.parse_args()
    small, large = peak_mb(10, options.seconds), peak_mb(options.backlog, options.seconds)
    print(
        json.dumps({"mb_at_10": round(small, 1), "mb_at_backlog": round(large, 1), "more_mb": round(large - small, 1)})
    )


if __name__ == "__main__":
    main()
