"""50 urgent jobs, one after the other: the time from enqueue until the call is sent.

Behind a saturated bulk backlog of 20,000, and behind 1,500 retries that are all due and have to look first.

    python -m bench.urgent [--backlog 20000] [--jobs 50] [--retries 1500]
"""

from __future__ import annotations

import argparse
import json
import time
from statistics import median
from typing import TYPE_CHECKING

from producers.queue import JobQueue
from sandbox.stack import INTEGRATION_ID, Stack, until
from worker.errors import OutcomeUnknown
from worker.jobs import Lane, WarRoomJob
from worker.records import Claim
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.ledger import Ledger

GAP_S = 0.7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backlog", type=int, default=20_000)
    parser.add_argument("--jobs", type=int, default=50)
    parser.add_argument("--retries", type=int, default=1500)
    options = parser.parse_args()
    for case, fill in (("backlog", options.backlog), ("retries", options.retries)):
        with Stack(api=("--latency", "uniform:0:2", "--seed", "1")) as stack:
            queue = JobQueue(Settings(redis_url=stack.redis_url, integration_id=INTEGRATION_ID))
            queue.enqueue_many(WarRoomJob(incident_id=f"{n:024x}", integration_id=INTEGRATION_ID) for n in range(fill))
            if case == "retries":
                put_aside(queue.ledger("default"), fill)
            waits = urgent_waits(stack, queue, options.jobs)
            refusals = stack.stats()["refusals"]
            queue.close()
        print(json.dumps({"case": case, **spread(waits), "refusals": refusals}), flush=True)


def put_aside(ledger: Ledger, jobs: int) -> None:
    """As after an outage of the API: every job is due, and has to look first."""
    timeout = OutcomeUnknown("no answer", code="Timeout")
    for n in range(jobs):
        claim = ledger.claim(WarRoomJob(incident_id=f"{n:024x}", integration_id=INTEGRATION_ID), "bench")
        assert isinstance(claim, Claim)
        ledger.retry(claim, timeout, 0, look_first=True)


def urgent_waits(stack: Stack, queue: JobQueue, jobs: int) -> list[float]:
    stack.start_worker()
    until(lambda: stack.stats()["arrivals"] > 50, "saturation")
    waits = []
    for n in range(jobs):
        job = WarRoomJob(incident_id=f"{n:020x}ffff", integration_id=INTEGRATION_ID, lane=Lane.URGENT)
        began = time.monotonic()
        queue.enqueue(job)
        # "attempts" is written right before the call goes out; polling adds up to 50 ms.
        until(lambda: bool(stack.redis.hget(record_key(job), "attempts")), "urgent", within_s=60)  # noqa: B023
        waits.append(time.monotonic() - began)
        time.sleep(GAP_S)
    return sorted(waits)


def spread(waits: list[float]) -> dict[str, float]:
    return {
        "jobs": len(waits),
        "median_s": round(median(waits), 3),
        "p99_s": round(waits[min(len(waits) - 1, round(len(waits) * 0.99))], 3),
        "worst_s": round(waits[-1], 3),
    }


def record_key(job: WarRoomJob) -> str:
    return f"warrooms:{{{job.account}}}:job:{job.incident_id}.{job.integration_id}"


if __name__ == "__main__":
    main()
