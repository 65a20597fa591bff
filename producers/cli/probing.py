"""Asks a Redis what `producers.checkup` judges. Changes nothing but keys of its own, which it deletes again."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any, Final, TypeVar

import redis
from redis.client import NEVER_DECODE

from producers.checkup import memory, permissions, persistence, server
from producers.checkup.facts import DIRECTIVES, Server
from producers.checkup.permissions import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from producers.checkup.finding import Finding
    from worker.redis_store import RedisStore

T = TypeVar("T")

PINGS: Final = 5
MOST_KEYS: Final = 10_000
SCAN_STEP: Final = 1000
WAIT_MS: Final = 2000
"""How long a test write may take to the disk; everysec needs one second at most, and a busy disk another."""
SCRATCH_MS: Final = 60_000

SCRIPT: Final = """
redis.call('HSET', KEYS[1], 'state', 'queued')
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return {redis.call('TIME')[1], #redis.call('INFO', 'server')}
"""


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
        return general + _look_inside(store.client, it, accounts, now)


def _look_inside(client: redis.Redis, it: Server, accounts: Iterable[str], now: Callable[[], float]) -> list[Finding]:
    user = str(_permitted(client.acl_whoami) or "USER")
    database = int(client.get_connection_kwargs().get("db") or 0)
    refusals = rehearse(client, permissions.needs(accounts, database))
    trial = Trial.of(client, on_disk=bool(it.number("aof_enabled"))) if not refusals else Trial()
    writing = permissions.writing(refusals, trial.failure)
    return [
        *persistence.persistence(it, trial.on_disk_s),
        memory.eviction(it),
        memory.memory(it),
        permissions.permissions(refusals, user),
        *([writing] if writing else []),
        server.clock(*_skew_s(client, now)),
        server.clients(it),
        server.database(_sample(client)),
    ]


def _server(client: redis.Redis) -> Server:
    info: Any = _permitted(client.info)
    config = _permitted(lambda: {name: value for one in DIRECTIVES for name, value in _config(client, one).items()})
    return Server(info or {}, config)


def _config(client: redis.Redis, name: str) -> dict[str, str]:
    found: Any = client.config_get(name)
    return {str(key): str(value) for key, value in found.items()}


def _permitted(ask: Callable[[], T]) -> T | None:
    """What Redis says; None if it refuses to."""
    try:
        return ask()
    except redis.ResponseError:
        return None


def _round_trip_s(client: redis.Redis) -> float:
    before = time.perf_counter()
    client.ping()
    return time.perf_counter() - before


def _skew_s(client: redis.Redis, now: Callable[[], float]) -> tuple[float | None, float]:
    before = now()
    said: Any = _permitted(client.time)
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
        step: Any = _permitted(partial(ask, "SCAN", cursor, "COUNT", SCAN_STEP, **{NEVER_DECODE: []}))
        if step is None:
            return None
        cursor, found = int(step[0]), step[1]
        names.update(name.decode(errors="backslashreplace") for name in found)
        if cursor == 0:
            return server.Sample(sorted(names), len(names))
    total: Any = _permitted(client.dbsize)
    return server.Sample(sorted(names), total or len(names))


def rehearse(client: redis.Redis, lines: Sequence[str]) -> list[Refusal]:
    """What Redis would refuse of these commands; it executes none of them.

    Args:
        client: the Redis to ask.
        lines: a command each, as words.
    """
    pool = client.connection_pool
    connection: Any = pool.get_connection()
    try:
        refusals = _said_no(connection, permissions.OUTSIDE)
        if not_opened := _said_no(connection, ["MULTI"]):  # without it the rest would be executed
            return refusals + not_opened
        refusals += _said_no(connection, lines)
        _said_no(connection, ["DISCARD"])
        return refusals
    finally:
        connection.disconnect()  # whatever happened, a transaction without EXEC ends here
        pool.release(connection)


def _said_no(connection: Any, lines: Sequence[str]) -> list[Refusal]:  # noqa: ANN401 - redis-py has several classes
    # All at once, and without a health check: one that connects anew would leave the MULTI behind.
    connection.send_packed_command(connection.pack_commands([line.split() for line in lines]), check_health=False)
    refusals = []
    for line in lines:
        try:
            connection.read_response()
        except redis.ResponseError as error:
            permission = isinstance(error, redis.exceptions.NoPermissionError)
            refusals.append(Refusal(line, str(error), permission))
    return refusals


@dataclass(frozen=True, slots=True)
class Trial:
    """A job's way through Redis, tried for real on keys of its own.

    Args:
        failure: why it failed; empty if it did not.
        on_disk_s: after how many seconds a write was on disk; None if that was not asked, or did not happen.
    """

    failure: str = ""
    on_disk_s: float | None = None

    @classmethod
    def of(cls, client: redis.Redis, *, on_disk: bool) -> Trial:
        """Tries it, and deletes what it made.

        Args:
            client: the Redis to try.
            on_disk: whether to wait until a write is on disk.
        """
        record = f"warrooms:doctor:{secrets.token_hex(8)}"
        queue = f"{record}:queue"
        try:
            failure = _tried(client, record, queue)
            waited_s = _on_disk_s(client, record) if on_disk and not failure else None
        except redis.ResponseError as error:
            return cls(str(error))
        finally:
            _permitted(lambda: client.delete(record, queue))
        return cls(failure, waited_s)


def _tried(client: redis.Redis, record: str, queue: str) -> str:
    client.register_script(SCRIPT)(keys=[record], args=[SCRATCH_MS])
    with client.pipeline() as both:
        both.lpush(queue, "message")
        both.pexpire(queue, SCRATCH_MS)
        both.execute()
    popped = client.brpop([queue], timeout=1)
    return "" if popped else "the message that was queued did not come back"


def _on_disk_s(client: redis.Redis, record: str) -> float | None:
    own: Any = client.client  # WAITAOF speaks of its own connection's writes
    with own() as one:
        before = time.perf_counter()
        one.set(f"{record}:queue", "", px=SCRATCH_MS)
        said: Any = _permitted(lambda: one.waitaof(1, 0, WAIT_MS))
        return time.perf_counter() - before if said and said[0] else None
