"""The worker's thread that follows orders: what it wakes, and by whose clock."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from sandbox.processes import until
from worker.gate import Gate
from worker.nap import Nap
from worker.rate_limit import plan_of
from worker.steering import Steering
from worker.token_bucket import TokenBucket

if TYPE_CHECKING:
    from worker.redis_store import RedisStore

PLAN = plan_of("50/second;1000/minute")


class CountedNap(Nap):
    """Counts how often it was woken."""

    wakes = 0

    def wake(self) -> None:
        self.wakes += 1


class Worker:
    """What of a worker steering knows, with one account."""

    def __init__(self, store: RedisStore) -> None:
        self.bucket = TokenBucket(store, "acme", PLAN)
        self.nap = CountedNap(threading.Event())
        desks = {"acme": SimpleNamespace(bucket=self.bucket, nap=self.nap)}
        runtime = SimpleNamespace(store=store, desks=desks, gate=Gate(), stopping=threading.Event())
        self.steering = Steering(cast("Any", runtime))


@pytest.fixture
def worker(store: RedisStore) -> Worker:
    return Worker(store)


@pytest.mark.parametrize("skew_s", [-600.0, 0.0, 600.0])
def test_an_order_ends_by_the_clock_of_redis(worker: Worker, monkeypatch: pytest.MonkeyPatch, skew_s: float) -> None:
    real = time.time
    monkeypatch.setattr("worker.steering.time.time", lambda: real() + skew_s)
    worker.bucket.set_rates("1/hour", "ann", for_s=0.3)
    worker.steering.look()
    assert worker.nap.wakes == 1

    def woken() -> bool:
        worker.steering.look()
        return worker.nap.wakes == 2

    until(woken, "whoever waits for a slot of an hour to be woken when the order ends")


def test_an_order_after_all_was_lost_is_followed(worker: Worker, store: RedisStore) -> None:
    worker.bucket.hold("ann")
    worker.steering.look()
    store.client.flushdb()
    worker.bucket.hold("bob")
    worker.steering.look()
    assert worker.nap.wakes == 2


def test_without_an_order_nothing_is_asked_of_the_bucket(worker: Worker, store: RedisStore) -> None:
    worker.steering.look()
    before = store.client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"]
    worker.steering.look()
    assert store.client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"] == before
