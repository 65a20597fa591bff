"""50 urgent jobs, one after the other, behind a saturated bulk backlog of 20,000: enqueue until the call is sent.

python bench/urgent.py [--backlog 20000] [--jobs 50]
"""

from __future__ import annotations

import argparse
import json
import time
from statistics import median

from producers.queue import JobQueue
from sandbox.stack import INTEGRATION_ID, Stack, until
from worker.jobs import Lane, WarRoomJob
from worker.settings import Settings

GAP_S = 0.7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backlog", type=int, default=20_000)
    parser.add_argument("--jobs", type=int, default=50)
    options = parser.parse_args()
    with Stack(api=("--latency", "uniform:0:2", "--seed", "1")) as stack:
        queue = JobQueue(Settings(redis_url=stack.redis_url, integration_id=INTEGRATION_ID))
        queue.enqueue_many(
            WarRoomJob(incident_id=f"{n:024x}", integration_id=INTEGRATION_ID) for n in range(options.backlog)
        )
        stack.start_worker()
        until(lambda: stack.stats()["arrivals"] > 50, "saturation")
        waits = []
        for n in range(options.jobs):
            job = WarRoomJob(incident_id=f"{n:020x}ffff", integration_id=INTEGRATION_ID, lane=Lane.URGENT)
            began = time.monotonic()
            queue.enqueue(job)
            # "sent" is written right before the call goes out; polling adds up to 50 ms.
            until(lambda: bool(stack.redis.hget(record_key(job), "sent")), "urgent", within_s=30)  # noqa: B023
            waits.append(time.monotonic() - began)
            time.sleep(GAP_S)
        stats = stack.stats()
        queue.close()
    waits.sort()
    print(
        json.dumps(
            {
                "jobs": len(waits),
                "median_s": round(median(waits), 3),
                "p99_s": round(waits[min(len(waits) - 1, round(len(waits) * 0.99))], 3),
                "worst_s": round(waits[-1], 3),
                "refusals": stats["refusals"],
            }
        )
    )


def record_key(job: WarRoomJob) -> str:
    return f"warrooms:{{{job.account}}}:job:{job.incident_id}.{job.integration_id}"


if __name__ == "__main__":
    main()
