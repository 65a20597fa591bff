"""`limit pause`, `resume` and `set` on three saturated workers: how soon all of them obey, whether a call is refused.

The sandbox enforces 50/second and 1,000/minute. Times count from before the order is given, so the order is in them.

python -m bench.steering [--model sliding-log ...] [--rounds 3]
"""

from __future__ import annotations

import argparse
import time
from itertools import combinations
from typing import TYPE_CHECKING, Any

from bench.common import REAL_RATES, jobs, queue_of, report, start_workers
from bench.safety import MODELS
from sandbox.stack import Stack, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.token_bucket import TokenBucket

SLOW = "300/minute"
LOOK_S = 2.5
BY = "bench"


def times(stack: Stack, first: int) -> list[float]:
    """When calls arrived from the number `first` on, in seconds."""
    return [arrival[0] for arrival in stack.arrivals()][first:]


def since(stack: Stack, order: Callable[[], object]) -> tuple[int, float]:
    """Gives the order; how many calls had arrived before it, and when the last of them."""
    before = stack.arrivals()
    order()
    return len(before), before[-1][0]


def pause(stack: Stack, bucket: TokenBucket) -> float:
    """How long after the order the last call arrived, in seconds."""
    number, at = since(stack, lambda: bucket.hold(BY))
    time.sleep(LOOK_S)
    return max((one - at for one in times(stack, number)), default=0.0)


def resume(stack: Stack, bucket: TokenBucket) -> float:
    """How long after the order the first call arrived, in seconds."""
    number = stack.stats()["arrivals"]
    began = time.monotonic()
    bucket.resume()
    until(lambda: stack.stats()["arrivals"] > number, "the first call after the pause")
    return time.monotonic() - began


def slower(stack: Stack, bucket: TokenBucket) -> float:
    """How long after the order more slots last followed each other than the new limit gives, in seconds."""
    seconds, micros = stack.redis.time()
    at = seconds + micros / 1e6
    bucket.set_rates(SLOW, BY)
    time.sleep(LOOK_S)
    (limit,) = bucket.peek().plan.limits
    slots = [int(one) / 1e6 for one in stack.redis.lrange("warrooms:{default}:calls", 0, -1)]
    after = [slot for slot in slots if slot > at]
    most = [(one, limit.burst + (two - one) / (limit.interval_us / 1e6)) for one, two in combinations(after, 2)]
    many = [last - first + 1 for first, last in combinations(range(len(after)), 2)]
    return max(
        (one - at for (one, allowed), count in zip(most, many, strict=True) if count > allowed + 1e-3), default=0.0
    )


def faster(stack: Stack, bucket: TokenBucket) -> float:
    """How long after the order the calls followed each other as fast as the account may, in seconds."""
    number, at = since(stack, bucket.unset_rates)
    time.sleep(LOOK_S)
    came = times(stack, number)
    interval_s = bucket.plan.interval_us / 1e6
    return next((came[n] - at for n in range(len(came) - 5) if came[n + 5] - came[n] < 8 * interval_s), LOOK_S)


def run(model: str, rounds: int) -> dict[str, Any]:
    api = ("--model", model, "--rates", REAL_RATES, "--latency", "uniform:0:1", "--seed", "4")
    took: dict[str, list[float]] = {name: [] for name in ("pause", "resume", "slower", "faster")}
    with Stack(api) as stack, queue_of(stack) as queue:
        queue.enqueue_many(jobs(5000))
        bucket = queue.bucket("default")
        start_workers(stack, 3)
        time.sleep(5)
        for _ in range(rounds):
            for order in (pause, resume, slower, faster):
                took[order.__name__].append(order(stack, bucket))
                time.sleep(1)
        stats, kept = stack.stats(), bucket.history()
    return {
        "model": model,
        **{f"{name}_s": [round(one, 3) for one in each] for name, each in took.items()},
        "worst_s": round(max(max(each) for each in took.values()), 3),
        "arrivals": stats["arrivals"],
        "refusals": stats["refusals"],
        "second_rooms": stats["duplicates"],
        "history": {"calls": kept.calls, "second": kept.second.calls, "minute": kept.minute.calls},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", choices=MODELS)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    for model in options.model or MODELS:
        report(**run(model, options.rounds))


if __name__ == "__main__":
    main()
