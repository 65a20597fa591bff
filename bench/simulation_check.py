"""The simulation beside a real run of the same load: 60 accounts on one Redis.

    python -m bench.simulation_check [--constants docs/benchmarks/growth.json] [--workers 1] [--share 0.2 ...]

For each share of the accounts that the storm hits, a line: what was measured, what the simulation says, and the error,
(simulated - measured) / measured, of waits in seconds. Both have the same arrivals. A small share leaves the worker
time to spare, a large one asks for more than it can do. A minute each.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.accounts_stack import installation, job, names
from bench.common import report
from bench.constants import Constants
from bench.meter import Meter
from bench.model import Fleet
from bench.simulation import GROWTH, bound_s, share_of, simulate
from bench.storm import Storm
from sandbox.stack import until
from worker.jobs import Lane
from worker.rate_limit import plan_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.accounts_stack import Installation
    from bench.model import Arrival

ACCOUNTS: Final = 60
RATES: Final = "600/minute"
JOBS: Final = 250
CALM_PER_HOUR: Final = 180.0
LATENCY_S: Final = (0.05, 0.25)
TICK_S: Final = 0.01
SEED: Final = 1
THREADS: Final = 128
FIRST: Final = 10**9
RATIOS: Final = ("drain_s", "jobs_per_s", "worker_used", "redis_used")
WAITS: Final = ("urgent_p50_s", "urgent_p99_s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--constants", type=Path, default=GROWTH)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--share", type=float, nargs="+", default=[0.1, 0.2, 0.5])
    options = parser.parse_args()
    constants, plan = Constants.read(options.constants), plan_of(RATES)
    for share in options.share:
        storm = Storm(share, JOBS, 0.0, CALM_PER_HOUR, bound_s(plan, JOBS))
        real = measure(storm, options.workers)
        fleet = Fleet(ACCOUNTS, 1, options.workers, plan, THREADS)
        said = simulate(fleet, constants, storm, LATENCY_S, SEED)
        report(share=share, workers=options.workers, measured=real, simulated=said, error=error_of(said, real))


def measure(storm: Storm, workers: int) -> dict[str, Any]:
    """The same load for real."""
    arrivals = sorted(storm.arrivals(ACCOUNTS, random.Random(SEED)), key=lambda one: one.at_s)
    low, high = LATENCY_S
    api, env = ("--latency", f"uniform:{low}:{high}", "--seed", "1"), {"WARROOMS_CONCURRENCY": str(THREADS)}
    with (
        tempfile.TemporaryDirectory() as folder,
        installation(Path(folder), names(ACCOUNTS), RATES, api, env) as here,
    ):
        for _ in range(workers):
            here.stack.start_worker()
        _warm(here)
        warm = len(here.accounts)
        meter = Meter(here.stack.workers, here.stack.redis)
        begins, began = meter.read(), time.time()
        _enqueue(here, arrivals)
        until(lambda: here.stack.stats()["incidents_with_rooms"] >= len(arrivals) + warm, "all rooms", within_s=300)
        ends, lasted_s = meter.read(), time.time() - began
        return _told(here, arrivals, began) | {
            "worker_used": round((ends.worker_cpu_s - begins.worker_cpu_s) / lasted_s / workers, 3),
            "redis_used": round((ends.redis_cpu_s - begins.redis_cpu_s) / lasted_s, 3),
            "machine_busy": round(
                (ends.machine_busy_s - begins.machine_busy_s) / (ends.machine_s - begins.machine_s), 3
            ),
            "refusals": here.stack.stats()["refusals"],
        }


def _warm(here: Installation) -> None:
    """A call of each account: a bucket that was never asked begins empty, once."""
    for account in here.accounts:
        here.queue.enqueue(job(account, FIRST + int(account.rpartition("-")[2])))
    until(lambda: here.stack.stats()["incidents_with_rooms"] >= len(here.accounts), "the first rooms")
    time.sleep(2)  # full again


def error_of(said: dict[str, Any], real: dict[str, Any]) -> dict[str, float | None]:
    """Relative where it is a speed or a share, absolute where it is a wait."""
    found: dict[str, float | None] = {name: round(said[name] / real[name] - 1, 3) for name in RATIOS if name in said}
    return found | {name: round(said[name] - real[name], 3) for name in WAITS if name in said}


def _enqueue(here: Installation, arrivals: Sequence[Arrival]) -> None:
    began, waiting = time.monotonic(), list(enumerate(arrivals))
    while waiting:
        due_s = time.monotonic() - began
        due = [(number, one) for number, one in waiting[:500] if one.at_s <= due_s]
        if due:
            here.queue.enqueue_chunk([_job(here, number, one) for number, one in due])
            del waiting[: len(due)]
        else:
            time.sleep(TICK_S)


def _job(here: Installation, number: int, one: Arrival) -> Any:  # noqa: ANN401
    lane = Lane.URGENT if one.urgent else Lane.BULK
    return job(here.accounts[one.account], number, lane)


def _told(here: Installation, arrivals: Sequence[Arrival], began: float) -> dict[str, Any]:
    waits, last = [], began
    stormed = sum(not one.urgent for one in arrivals)
    for number, one in enumerate(arrivals):
        asked = _job(here, number, one)
        record = here.queue.ledger(asked.account).record(asked.id)
        if record is None or record.finished_at is None:
            raise LookupError(f"job {asked.id} has not ended")
        if one.urgent:
            waits.append(record.finished_at - record.created_at - sum(LATENCY_S) / 2)
        else:
            last = max(last, record.finished_at)
    waits.sort()
    return {
        "jobs": len(arrivals),
        "drain_s": round(last - began, 1),
        "jobs_per_s": round(stormed / (last - began), 1),
        "urgent_p50_s": share_of(waits, 0.5),
        "urgent_p99_s": share_of(waits, 0.99),
    }


if __name__ == "__main__":
    main()
