"""1 to 500 accounts at a small fixed rate each, with one and with two workers, all with a backlog.

Each account allows 60 calls a minute. The idle cost is of a worker that waits for all of them and has nothing to do.
Where the calls a second fall behind what the accounts allow, the workers' CPU is used up, or the machine's
(`machine_busy`).
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.accounts_stack import installation, job, names
from bench.lateness import buckets_of, lateness
from bench.meter import Meter, per_job
from bench.server import about
from sandbox.stack import until
from worker.rate_limit import plan_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.accounts_stack import Installation
    from bench.meter import Reading

COUNTS: Final = (1, 10, 50, 100, 200, 300, 500)
QUICK_COUNTS: Final = (10, 100)
RATES: Final = "60/minute"
THREADS: Final = "128"
IDLE_S: Final = 10.0
WARM_S: Final = 10.0
SECONDS: Final = 25.0
QUICK_SECONDS: Final = 8.0


def measure(quick: bool) -> Iterator[dict[str, Any]]:  # noqa: FBT001
    """A line for each number of accounts and workers."""
    for workers in (1,) if quick else (1, 2):
        for count in QUICK_COUNTS if quick else COUNTS:
            yield _run(count, workers, QUICK_SECONDS if quick else SECONDS)


def _run(count: int, workers: int, seconds: float) -> dict[str, Any]:
    api, env = ("--latency", "constant:0.05"), {"WARROOMS_CONCURRENCY": THREADS}
    with (
        tempfile.TemporaryDirectory() as folder,
        installation(Path(folder), names(count), RATES, api, env) as here,
    ):
        for _ in range(workers):
            here.stack.start_worker()
        meter = Meter(here.stack.workers, here.stack.redis)
        idle = _idle(meter, workers)
        each = int(WARM_S + IDLE_S + seconds) + 30
        for name in here.accounts:  # an account's jobs in one script: the others come in no time
            here.queue.enqueue_chunk([job(name, number) for number in range(each)])
        until(lambda: here.stack.stats()["arrivals"] > 0, "the first call", within_s=60)
        time.sleep(WARM_S)
        drained = _drain(here, meter, seconds, workers)
        line = {"accounts": count, "workers": workers, **about(here.stack.redis), **drained, **idle}
        line["refusals"] = here.stack.stats()["refusals"]
    return line


def _idle(meter: Meter, workers: int) -> dict[str, Any]:
    time.sleep(3)
    before, began = meter.read(), time.monotonic()
    time.sleep(IDLE_S)
    after, lasted_s = meter.read(), time.monotonic() - began
    commands = sum(after.commands.values()) - sum(before.commands.values())
    return {
        "idle_cpu_ms_per_s_per_worker": round(
            1000 * (after.worker_cpu_s - before.worker_cpu_s) / lasted_s / workers, 2
        ),
        "idle_redis_ms_per_s": round(1000 * (after.redis_cpu_s - before.redis_cpu_s) / lasted_s, 2),
        "idle_commands_per_s": round(commands / lasted_s),
    }


def _drain(here: Installation, meter: Meter, seconds: float, workers: int) -> dict[str, Any]:
    first, late, begins, began = _arrivals(here), buckets_of(here.stack.workers), meter.read(), time.monotonic()
    time.sleep(seconds)
    last, ends, lasted_s = _arrivals(here), meter.read(), time.monotonic() - began
    late_by = lateness(late, buckets_of(here.stack.workers))
    calls = [last.get(name, 0) - first.get(name, 0) for name in here.accounts]
    allowed = plan_of(RATES).rate_per_s * lasted_s
    return {
        "jobs_per_s": round(sum(calls) / lasted_s, 1),
        "allowed_per_s": round(len(calls) * allowed / lasted_s, 1),
        "share_lowest": round(min(calls) / allowed, 3),
        "share_mean": round(sum(calls) / len(calls) / allowed, 3),
        "cpu_used_per_worker": round(_cpu_s(begins, ends) / lasted_s / workers, 3),
        **late_by,
        **per_job(begins, ends, sum(calls), workers, meter.peak_bytes),
    }


def _arrivals(here: Installation) -> dict[str, int]:
    accounts: dict[str, Any] = here.stack.stats()["accounts"]
    return {name: int(counts["arrivals"]) for name, counts in accounts.items()}


def _cpu_s(begins: Reading, ends: Reading) -> float:
    return ends.worker_cpu_s - begins.worker_cpu_s
