"""Penalty, worker kill, Valkey kill -9, power failure, failover, one by one, against each way a server may count.

The limits have the shape of the real ones, with a window of 10 s instead of a minute. No call may be refused, except
that a penalty is one refusal by itself, and calls on their way then come into its pause.

python -m bench.safety [--model fixed ...] [--between-s 6]
"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import redis

from bench.common import AOF, BATCH, jobs, queue_of, report, start_workers
from sandbox.proxy import HOST
from sandbox.stack import Stack, Valkey, until

if TYPE_CHECKING:
    from collections.abc import Callable

MODELS = ("fixed", "sliding-log", "sliding-counter", "token-bucket", "gcra")
RATES = "60/second;200/10second"
PAUSE_S = 3
AWAY_S = 1.0


def penalty(stack: Stack, _replica: Valkey) -> None:
    stack.fault(kind="limit-pause", retry_after_s=PAUSE_S, calls=1)
    time.sleep(PAUSE_S)


def kill_worker(stack: Stack, _replica: Valkey) -> None:
    next(worker for worker in stack.workers if worker.alive).kill()
    stack.start_worker(wait=False)


def kill_valkey(stack: Stack, _replica: Valkey) -> None:
    stack.valkey.kill()
    time.sleep(AWAY_S)
    stack.valkey.start()


def power_failure(stack: Stack, _replica: Valkey) -> None:
    stack.valkey.lose_power()
    time.sleep(AWAY_S)
    stack.valkey.start()


def failover(stack: Stack, replica: Valkey) -> None:
    """The replica follows by itself after a restart of the master; here the master dies and the replica takes over."""
    with redis.Redis.from_url(replica.url, decode_responses=True) as client:
        client.replicaof(HOST, str(stack.valkey.port))
        until(lambda: client.info("replication").get("master_link_status") == "up", "the replica")
        time.sleep(2)
        stack.valkey.kill()
        time.sleep(AWAY_S)
        client.replicaof("NO", "ONE")
    stack.proxy.redirect(HOST, replica.port)


EVENTS: tuple[Callable[[Stack, Valkey], None], ...] = (penalty, kill_worker, kill_valkey, power_failure, failover)


def run(model: str, between_s: float) -> dict[str, Any]:
    api = ("--model", model, "--rates", RATES, "--latency", "uniform:0:1", "--seed", "10")
    with ExitStack() as opened:
        stack = opened.enter_context(Stack(api, {"WARROOMS_RATES": RATES}, valkey=AOF, through_proxy=True))
        replica = opened.enter_context(Valkey(stack.folder / "replica"))
        queue = opened.enter_context(queue_of(stack, RATES))
        queue.enqueue_many(jobs(5000), batch=BATCH)
        start_workers(stack, 2)
        time.sleep(between_s)
        refusals = {"before": stack.stats()["refusals"]}
        for event in EVENTS:
            before = stack.stats()
            event(stack, replica)
            until(lambda: stack.stats()["arrivals"] > before["arrivals"], event.__name__, within_s=120)  # noqa: B023
            time.sleep(between_s)
            refusals[event.__name__] = stack.stats()["refusals"] - before["refusals"]
        after = stack.stats()["arrivals"]
        until(lambda: stack.stats()["arrivals"] > after, "calls after the last event", within_s=120)
        stats = stack.stats()
    return {
        "model": model,
        "arrivals": stats["arrivals"],
        "refusals": stats["refusals"],
        "refusals_after": refusals,
        "arrivals_in_pause": stats["arrivals_in_pause"],
        "worst_1s": stats["worst_1s"],
        "second_rooms": stats["duplicates"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", action="append", choices=MODELS)
    parser.add_argument("--between-s", type=float, default=6)
    options = parser.parse_args()
    for model in options.model or MODELS:
        report(**run(model, options.between_s))


if __name__ == "__main__":
    main()
