"""Whether what a producer wrote is on Redis' disk: with fsync every second, it is not when Redis says OK.

Not by WAITAOF: Redis 7.4 and Valkey 9.1 answer it before the disk has it (redis/redis#13793). A fsync that begins each
second, and none under way more than a second later, say the same, and on every version.

Where Sentinels name the primary, its disk is not enough: when it dies another one takes its place, with what it had by
then. So everything must be at each replica, too, that was there when it was written. Nor by WAIT, which asks for what
one connection wrote; the offsets that INFO tells are good for all of them.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, cast

import redis

from worker.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.redis_store import RedisStore

FSYNC_S: Final = 1.2
"""By then a fsync has begun, whenever the last one was: Redis looks every tenth of a second."""

LOOK_EVERY_S: Final = 0.1
MOST_LOOKS: Final = 40
"""A disk that takes longer is told to people."""


class OnDisk:
    """Made before something is written; `wait` then tells whether it is on disk.

    Args:
        store: the Redis that is written to.
        sleep: waits so many seconds.

    Raises:
        QueueUnavailable: Redis does not answer or refuses.
    """

    def __init__(self, store: RedisStore, sleep: Callable[[float], object] = time.sleep) -> None:
        self._store = store
        self._sleep = sleep
        info = self._info()
        self._server = info["run_id"]
        self._replicas = set(_replicas(info)) if store.sentinels else set()

    def wait(self) -> bool | None:
        """Waits until everything written since then is on Redis' disk, with Sentinels also at its replicas: a second.

        Returns:
            Whether it is; None if that cannot be told (no append-only file, or one that is not synced by Redis).

        Raises:
            QueueUnavailable: Redis does not answer, or was restarted meanwhile: what was written may be lost.
        """
        info, policy = self._info(), self._policy()
        written = info.get("master_repl_offset", 0)
        if policy == "everysec":
            self._sleep(FSYNC_S)
            info = self._look_until(_all_synced)
        if self._replicas:
            info = self._look_until(lambda info: self._replicated(info, written))
        if info["run_id"] != self._server:
            where = self._store.place
            raise QueueUnavailable(f"Redis at {where} was restarted meanwhile; what was written last may be lost")
        return None if policy == "no" else _all_synced(info) and self._replicated(info, written)

    def _look_until(self, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        info = self._info()
        for _ in range(MOST_LOOKS):
            if true(info):
                break
            self._sleep(LOOK_EVERY_S)
            info = self._info()
        return info

    def _replicated(self, info: dict[str, Any], written: int) -> bool:
        has = _replicas(info)
        return all(has.get(replica, -1) >= written for replica in self._replicas)

    def _info(self) -> dict[str, Any]:
        with self._store.errors():
            return self._store.client.info()

    def _policy(self) -> str:
        """The setting `appendfsync`; `no` if there is no append-only file."""
        if not self._info().get("aof_enabled"):
            return "no"
        try:
            with self._store.errors():
                told = cast("dict[str, str]", self._store.client.config_get("appendfsync"))
        except QueueUnavailable as error:
            if isinstance(error.__context__, redis.ConnectionError | redis.TimeoutError):
                raise
            return "everysec"  # Redis' own default; managed services forbid to ask
        return told.get("appendfsync", "everysec")


def _replicas(info: dict[str, Any]) -> dict[tuple[str, int], int]:
    """How far each replica is that follows."""
    told = (info[f"slave{number}"] for number in range(info.get("connected_slaves", 0)) if f"slave{number}" in info)
    return {(one["ip"], one["port"]): one["offset"] for one in told if one["state"] == "online"}


def _all_synced(info: dict[str, Any]) -> bool:
    return not info["aof_pending_bio_fsync"] and info["aof_last_write_status"] == "ok"
