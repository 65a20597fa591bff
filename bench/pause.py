"""A 429 with Retry-After 3 in the middle of a saturated run of three workers: calls that still reach the API.

python -m bench.pause [--pauses 10]
"""

from __future__ import annotations

import argparse
import json
import time

from producers.queue import JobQueue
from sandbox.stack import INTEGRATION_ID, Stack, until
from worker.jobs import WarRoomJob
from worker.settings import Settings

PAUSE_S = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pauses", type=int, default=10)
    parser.add_argument("--workers", type=int, default=3)
    options = parser.parse_args()
    with Stack(api=("--latency", "uniform:0:2", "--seed", "1")) as stack:
        queue = JobQueue(Settings(redis_url=stack.redis_url, integration_id=INTEGRATION_ID))
        queue.enqueue_many(WarRoomJob(incident_id=f"{n:024x}", integration_id=INTEGRATION_ID) for n in range(3000))
        for _ in range(options.workers):
            stack.start_worker(wait=False)
        until(lambda: stack.stats()["arrivals"] > 50, "saturation")
        escaped, resumed = [], []
        for _ in range(options.pauses):
            before = stack.stats()
            stack.fault(kind="limit-pause", retry_after_s=PAUSE_S, calls=1)
            until(lambda: stack.stats()["faults"][-1]["fired"] > 0, "the 429")
            began = time.monotonic()
            time.sleep(PAUSE_S)
            inside = stack.stats()
            until(lambda: stack.stats()["arrivals"] > inside["arrivals"], "the first call after it")  # noqa: B023
            resumed.append(time.monotonic() - began - PAUSE_S)
            escaped.append(inside["arrivals_in_pause"] - before["arrivals_in_pause"])
            time.sleep(2)
        stats = stack.stats()
        failed = int(stack.redis.hget("warrooms:{default}:account", "failed") or 0)
        queue.close()
    print(
        json.dumps(
            {
                "pauses": options.pauses,
                "escaped": escaped,
                "worst_escaped": max(escaped),
                "resumed_after_s": [round(s, 2) for s in resumed],
                "failed_jobs": failed,
                "duplicates": stats["duplicates"],
            }
        )
    )


if __name__ == "__main__":
    main()
