"""200 kill -9 of workers over 20,000 jobs, the API cutting 5 % of the connections after it created the room.

python -m bench.kills [--jobs 20000] [--kills 200] [--workers 4] [--rates 4800/minute]
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from random import Random

from bench.common import AOF, BATCH, CREATE, drain, jobs, outcome, progress_of, queue_of, report, start_workers
from sandbox.stack import Stack, until


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--rates", default="4800/minute")
    options = parser.parse_args()
    api = ("--rates", options.rates, "--latency", "uniform:0:1", "--seed", "3")
    random = Random(3)
    with Stack(api, {"WARROOMS_RATES": options.rates}, valkey=AOF) as stack, queue_of(stack, options.rates) as queue:
        stack.fault(kind="cut", when="after", probability=0.05, endpoints=CREATE)
        queue.enqueue_many(jobs(options.jobs), batch=BATCH)
        ledger = queue.ledger("default")
        began = time.monotonic()
        start_workers(stack, options.workers)
        killed = 0
        for number in range(1, options.kills + 1):
            left = options.jobs * (1 - number / (options.kills + 1))
            until(lambda: progress_of(ledger).waiting <= left, f"kill {number}", within_s=240)  # noqa: B023
            ready = [w for w in stack.workers if w.alive and "ready." in w.log.read_text(errors="replace")]
            if ready:
                random.choice(ready).kill()
                stack.start_worker(wait=False)
                killed += 1
        progress = drain(ledger)
        facts = outcome(stack, progress, options.jobs)
        cut = stack.stats()["by_status"].get("cut", 0)
        why = Counter(f"{dead.code} after {dead.attempts} attempts" for dead in ledger.dead_letters())
    report(**facts, why_failed=why, kills=killed, cut=cut, seconds=round(time.monotonic() - began, 1))


if __name__ == "__main__":
    main()
