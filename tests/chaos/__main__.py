"""The long run: `python -m tests.chaos --minutes N [--seed S]`. Exit 0 if everything balances, else 1."""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import sys
import time

from .ground import Ground
from .schedule import schedule
from .storm import run

PER_S = 40
"""Jobs a second on average: well below the limit, so that what the faults delay is caught up."""


def main() -> int:
    """Runs a schedule, prints it as it happens, and the balance as JSON in the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--jobs", type=int, default=None, help=f"{PER_S} a second unless given")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--settle-s", type=float, default=180)
    options = parser.parse_args()
    seed = random.randrange(2**31) if options.seed is None else options.seed
    strikes = schedule(seed, options.minutes * 60)
    jobs = options.jobs or round(PER_S * options.minutes * 60)
    say(f"seed {seed}: {len(strikes)} faults in {options.minutes:g} minutes, {jobs} jobs, {options.workers} workers")
    began = time.monotonic()
    with Ground(seed) as ground:
        run(ground, strikes, jobs=jobs, workers=options.workers, say=say)
        ground.settle(options.settle_s)
        balance = ground.balance()
    took = {"seed": seed, "seconds": round(time.monotonic() - began, 1), "faults": len(strikes)}
    say(json.dumps(took | {"balances": balance.holds} | dataclasses.asdict(balance)))
    return 0 if balance.holds else 1


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
