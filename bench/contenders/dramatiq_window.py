"""dramatiq's `WindowRateLimiter` on Redis, one for each rate; a job that must wait is retried with backoff.

Its windows are made of whole seconds of the worker's clock. The two are taken one after the other, not both or neither;
the second first, since what is taken from it in vain is back at once. Waiting is a failure that is retried, so retries
must be without number, and a job that waits is held in a worker's memory until it is due.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.rate_limits import WindowRateLimiter
from dramatiq.rate_limits.backends import RedisBackend

from bench.contenders.contender import Contender
from bench.contenders.war_room import CONCURRENCY, Refused, limits_of_account, open_room

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTENDER: Final = Contender(
    name="dramatiq_window",
    what="dramatiq WindowRateLimiter",
    cannot="both rates in one step; parts of a second; an order among those that wait",
    urgent="a queue of its own and a higher priority in the worker",
    packages=("dramatiq", "redis", "httpx"),
    worker=("dramatiq", "bench.contenders.dramatiq_window", "--processes", "1", "--threads", str(CONCURRENCY)),
)
URL: Final = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
ACCOUNT: Final = limits_of_account()
BULK_PRIORITY: Final = 10
# Backoff doubles, so that thousands that wait do not ask every second; not beyond 8 s, or the limit goes unused.
WAITING: Final[dict[str, Any]] = {"max_retries": None, "min_backoff": 500, "max_backoff": 8_000}

# What a dead worker held is looked for in one of a hundred commands, not of a thousand: as often as Celery is told to.
broker = RedisBroker(url=URL, maintenance_chance=10_000)
dramatiq.set_broker(broker)
windows = RedisBackend(url=URL)
per_second = WindowRateLimiter(windows, "war-rooms-second", limit=ACCOUNT.per_second, window=1)
per_minute = WindowRateLimiter(windows, "war-rooms-minute", limit=ACCOUNT.per_minute, window=60)


@dramatiq.actor(queue_name="bulk", priority=BULK_PRIORITY, **WAITING)  # type: ignore[untyped-decorator]
def open_war_room(incident_id: str) -> None:
    _open(incident_id)


@dramatiq.actor(queue_name="urgent", priority=0, **WAITING | {"min_backoff": 100, "max_backoff": 1_000})  # type: ignore[untyped-decorator]
def open_urgent_war_room(incident_id: str) -> None:
    _open(incident_id)


def enqueue(incident_ids: Iterable[str], *, urgent: bool) -> None:
    actor = open_urgent_war_room if urgent else open_war_room
    for incident_id in incident_ids:
        actor.send(incident_id)


def _open(incident_id: str) -> None:
    with per_second.acquire(), per_minute.acquire():
        try:
            open_room(incident_id)
        except Refused as refused:
            raise dramatiq.Retry(delay=round(refused.pause_s * 1000)) from refused
