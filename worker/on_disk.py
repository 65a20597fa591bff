"""Whether what a producer wrote is on Redis' disk: with fsync every second, it is not when Redis says OK.

Not by WAITAOF: Redis 7.4 and Valkey 9.1 answer it before the disk has it (redis/redis#13793). A fsync that begins each
second, and none under way more than a second later, say the same, and on every version.
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
        self._server = self._info()["run_id"]

    def wait(self) -> bool | None:
        """Waits until everything written since then is on Redis' disk: a second or so.

        Returns:
            Whether it is; None if that cannot be told (no append-only file, or one that is not synced by Redis).

        Raises:
            QueueUnavailable: Redis does not answer, or was restarted meanwhile: what was written may be lost.
        """
        info, policy = self._info(), self._policy()
        if policy == "everysec":
            info = self._after_a_fsync()
        if info["run_id"] != self._server:
            where = self._store.place
            raise QueueUnavailable(f"Redis at {where} was restarted meanwhile; what was written last may be lost")
        return None if policy == "no" else _all_synced(info)

    def _after_a_fsync(self) -> dict[str, Any]:
        self._sleep(FSYNC_S)
        info = self._info()
        for _ in range(MOST_LOOKS):
            if _all_synced(info):
                break
            self._sleep(LOOK_EVERY_S)
            info = self._info()
        return info

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


def _all_synced(info: dict[str, Any]) -> bool:
    return not info["aof_pending_bio_fsync"] and info["aof_last_write_status"] == "ok"
