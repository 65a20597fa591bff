"""kill -9 of a worker that holds jobs: seconds until the last of them is opened by another. The worst of several.

What it held: the records that name it as their worker.

python -m bench.takeover [--rounds 5]
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from bench.common import AOF, BATCH, drain, jobs, outcome, queue_of, report, start_workers
from sandbox.stack import Stack, until
from worker.jobs import JobState

if TYPE_CHECKING:
    from sandbox.stack import Process

RATES = "3000/minute"
PER_ROUND = 1000


def held_by(stack: Stack, victim: Process, job_ids: list[str]) -> set[str]:
    """The jobs whose record says that the victim has them in hand."""
    with stack.redis.pipeline(transaction=False) as asking:
        for job_id in job_ids:
            asking.hmget(f"warrooms:{{default}}:job:{job_id.partition('.')[2]}", "state", "worker", "token")
        records = asking.execute()
    return {
        job_id
        for job_id, (state, worker, token) in zip(job_ids, records, strict=True)
        if state == JobState.OPENING and (worker or token or "").startswith(f"{victim.name}@")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    api = ("--rates", RATES, "--latency", "uniform:1:2", "--seed", "4")
    took: list[float] = []
    held: list[int] = []
    with Stack(api, {"WARROOMS_RATES": RATES}, valkey=AOF) as stack, queue_of(stack, RATES) as queue:
        ledger = queue.ledger("default")
        start = 0
        for number in range(options.rounds):
            mine = jobs(PER_ROUND, first=number * PER_ROUND)
            queue.enqueue_many(mine, batch=BATCH)
            start_workers(stack, 2 - start)
            until(lambda: all("ready." in w.log.read_text() for w in stack.workers if w.alive), "both workers")
            until(lambda: ledger.progress().states[JobState.OPENING] >= 30, "calls under way")
            victim = next(worker for worker in stack.workers if worker.alive)
            victim.kill()
            killed_at = time.monotonic()
            waiting = held_by(stack, victim, [one.id for one in mine])
            held.append(len(waiting))

            def all_ended(waiting: set[str] = waiting) -> bool:
                done = {job_id for job_id in waiting if (r := ledger.record(job_id)) is not None and r.state.finished}
                waiting -= done
                return not waiting

            until(all_ended, "the dead worker's jobs", within_s=400)
            took.append(round(time.monotonic() - killed_at, 1))
            start = 1
            drain(ledger)
        facts = outcome(stack, drain(ledger), options.rounds * PER_ROUND)
    report(worst_s=max(took), seconds=took, held=held, **facts)


if __name__ == "__main__":
    main()
