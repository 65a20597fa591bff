"""10 minutes without a good answer in the middle of a backlog of 2,000, real limits: what is lost, how fast it is back.

Modes: `5xx` (every call gets a 500 or 503), `cut` (every connection is cut), `hang` (no answer at all).

python -m bench.outage [--mode 5xx] [--outage-s 600] [--jobs 2000]
"""

from __future__ import annotations

import argparse
import time
from typing import Any

from bench.common import (
    AOF,
    BATCH,
    REAL_RATES,
    drain,
    full_speed_after,
    jobs,
    max_attempts,
    outcome,
    progress_of,
    queue_of,
    report,
    start_workers,
)
from sandbox.stack import Stack, until

FAULTS: dict[str, tuple[dict[str, object], ...]] = {
    "5xx": (
        {"kind": "error", "code": "InternalError", "probability": 0.5},
        {"kind": "error", "code": "ServiceUnavailable"},
    ),
    "cut": ({"kind": "cut"},),
    "hang": ({"kind": "hang"},),
}


def run(mode: str, outage_s: float, count: int, rates: str) -> dict[str, Any]:
    api = ("--rates", rates, "--latency", "uniform:0:1", "--seed", "7")
    with Stack(api, {"WARROOMS_RATES": rates}, valkey=AOF) as stack, queue_of(stack, rates) as queue:
        queue.enqueue_many(jobs(count), batch=BATCH)
        ledger = queue.ledger("default")
        start_workers(stack, 2)
        until(lambda: progress_of(ledger).waiting < count * 0.85, "some rooms", within_s=120)
        before = stack.stats()["arrivals"]
        for fault in FAULTS[mode]:
            stack.fault(**fault)
        time.sleep(outage_s)
        calls = stack.stats()["arrivals"] - before
        stack.clear_faults()
        recovered = time.monotonic()
        speed = queue.accounts["default"].plan.rate_per_s
        full_speed_s = full_speed_after(stack, speed, within_s=180)
        progress = drain(ledger)
        facts = outcome(stack, progress, count)
        attempts = max_attempts(ledger, count)
    return {
        "mode": mode,
        "outage_s": outage_s,
        "calls_in_outage": calls,
        "full_speed_s": full_speed_s,
        "sustained_per_s": round(speed, 2),
        "all_done_s": round(time.monotonic() - recovered, 1),
        "max_attempts": attempts,
        **facts,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", action="append", choices=tuple(FAULTS))
    parser.add_argument("--outage-s", type=float, default=600)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--rates", default=REAL_RATES)
    options = parser.parse_args()
    for mode in options.mode or ("5xx",):
        report(**run(mode, options.outage_s, options.jobs, options.rates))


if __name__ == "__main__":
    main()
