"""Every connection between a worker and Redis turns half-open under load: seconds until it calls again, and is done.

python -m bench.half_open [--jobs 600]
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise

from bench.common import AOF, BATCH, drain, jobs, outcome, queue_of, report, start_workers
from sandbox.stack import Stack, until

RATES = "3000/minute"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=600)
    options = parser.parse_args()
    api = ("--rates", RATES, "--latency", "uniform:0:1", "--seed", "6")
    stack = Stack(api, {"WARROOMS_RATES": RATES}, valkey=AOF, through_proxy=True)
    with stack, queue_of(stack, RATES) as queue:
        queue.enqueue_many(jobs(options.jobs), batch=BATCH)
        start_workers(stack, 1)
        until(lambda: stack.stats()["arrivals"] > options.jobs / 6, "the load")
        frozen = stack.proxy.connections
        stack.proxy.freeze()
        frozen_at = time.monotonic()
        before = stack.stats()["arrivals"]
        progress = drain(queue.ledger("default"))
        done_s = round(time.monotonic() - frozen_at, 1)
        times = [arrival[0] for arrival in stack.arrivals()][before - 1 :]
        # Calls whose slot it had already go out; then it is silent, and then it calls again.
        _, again = max(pairwise(times), key=lambda pair: pair[1] - pair[0], default=(0.0, times[0]))
        facts = outcome(stack, progress, options.jobs)
    report(frozen_connections=frozen, calls_again_s=round(again - times[0], 1), all_done_s=done_s, **facts)


if __name__ == "__main__":
    main()
