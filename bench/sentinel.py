"""A failover under load, found out by Sentinels: three workers at the limits, a producer that goes on.

The primary is killed (`kill`), or a person orders another one (`order`: SENTINEL FAILOVER; `hand-over`: the same with
COORDINATED, which Valkey 9 knows). Or it is frozen and wakes as soon as another one has taken its place (`freeze`), so
that both answer for some seconds. Or it is cut off from the Sentinels and its replicas, but not from one of the workers
(`cut`): then both go on, for as long as that lasts, unless it insists on a replica (not with `--min-replicas 0`). But
for that, none of these may be: a second room, a refusal, a job that is gone although its producer was told that it is
kept. `missing` are those that were taken, and whose producer was told no more than that.

python -m bench.sentinel [--how kill ...] [--model fixed ...] [--rounds 1] [--rates …] [--min-replicas 0]
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.common import AOF, BATCH, REAL_RATES, drain, job, jobs, outcome, report, start_workers
from bench.safety import MODELS
from bench.valkey_crash import Producer
from producers.queue import JobQueue
from sandbox.sentinels import Sentinels
from sandbox.stack import INTEGRATION_ID, Stack, until
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

BACKLOG = 500
BEFORE_S = 12.0
AFTER_S = 15.0
EVERY_S = 0.1
MAX_LAG_S = 2
DOWN_AFTER_MS = {"cut": 5000}
"""Longer than a primary goes on without its replicas: MAX_LAG_S, and a second until it sees that."""

WINDOW_S = 65.0
"""Until the event lies outside the longest window."""


def kill(watched: Sentinels) -> None:
    watched.primary.kill()


def order(watched: Sentinels) -> None:
    watched.failover()


def hand_over(watched: Sentinels) -> None:
    watched.failover("COORDINATED")


def freeze(watched: Sentinels) -> None:
    """Calls that wait for its answer, five seconds at most, get it from one whose time is over."""
    old = watched.primary
    old.freeze()
    until(lambda: watched.primary is not old, "another primary")
    old.thaw()


def cut(watched: Sentinels) -> None:
    watched.proxy.freeze(new_too=True)


EVENTS = {"cut": cut, "kill": kill, "order": order, "hand-over": hand_over, "freeze": freeze}


def run(how: str, model: str, rates: str, min_replicas: int) -> dict[str, Any]:
    api = ("--model", model, "--rates", rates, "--latency", "uniform:0:1", "--seed", "11")
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="warrooms-")))
        watched = opened.enter_context(_sentinels(how, folder))
        watched.configure("min-replicas-max-lag", str(MAX_LAG_S))
        watched.configure("min-replicas-to-write", str(min_replicas))
        stack = opened.enter_context(Stack(api, {"WARROOMS_RATES": rates}, redis_url=watched.primary.url))
        stack.worker_redis_url = watched.url
        queue = JobQueue(Settings(redis_url=watched.url, integration_id=INTEGRATION_ID, rates=rates))
        opened.callback(queue.close)
        queue.enqueue_many(jobs(BACKLOG), batch=BATCH)
        start_workers(stack, 2)
        if how == "cut":
            stack.worker_redis_url = watched.primary.url  # this one sees nobody else
        stack.start_worker(wait=False)
        producer = Producer(queue, EVERY_S)
        with _handing_in(producer):
            time.sleep(BEFORE_S)
            old, before = watched.primary, int(stack.stats()["arrivals"])
            began = time.monotonic()
            EVENTS[how](watched)
            until(lambda: watched.primary is not old, "another primary")
            another_s = round(time.monotonic() - began, 1)
            time.sleep(AFTER_S)
        if how == "cut":
            stack.workers[-1].kill()
            watched.proxy.thaw()
        missing = producer.missing()
        numbers = [*producer.taken, *producer.refused]
        queue.enqueue_many([*jobs(BACKLOG), *map(job, numbers)], batch=BATCH)  # as whoever was told would
        progress = drain(queue.ledger("default"))
        time.sleep(max(0.0, began + WINDOW_S - time.monotonic()))
        facts, stats = outcome(stack, progress, BACKLOG + len(numbers)), stack.stats()
        arrivals = [float(arrival[0]) for arrival in stack.arrivals()]
        old.start()
        until(watched.synced, "the old primary to follow", within_s=60)
    return {
        "how": how,
        "model": model,
        "rates": rates,
        "min_replicas_to_write": min_replicas,
        "another_primary_s": another_s,
        **_pause(arrivals, before),
        "worst_1s": stats["worst_1s"],
        "worst_60s": stats["worst_60s"],
        "acknowledged": len(producer.taken),
        "said_to_be_kept": len(producer.on_disk),
        "refused_to_producer": len(producer.refused),
        "missing": len(missing),
        "missing_though_kept": len(producer.on_disk & set(missing)),
        **facts,
    }


def _sentinels(how: str, folder: Path) -> Sentinels:
    return Sentinels(
        folder,
        replicas=2,
        password="",
        sentinel_password="",
        down_after_ms=DOWN_AFTER_MS.get(how, 1500),
        through_proxy=how == "cut",
        **AOF,
    )


@contextmanager
def _handing_in(producer: Producer) -> Iterator[None]:
    threads = [threading.Thread(target=hands_in) for hands_in in (producer.singles, producer.batches)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        producer.stop.set()
        for thread in threads:
            thread.join()


def _pause(arrivals: list[float], before: int) -> dict[str, float]:
    """The longest time without a call after the event, and when the next came."""
    event = arrivals[before - 1]
    soon = [at for at in arrivals[before - 1 :] if at < event + AFTER_S]
    longest_s, end = max((later - earlier, later) for earlier, later in pairwise(soon))
    return {"without_calls_s": round(longest_s, 1), "calls_again_s": round(end - event, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--how", action="append", choices=tuple(EVENTS))
    parser.add_argument("--model", action="append", choices=MODELS)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--rates", default=REAL_RATES)
    parser.add_argument("--min-replicas", type=int, default=1)
    options = parser.parse_args()
    for _ in range(options.rounds):
        for how in options.how or EVENTS:
            for model in options.model or (MODELS if how == "kill" else ("sliding-log",)):
                report(**run(how, model, options.rates, options.min_replicas))


if __name__ == "__main__":
    main()
