"""Which commands workers and producers send, and on which keys.

They are rehearsed between MULTI and DISCARD: there Redis checks permission, memory, disk and role of each command as
always, and executes none. So the real keys can be named, and nothing is left behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

KEYS: Final = ("warrooms*", "_kombu*", "unacked*", "*.celery.pidbox*", "celeryev*")
"""The keys that we and Celery make, as patterns."""

OUTSIDE: Final = ("WATCH unacked", "UNWATCH")
"""What is refused between MULTI and DISCARD; they change nothing by themselves."""

PER_ACCOUNT: Final = """
HSET {job} f v
HSETNX {job} f v
HGET {job} f
HMGET {job} f
HGETALL {job}
HVALS {job}
HLEN {job}
HDEL {job} f
HINCRBY {account} f 1
EXISTS {job}
DEL {job}
PERSIST {job}
PEXPIRE {job} 1
ZADD {retries} 1 m
ZREM {retries} m
ZPOPMIN {retries}
ZRANGE {retries} 0 1
ZSCORE {retries} m
ZCARD {retries}
ZRANK {retries} m
ZCOUNT {retries} -inf 1
ZRANGE {retries} 0 1 BYSCORE LIMIT 0 1 WITHSCORES
ZREVRANGE {retries} 0 1
ZRANGEBYSCORE {retries} -inf 1 LIMIT 0 1
ZREMRANGEBYSCORE {retries} -inf 0
SET {nudged} v NX PX 1
GET {nudged}
EVAL return(1) 1 {job}
EVALSHA 0000000000000000000000000000000000000000 1 {job}
HKEYS {job}
LPUSH {bulk} m
LLEN {bulk}
BRPOP {urgent} {bulk} 1
RPUSH {calls} 1
LRANGE {calls} 0 1
LPOP {calls} 1
LREM {calls} -1 1
"""
"""What the ledger's and the bucket's scripts and their adapters send, and what Celery sends to the account's queues."""

SHARED: Final = """
PING
TIME
INFO
SCRIPT LOAD return(1)
SCRIPT EXISTS 0000000000000000000000000000000000000000
HSET unacked f v
HGET unacked f
HDEL unacked f
ZADD unacked_index 1 m
ZREM unacked_index m
ZRANGE unacked_index 1 0 BYSCORE REV LIMIT 0 1 WITHSCORES
GET warrooms:idempotency:doctor
SET warrooms:idempotency:doctor v NX EX 1
GET warrooms:orders
SET warrooms:orders v EX 1
GET unacked_mutex
SET unacked_mutex v NX PX 1
LPUSH warrooms:refused m
LTRIM warrooms:refused 0 99
LRANGE warrooms:refused 0 0
EXPIRE warrooms:refused 1
SADD _kombu.binding.celery.pidbox m
SREM _kombu.binding.celery.pidbox m
SMEMBERS _kombu.binding.celery.pidbox
ZADD _kombu.binding_deadlines GT 1 m
PEXPIRE warrooms@doctor.celery.pidbox 1
DEL warrooms@doctor.celery.pidbox
PEXPIRE celeryev.doctor 1
LPUSH doctor.reply.celery.pidbox m
PUBLISH /{database}.celeryev/worker.heartbeat m
PSUBSCRIBE /{database}.celery.pidbox
PUNSUBSCRIBE /{database}.celery.pidbox
"""
"""What the web process, Celery's transport and its remote control send."""


def needs(accounts: Iterable[str], database: int) -> list[str]:
    """Every command that must be permitted, one line of words each; OUTSIDE and MULTI, EXEC and DISCARD apart.

    Args:
        accounts: their names.
        database: the number of the Redis database, which is part of Celery's channels.
    """
    lines = [line.format(database=database) for line in SHARED.split("\n") if line]
    for name in accounts:
        base = f"warrooms:{{{name}}}"
        names = {key: f"{base}:{key}" for key in ("account", "retries", "nudged", "calls")}
        names |= {"job": f"{base}:job:doctor", "bulk": f"warrooms.{name}", "urgent": f"warrooms.{name}.urgent"}
        lines += [line.format(**names) for line in PER_ACCOUNT.split("\n") if line]
    return lines
