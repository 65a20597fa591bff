"""A batch of 10 behind a bulk batch of 10,000, at the real limits: seconds until the 10 are done.

python -m bench.turns [--large 10000] [--small 10] [--rounds 3]
"""

from __future__ import annotations

import argparse
import json
import time

from bench.common import jobs, queue_of, start_workers
from sandbox.stack import Stack


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", type=int, default=10_000)
    parser.add_argument("--small", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    took: list[float] = []
    with Stack(api=("--latency", "uniform:0.2:1", "--seed", "3")) as stack, queue_of(stack) as queue:
        ledger = queue.ledger("default")
        queue.enqueue_many(jobs(options.large), batch="large")
        start_workers(stack, 3)
        for number in range(options.rounds):
            time.sleep(3)
            began = time.monotonic()
            name = f"small-{number}"
            queue.enqueue_many(jobs(options.small, first=10**6 * (number + 1)), batch=name)
            while (batch := ledger.batch(name)) is not None and batch.waiting:
                time.sleep(0.02)
            took.append(round(time.monotonic() - began, 2))
        large = ledger.batch("large")
        assert large is not None
        figures = {"took_s": took, "worst_s": max(took), "large_left": large.waiting}
        figures["refusals"] = stack.stats()["refusals"]
    print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
