"""Celery + throttled-py: two GCRA limiters in Redis, one for each rate; a job that must wait blocks in its thread.

A `Throttled` holds one rate, so the two are taken one after the other, not both or neither. GCRA, as it is the one of
its algorithms that says how large a burst may be: the default, as large as the rate, would let 2,000 calls through in
the first minute. An urgent job is read first, but only when a thread is free, and then competes with all the waiting
ones.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any, Final

from throttled import RateLimiterType, Throttled, per_min, per_sec
from throttled.store import RedisStore

from bench.contenders.contender import Contender
from bench.contenders.on_celery import QUEUES, TASK, call, make_app, send, worker_of
from bench.contenders.war_room import limits_of_account

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTENDER: Final = Contender(
    name="celery_throttled",
    what="Celery + throttled-py (GCRA), waiting in the task",
    cannot="both rates in one step; an order among those that wait",
    urgent=QUEUES,
    packages=("celery", "kombu", "redis", "httpx", "throttled-py"),
    worker=worker_of("celery_throttled"),
)
LONGEST_S: Final = 3600.0
BURST: Final = 10
"""It looks every 0.2 s at the most often: with less than that at once it would fall behind its own rate."""

app = make_app("celery_throttled")


@app.task(name="open", **TASK)  # type: ignore[untyped-decorator]
def open_war_room(self: Any, incident_id: str) -> None:  # noqa: ANN401
    for limiter in _limiters():
        limiter.limit()
    call(self, incident_id)


def enqueue(incident_ids: Iterable[str], *, urgent: bool) -> None:
    send(open_war_room, incident_ids, urgent=urgent)


@functools.cache
def _limiters() -> tuple[Throttled, ...]:
    """The minute first: it is what is scarce, and what comes through it hardly ever waits for the second."""
    account = limits_of_account()
    store = RedisStore(server=os.environ["REDIS_URL"])
    quotas = {
        "minute": per_min(account.per_minute, burst=BURST),
        "second": per_sec(account.per_second, burst=BURST),
    }
    gcra = RateLimiterType.GCRA.value
    return tuple(
        Throttled(key=f"war-rooms-{name}", using=gcra, quota=quota, store=store, timeout=LONGEST_S)
        for name, quota in quotas.items()
    )
