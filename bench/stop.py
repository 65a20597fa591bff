"""SIGTERM with 64 calls in flight at 1 s latency: seconds from the last answer to the exit, and calls made twice.

python -m bench.stop [--rounds 3]
"""

from __future__ import annotations

import argparse
import time

from bench.common import AOF, BATCH, CREATE, drain, jobs, outcome, queue_of, report, start_workers
from sandbox.stack import Stack, until

RATES = "12000/minute"
IN_FLIGHT = 64
PER_ROUND = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    api = ("--rates", RATES, "--latency", "constant:1", "--seed", "9")
    in_flight, exits, codes = [], [], []
    with Stack(api, {"WARROOMS_RATES": RATES}, valkey=AOF) as stack, queue_of(stack, RATES) as queue:
        ledger = queue.ledger("default")
        for number in range(options.rounds):
            queue.enqueue_many(jobs(PER_ROUND, number * PER_ROUND), batch=BATCH)
            start_workers(stack, 1)
            worker = stack.workers[-1]
            until(lambda: stack.stats()["in_flight"] >= IN_FLIGHT, "64 calls in flight")
            worker.ask()
            in_flight.append(stack.stats()["in_flight"])
            last_answer = time.monotonic()
            while worker.alive:
                if stack.stats()["in_flight"]:
                    last_answer = time.monotonic()
                time.sleep(0.01)
            exits.append(round(time.monotonic() - last_answer, 2))
            codes.append(worker.popen.returncode)
        start_workers(stack, 1)
        facts = outcome(stack, drain(ledger), options.rounds * PER_ROUND)
        calls = stack.stats()["by_endpoint"]
    repeated = calls[CREATE] - facts["jobs"] + sum(count for path, count in calls.items() if path != CREATE)
    report(in_flight=in_flight, exit_after_s=exits, worst_exit_s=max(exits), codes=codes, repeated=repeated, **facts)


if __name__ == "__main__":
    main()
