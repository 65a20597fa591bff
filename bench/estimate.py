"""The time that receipts promise, against the truth: a drain of 2,000 jobs at the real limits, three workers.

Error: |done_by - finished| of the time from enqueue to finish. Jobs that are done within `--soon` seconds are listed by
their absolute error: there the latency of one call (0.2 to 1 s, at random) is most of the wait.

    python -m bench.estimate [--jobs 2000] [--cuts 0.02]
"""

from __future__ import annotations

import argparse
import json
import time
from statistics import median
from typing import TYPE_CHECKING

from bench.common import BATCH, CREATE, drain, jobs, queue_of, start_workers
from sandbox.stack import Stack

if TYPE_CHECKING:
    from producers.queue import JobQueue
    from producers.receipt import Receipt
    from worker.jobs import WarRoomJob

WARM = 40
"""Jobs before, so that the bucket is in steady flow and an attempt's length is known."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--soon", type=float, default=5.0)
    parser.add_argument("--cuts", type=float, default=0.0, help="share of the calls that are cut after creating")
    options = parser.parse_args()
    with Stack(api=("--latency", "uniform:0.2:1", "--seed", "7")) as stack, queue_of(stack) as queue:
        queue.enqueue_many(jobs(WARM, first=10**6), batch="warm")
        start_workers(stack, 3)
        drain_batch(queue, "warm")
        if options.cuts:
            stack.fault(kind="cut", when="after", probability=options.cuts, endpoints=CREATE)
        promised: dict[str, Receipt] = {}

        def note(job: WarRoomJob, receipt: Receipt) -> None:
            promised[job.id] = receipt

        began = time.time()
        queue.enqueue_many(jobs(options.jobs), batch=BATCH, on_receipt=note)
        drain(queue.ledger("default"))
        errors: list[float] = []
        soon: list[float] = []
        for job_id, receipt in promised.items():
            record = queue.ledger("default").record(job_id)
            assert record is not None and record.finished_at is not None and receipt.done_by is not None  # noqa: PT018
            off_s = abs(receipt.done_by.timestamp() - record.finished_at)
            took_s = record.finished_at - began
            (soon if took_s < options.soon else errors).append(off_s if took_s < options.soon else off_s / took_s)
        refusals = stack.stats()["refusals"]
    figures = {
        "jobs": len(promised),
        "median_error": round(median(errors), 4),
        "worst_error": round(max(errors), 4),
        "soon": len(soon),
        "soon_worst_s": round(max(soon, default=0.0), 2),
        "cuts": options.cuts,
        "refusals": refusals,
    }
    print(json.dumps(figures), flush=True)


def drain_batch(queue: JobQueue, name: str) -> None:
    while (batch := queue.ledger("default").batch(name)) is not None and batch.waiting:
        time.sleep(0.1)


if __name__ == "__main__":
    main()
