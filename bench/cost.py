"""What a job costs a worker, beside the same call in a bare Celery task: CPU, Redis commands by kind, round trips.

    python -m bench.cost [--jobs 1000] [--rounds 3] [--backlog 3000]

Two kinds of lines. `cpu`: one worker process each, in turns; at the account's limit (1,000 a minute; the bare task has
no limiter, so it is fed at that pace) and at 12,000 a minute with a backlog. Theirs is bench/contenders/celery_bare.py,
a plain task with the same httpx call; ours everything: ledger, bucket, events, metrics and the line per outcome.
`commands`: what Redis is sent at the limit, with one worker and with three, for jobs of a batch, those inside scripts
counted; `round_trips` are the reads that Redis made from the sockets of workers.
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from bench.arena import Arena
from bench.common import BATCH, REAL_RATES, jobs, queue_of, report
from bench.contenders import load
from bench.contest_cost import GENEROUS, PACED_EVERY_S, SLOWEST_S, feed
from bench.meter import Meter, commands_of, per_job
from sandbox.stack import Stack, until

if TYPE_CHECKING:
    from collections.abc import Iterator

API: Final = ("--latency", "uniform:0:1", "--seed", "1")
MODEL: Final = "sliding-log"
BARE, WARROOMS = "celery_bare", "warrooms_itself"
FAST: Final = (200, 12_000)
LIMIT: Final = (50, 1_000)
SHARE: Final = (0.25, 0.85)
"""Of a drain, what is measured: neither how it begins nor how it ends."""

LOOK_S: Final = 0.5


def at_the_limit(name: str, count: int) -> float:
    """Milliseconds of a worker's CPU for a job, 1,000 jobs a minute."""
    bare = name == BARE
    with Arena(load(name), MODEL, 1, API, GENEROUS if bare else LIMIT) as arena:
        meter = arena.start_workers()
        for first in _warm_up(arena, bare=bare):
            arena.enqueue([first])
        before, rooms = meter.read(), arena.rooms()
        ids = [f"{number:024x}" for number in range(1, count + 1)]
        if bare:
            feed(arena, ids)
        else:
            arena.enqueue(ids)
            time.sleep(count * PACED_EVERY_S)  # to look all the time would disturb it, and nobody looks at the other
        until(lambda: arena.rooms() >= rooms + count, "all rooms", within_s=SLOWEST_S + count * PACED_EVERY_S)
        return float(per_job(before, meter.read(), count, 1, meter.peak_bytes)["cpu_ms_per_job"])


def _warm_up(arena: Arena, *, bare: bool) -> Iterator[str]:
    """One job, so that connections and modules are there."""
    yield f"{0:024x}"
    until(lambda: arena.rooms() >= 1, "the first room", within_s=60)
    assert bare or arena.stats()["refusals"] == 0


def at_speed(name: str, backlog: int) -> tuple[float, float]:
    """Milliseconds of a worker's CPU for a job with a backlog, and the jobs a second."""
    with Arena(load(name), MODEL, 1, ("--latency", "constant:0.05"), GENEROUS if name == BARE else FAST) as arena:
        arena.enqueue([f"{number:024x}" for number in range(backlog)])
        arena.start_worker()
        meter = Meter(arena.workers, arena.stack.redis)
        until(lambda: arena.rooms() >= backlog // 10, "the first rooms", within_s=SLOWEST_S)
        before, rooms, began = meter.read(), arena.rooms(), time.monotonic()
        until(lambda: arena.rooms() >= backlog - 5, "all rooms", within_s=SLOWEST_S)
        done, seconds = arena.rooms() - rooms, time.monotonic() - began
        return float(per_job(before, meter.read(), done, 1, meter.peak_bytes)["cpu_ms_per_job"]), done / seconds


def commands(workers: int, count: int) -> dict[str, Any]:
    """What Redis is sent for a job at the limit."""
    with (
        Stack(("--model", MODEL, *API), {"WARROOMS_METRICS_ADDRESS": "127.0.0.1:0"}) as stack,
        queue_of(stack) as queue,
    ):
        queue.enqueue_many(jobs(count), batch=BATCH)
        for _ in range(workers):
            stack.start_worker(wait=False)
        looks = 0

        def rooms_at_least(share: float) -> int:
            nonlocal looks
            while True:
                looks += 1
                rooms = int(stack.redis.hget("warrooms:{default}:account", "opened") or 0)
                if rooms >= share * count:
                    return rooms
                time.sleep(LOOK_S)

        first = rooms_at_least(SHARE[0])
        before, reads, looks, began = commands_of(stack.redis), _reads(stack), 0, time.monotonic()
        last = rooms_at_least(SHARE[1])
        after, seconds, done = commands_of(stack.redis), time.monotonic() - began, last - first
        spent = {kind: calls - before.get(kind, 0) for kind, calls in after.items()}
        spent["hget"] -= looks
        kinds = sorted(spent.items(), key=lambda item: -item[1])
        return {
            "workers": workers,
            "jobs": done,
            "per_minute": round(60 * done / seconds),
            "commands": round(sum(spent.values()) / done, 2),
            "round_trips": round((_reads(stack) - reads - looks - 2) / done, 2),
            "kinds": {kind: round(calls / done, 2) for kind, calls in kinds if calls / done >= 0.01},
            "refusals": stack.stats()["refusals"],
        }


def _reads(stack: Stack) -> int:
    stats: Any = stack.redis.info("stats")
    return int(stats["total_reads_processed"])


def cpu(count: int, backlog: int, rounds: int) -> dict[str, Any]:
    paced: dict[str, list[float]] = {BARE: [], WARROOMS: []}
    fast: dict[str, list[tuple[float, float]]] = {BARE: [], WARROOMS: []}
    for _ in range(rounds):
        for name in (BARE, WARROOMS):
            paced[name].append(at_the_limit(name, count))
            fast[name].append(at_speed(name, backlog))
    ms = {name: median(found) for name, found in paced.items()}
    fast_ms = {name: median(one for one, _ in found) for name, found in fast.items()}
    return {
        "rounds": rounds,
        "ms": round(ms[WARROOMS], 2),
        "bare_ms": round(ms[BARE], 2),
        "ratio": round(ms[WARROOMS] / ms[BARE], 3),
        "fast_ms": round(fast_ms[WARROOMS], 2),
        "fast_bare_ms": round(fast_ms[BARE], 2),
        "fast_ratio": round(fast_ms[WARROOMS] / fast_ms[BARE], 3),
        "fast_per_s": {name: round(median(speed for _, speed in found)) for name, found in fast.items()},
        "all_ms": paced,
        "all_fast_ms": {name: [one for one, _ in found] for name, found in fast.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--backlog", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for workers in (1, 3):
        report(what="commands", rates=REAL_RATES, **commands(workers, options.jobs))
    report(what="cpu", **cpu(options.jobs, options.backlog, options.rounds))


if __name__ == "__main__":
    main()
