"""One worker process for 60 accounts whose API takes a second: jobs a second, beside the same call in a bare task.

    python -m bench.fleet [--accounts 60] [--seconds 30] [--rounds 3] [--concurrency 512]

Each account may send 1,000 a minute, so the accounts allow five times of what is asked for here, and the worker is what
is measured. Both workers have the same number of threads, and a backlog that outlasts the measurement; the bare one has
a single queue and no limit.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from bench.accounts_stack import installation, job, names
from bench.arena import Arena
from bench.common import REAL_RATES, report
from bench.contenders import load
from bench.contest_cost import GENEROUS
from bench.meter import cpu_s, family
from sandbox.stack import until

if TYPE_CHECKING:
    from collections.abc import Callable

LATENCY: Final = ("--latency", "constant:1")
MODEL: Final = "sliding-log"
WARM_UP_S: Final = 10.0
PER_S: Final = 600
"""Jobs queued for each second: more than anything here drains."""


def ours(accounts: int, seconds: float, concurrency: int) -> dict[str, float]:
    env = {"WARROOMS_CONCURRENCY": str(concurrency)}
    api = ("--model", MODEL, *LATENCY)
    with (
        tempfile.TemporaryDirectory() as folder,
        installation(Path(folder), names(accounts), REAL_RATES, api, env) as here,
    ):
        each = round((WARM_UP_S + seconds) * PER_S / accounts)
        here.queue.enqueue_many(job(name, number) for number in range(each) for name in here.accounts)
        worker = here.stack.start_worker()
        return _speed(here.stack.stats, lambda: cpu_s(family(worker.popen.pid)), seconds)


def bare(seconds: float, concurrency: int) -> dict[str, float]:
    with Arena(load("celery_bare"), MODEL, 1, LATENCY, GENEROUS, concurrency) as arena:
        arena.enqueue([f"{number:024x}" for number in range(round((WARM_UP_S + seconds) * PER_S))])
        worker = arena.start_worker()
        return _speed(arena.stats, lambda: cpu_s(family(worker.popen.pid)), seconds)


def _speed(stats: Callable[[], dict[str, Any]], cpu: Callable[[], float], seconds: float) -> dict[str, float]:
    until(lambda: stats()["incidents_with_rooms"] > 0, "the first room", within_s=60)
    time.sleep(WARM_UP_S)
    before, spent, began = stats(), cpu(), time.monotonic()
    time.sleep(seconds)
    after, spent, took_s = stats(), cpu() - spent, time.monotonic() - began
    rooms = after["rooms"] - before["rooms"]
    return {"per_s": rooms / took_s, "cpu_ms": 1000 * spent / rooms, "refusals": after["refusals"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=60)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=512)
    options = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {"warrooms": [], "bare": []}
    for _ in range(options.rounds):
        found["warrooms"].append(ours(options.accounts, options.seconds, options.concurrency))
        found["bare"].append(bare(options.seconds, options.concurrency))
    report(
        what="fleet",
        accounts=options.accounts,
        concurrency=options.concurrency,
        **{
            f"{name}_{figure}": round(median(one[figure] for one in rounds), 2)
            for name, rounds in found.items()
            for figure in ("per_s", "cpu_ms")
        },
        refusals=sum(one["refusals"] for one in found["warrooms"]),
        rounds={name: [round(one["per_s"], 1) for one in rounds] for name, rounds in found.items()},
    )


if __name__ == "__main__":
    main()
