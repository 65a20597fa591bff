"""Celery + pyrate-limiter: both rates in one `RedisBucket`, taken both or neither in one script; it blocks by itself.

It reads the clock of the worker's machine. An urgent job is read first, but only when a thread is free, and then
competes with all the sleeping ones.
"""

from __future__ import annotations

import functools
import os
import threading
from typing import TYPE_CHECKING, Any, Final

import redis
from pyrate_limiter import Duration, Limiter, Rate, RedisBucket

from bench.contenders.contender import Contender
from bench.contenders.on_celery import QUEUES, TASK, call, make_app, send, worker_of
from bench.contenders.war_room import limits_of_account

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTENDER: Final = Contender(
    name="celery_pyrate_limiter",
    what="Celery + pyrate-limiter RedisBucket, waiting in the task",
    cannot="an order among those that wait; one clock for all machines",
    urgent=QUEUES,
    packages=("celery", "kombu", "redis", "httpx", "pyrate-limiter"),
    worker=worker_of("celery_pyrate_limiter"),
)
app = make_app("celery_pyrate_limiter")
_ONCE: Final = threading.Lock()


@app.task(name="open", **TASK)  # type: ignore[untyped-decorator]
def open_war_room(self: Any, incident_id: str) -> None:  # noqa: ANN401
    _limiter().try_acquire("war-rooms")
    call(self, incident_id)


def enqueue(incident_ids: Iterable[str], *, urgent: bool) -> None:
    send(open_war_room, incident_ids, urgent=urgent)


def _limiter() -> Limiter:
    with _ONCE:  # two limiters in one process would each start a thread that clears the bucket
        return _made()


@functools.cache
def _made() -> Limiter:
    account = limits_of_account()
    rates = [Rate(account.per_second, Duration.SECOND), Rate(account.per_minute, Duration.MINUTE)]
    return Limiter(RedisBucket.init(rates, redis.Redis.from_url(os.environ["REDIS_URL"]), "war-rooms"))
