"""The app key is revoked in the middle of a backlog of 2,000 and restored later: what is lost, when calls succeed.

python -m bench.revoked [--revoked-s 120] [--jobs 2000]
"""

from __future__ import annotations

import argparse
import time

from bench.common import (
    AOF,
    BATCH,
    REAL_RATES,
    drain,
    jobs,
    outcome,
    progress_of,
    queue_of,
    report,
    seconds_until,
    start_workers,
)
from sandbox.stack import APP_KEY, Stack, until


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--revoked-s", type=float, default=120)
    parser.add_argument("--jobs", type=int, default=2000)
    options = parser.parse_args()
    api = ("--latency", "uniform:0:1", "--seed", "8")
    with Stack(api, valkey=AOF) as stack, queue_of(stack, REAL_RATES) as queue:
        queue.enqueue_many(jobs(options.jobs), batch=BATCH)
        ledger = queue.ledger("default")
        start_workers(stack, 2)
        until(lambda: progress_of(ledger).waiting < options.jobs / 2, "half of them", within_s=240)
        stack.control("keys", revoke=[APP_KEY])
        time.sleep(options.revoked_s)
        turned_away = stack.stats()["turned_away"]
        stack.control("keys", restore=[APP_KEY])
        accepted = stack.stats()["accepted"]
        resumed_s = seconds_until(lambda: stack.stats()["accepted"] > accepted, "a call that succeeds")
        facts = outcome(stack, drain(ledger), options.jobs)
    report(revoked_s=options.revoked_s, calls_while_revoked=turned_away, resumed_s=resumed_s, **facts)


if __name__ == "__main__":
    main()
