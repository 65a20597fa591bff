"""How many workers and Redis instances thousands of accounts need: storms of incidents through bench/model.py.

    python -m bench.simulation [--constants docs/benchmarks/growth.json] [--accounts 10000] [--redis 4 ...]
                               [--workers 32 ...] [--crews 1 ...] [--share 0.05] [--jobs 500] [--calm-per-hour 20]
                               [--threads 64] [--rates ...] [--out docs/benchmarks/simulation.json]

A line for each number of Redis instances, of workers, and of crews on each Redis (sets of workers with accounts of
their own): `drain_s` beside `bound_s`, the time that the limits alone would take; the wait of urgent jobs, from their
coming to their room, less the call; how much of its time a worker and a Redis spend, on everything and (`idle_...`)
only because accounts are there. `enough`: the drain takes at most a tenth longer than the bound, and 99 of 100 urgent
jobs wait a second at the most. The costs are those that bench.growth measured; bench/simulation_check.py runs the
same load for real. Some seconds a line.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.common import REAL_RATES, report
from bench.constants import Constants
from bench.model import Fleet, Model, Overloaded
from bench.storm import Storm
from worker.rate_limit import plan_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.model import Outcome
    from worker.rate_limit import Plan

GROWTH: Final = Path("docs") / "benchmarks" / "growth.json"
REDIS: Final = (1, 4, 8, 16, 32)
WORKERS: Final = (16, 32, 64, 96)
CREWS: Final = (1, 4)
LATENCY_S: Final = (0.2, 1.0)
SLOWER: Final = 1.1
URGENT_S: Final = 1.0


def main() -> None:
    options = _options()
    constants, plan = Constants.read(options.constants), plan_of(options.rates)
    storm = Storm(options.share, options.jobs, 5.0, options.calm_per_hour, bound_s(plan, options.jobs))
    lines = []
    for redis in options.redis or REDIS:
        for workers in options.workers or WORKERS:
            for crews in options.crews or CREWS:
                if workers % (redis * crews) == 0:
                    fleet = Fleet(options.accounts, redis, workers, plan, options.threads, crews)
                    lines.append(simulate(fleet, constants, storm, LATENCY_S))
                    report(**lines[-1])
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"constants": constants.json(), "lines": lines}, indent=1) + "\n")


def bound_s(plan: Plan, jobs: int) -> float:
    """The least time in which an account's limits let so many calls out."""
    return max((jobs - limit.burst) * limit.interval_us / 1e6 for limit in plan.limits)


def simulate(
    fleet: Fleet, constants: Constants, storm: Storm, latency_s: tuple[float, float], seed: int = 1
) -> dict[str, Any]:
    """One run, and what became of it."""
    line: dict[str, Any] = {"accounts": fleet.accounts, "redis": fleet.redis, "workers": fleet.workers}
    line |= {"crews": fleet.crews}
    draw = random.Random(seed)
    try:
        model = Model(fleet, constants, lambda: draw.uniform(*latency_s))
    except Overloaded as error:
        return line | {"enough": False, "why": str(error)}
    outcome = model.run(storm.arrivals(fleet.accounts, random.Random(seed)))
    line |= told(outcome, latency_s) | {
        "bound_s": round(bound_s(fleet.plan, storm.jobs) + storm.within_s + sum(latency_s) / 2, 1),
        "worker_used": round(outcome.worker_used, 3),
        "redis_used": round(outcome.redis_used, 3),
        "idle_worker_used": round(model.idle_worker, 3),
        "idle_redis_used": round(model.idle_redis, 3),
    }
    fast = line["drain_s"] <= SLOWER * line["bound_s"]
    return line | {"enough": fast and (line["urgent_p99_s"] or 0.0) <= URGENT_S}


def told(outcome: Outcome, latency_s: tuple[float, float]) -> dict[str, Any]:
    """When the storm was over, and how long urgent jobs waited beyond the call that they take on average."""
    call_s = sum(latency_s) / 2
    waits = sorted(room - came - call_s for came, room, urgent, _ in outcome.rooms if urgent)
    stormed = [room for _, room, urgent, _ in outcome.rooms if not urgent]
    drain_s = max(stormed, default=0.0)
    return {
        "jobs": len(outcome.rooms),
        "drain_s": round(drain_s, 1),
        "jobs_per_s": round(len(stormed) / drain_s, 1) if drain_s else 0.0,
        "urgent_p50_s": share_of(waits, 0.5),
        "urgent_p99_s": share_of(waits, 0.99),
    }


def share_of(in_order: Sequence[float], share: float) -> float | None:
    """Of values in their order the one below which this share of them lies; None of none."""
    return round(in_order[min(len(in_order) - 1, int(share * len(in_order)))], 3) if in_order else None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--constants", type=Path, default=GROWTH)
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--redis", type=int, nargs="+")
    parser.add_argument("--workers", type=int, nargs="+")
    parser.add_argument("--crews", type=int, nargs="+", help="of each Redis")
    parser.add_argument("--threads", type=int, default=64, help="of a worker: WARROOMS_CONCURRENCY")
    parser.add_argument("--share", type=float, default=0.05, help="of the accounts that the storm hits")
    parser.add_argument("--jobs", type=int, default=500, help="that each of these gets at once")
    parser.add_argument("--calm-per-hour", type=float, default=20.0, help="urgent jobs that every account gets")
    parser.add_argument("--rates", default=REAL_RATES)
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
