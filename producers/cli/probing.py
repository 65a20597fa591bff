"""Asks a Redis what `producers.checkup` judges. Changes nothing but keys of its own, which it deletes again."""

from __future__ import annotations

import time
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from redis.client import NEVER_DECODE

from producers.checkup import memory, needs, permissions, persistence, sentinels, server
from producers.checkup.facts import DIRECTIVES, Server
from producers.cli.trial import Trial, permitted, rehearse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import redis

    from producers.checkup.finding import Finding
    from worker.redis_store import RedisStore

PINGS: Final = 5
MOST_KEYS: Final = 10_000
SCAN_STEP: Final = 1000


def look(store: RedisStore, accounts: Iterable[str], now: Callable[[], float] = time.time) -> list[Finding]:
    """Everything that can be said about the Redis of a store, for the accounts named.

    Raises:
        QueueUnavailable: Redis does not answer, or not to us.
    """
    with store.errors():
        it = _server(store.client)
        if still := server.loading(it):
            return [still]
        trip_s = median(_round_trip_s(store.client) for _ in range(PINGS))
        general = [server.reached(store.place, trip_s), server.version(it), server.role(it), server.cluster(it)]
        if server.mode(it) in {"sentinel", "cluster"}:
            return general
        if store.sentinels is not None:
            general.append(sentinels.watched(it, store.sentinels.told()))
        return general + _look_inside(store.client, it, accounts, now)


def _look_inside(client: redis.Redis, it: Server, accounts: Iterable[str], now: Callable[[], float]) -> list[Finding]:
    user = str(permitted(client.acl_whoami) or "USER")
    database = int(client.get_connection_kwargs().get("db") or 0)
    refusals = rehearse(client, needs.needs(accounts, database), needs.OUTSIDE)
    trial = Trial.of(client) if not refusals else Trial()
    writing = permissions.writing(refusals, trial.failure)
    return [
        *persistence.persistence(it),
        memory.eviction(it),
        memory.memory(it),
        permissions.permissions(refusals, user),
        *([writing] if writing else []),
        server.clock(*_skew_s(client, now)),
        server.clients(it),
        server.database(_sample(client)),
    ]


def _server(client: redis.Redis) -> Server:
    info: Any = permitted(client.info)
    config = permitted(lambda: {name: value for one in DIRECTIVES for name, value in _config(client, one).items()})
    return Server(info or {}, config)


def _config(client: redis.Redis, name: str) -> dict[str, str]:
    found: Any = client.config_get(name)
    return {str(key): str(value) for key, value in found.items()}


def _round_trip_s(client: redis.Redis) -> float:
    before = time.perf_counter()
    client.ping()
    return time.perf_counter() - before


def _skew_s(client: redis.Redis, now: Callable[[], float]) -> tuple[float | None, float]:
    before = now()
    said: Any = permitted(client.time)
    after = now()
    if said is None:
        return None, 0.0
    return said[0] + said[1] / 1e6 - (before + after) / 2, after - before


def _sample(client: redis.Redis) -> server.Sample | None:
    names: set[str] = set()  # SCAN may say a name twice
    ask: Any = client.execute_command
    cursor = 0
    while len(names) < MOST_KEYS:
        # As bytes: a name of another program need not be text.
        step: Any = permitted(partial(ask, "SCAN", cursor, "COUNT", SCAN_STEP, **{NEVER_DECODE: []}))
        if step is None:
            return None
        cursor, found = int(step[0]), step[1]
        names.update(name.decode(errors="backslashreplace") for name in found)
        if cursor == 0:
            return server.Sample(sorted(names), len(names))
    total: Any = permitted(client.dbsize)
    return server.Sample(sorted(names), total or len(names))
