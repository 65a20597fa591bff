"""Tries what workers and producers do: every command without executing it, and one job's way for real."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import redis

from producers.checkup.permissions import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

WAIT_MS: Final = 4000
"""How long a test write may take to the disk: everysec needs a second, a busy disk more; below the socket's timeout."""
SCRATCH_MS: Final = 60_000

SCRIPT: Final = """
redis.call('HSET', KEYS[1], 'state', 'queued')
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return {redis.call('TIME')[1], #redis.call('INFO', 'server')}
"""


def permitted(ask: Callable[[], T]) -> T | None:
    """What Redis says; None if it refuses to."""
    try:
        return ask()
    except redis.ResponseError:
        return None


def rehearse(client: redis.Redis, lines: Sequence[str], outside: Sequence[str] = ()) -> list[Refusal]:
    """What Redis would refuse of these commands; it executes none of them.

    Args:
        client: the Redis to ask.
        lines: a command each, as words.
        outside: the same, for what a MULTI does not take: these are executed.
    """
    pool = client.connection_pool
    connection: Any = pool.get_connection()
    try:
        refusals = _said_no(connection, outside)
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
    """

    failure: str = ""

    @classmethod
    def of(cls, client: redis.Redis) -> Trial:
        """Tries it, and deletes what it made."""
        record = f"warrooms:doctor:{secrets.token_hex(8)}"
        queue = f"{record}:queue"
        try:
            failure = _tried(client, record, queue)
        except redis.ResponseError as error:
            return cls(str(error))
        finally:
            permitted(lambda: client.delete(record, queue))
        return cls(failure)


def _tried(client: redis.Redis, record: str, queue: str) -> str:
    client.register_script(SCRIPT)(keys=[record], args=[SCRATCH_MS])
    with client.pipeline() as both:
        both.lpush(queue, "message")
        both.pexpire(queue, SCRATCH_MS)
        both.execute()
    popped = client.brpop([queue], timeout=1)
    return "" if popped else "the message that was queued did not come back"
