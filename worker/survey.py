"""An account's state in Redis as readings, so that many accounts cost one round trip. It changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from worker.jobs import Lane
from worker.ledger_fields import progress_of
from worker.messages import queue_name
from worker.reading import Reading
from worker.records import Standing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.records import Progress
    from worker.redis_store import RedisStore

NEXT: Final = 20
"""Jobs in line at which `oldest` looks."""


class Survey:
    """The readings of one account.

    Args:
        store: for its script; readings are asked wherever they are handed to.
        account: its name.
    """

    def __init__(self, store: RedisStore, account: str) -> None:
        self._account = account
        self._base = f"warrooms:{{{account}}}"
        self._oldest = store.script("oldest")

    def progress(self) -> Reading[Progress]:
        """Jobs by state."""
        return Reading(lambda pipe: pipe.hgetall(f"{self._base}:account"), lambda replies: progress_of(replies[0]))

    def dead_letters(self) -> Reading[int]:
        """How many there are."""
        return Reading(lambda pipe: pipe.zcard(f"{self._base}:failed"), lambda replies: int(replies[0]))

    def workers(self) -> Reading[dict[str, float]]:
        """The workers that were heard in the last hour: seconds since each one's last heartbeat."""

        def ask(pipe: Any) -> None:  # noqa: ANN401
            pipe.time()
            pipe.zrange(f"{self._base}:workers", 0, -1, withscores=True)

        def read(replies: list[Any]) -> dict[str, float]:
            (seconds, micros), beats = replies
            return {str(name): max(0.0, seconds + micros / 1e6 - beat_ms / 1000) for name, beat_ms in beats}

        return Reading(ask, read)

    def oldest(self) -> Reading[dict[Lane, float]]:
        """By lane, how long ago the oldest of the next jobs in line was enqueued first, in seconds; 0 if none waits."""

        def ask(pipe: Any) -> None:  # noqa: ANN401
            pipe.time()
            for lane in Lane:
                self._oldest.later(pipe, [f"{self._base}:line:{lane}", f"{self._base}:job:"], [NEXT])

        def read(replies: list[Any]) -> dict[Lane, float]:
            (seconds, micros), *created = replies
            now_s = seconds + micros / 1e6
            return {lane: max(0.0, now_s - ms / 1000) if ms else 0.0 for lane, ms in zip(Lane, created, strict=True)}

        return Reading(ask, read)

    def last_ranks(self, batch: Mapping[str, str]) -> Reading[dict[Lane, int]]:
        """By lane, how many jobs stand in front of a batch's last one in line; lanes where none can be are left out.

        At least so many: turns that were given and not used (the job was cancelled) count as if they were.

        Args:
            batch: its hash in the ledger.
        """
        last = {lane: max(int(batch.get(f"{lane}.{which}", 0)) for which in ("turn", "joined")) for lane in Lane}

        def ask(pipe: Any) -> None:  # noqa: ANN401
            for lane, turn in last.items():
                pipe.zcount(f"{self._base}:line:{lane}", "-inf", turn)

        return Reading(ask, lambda counts: {lane: many - 1 for lane, many in zip(last, counts, strict=True) if many})

    def standing(self) -> Reading[Standing]:
        """Who stands in the account's lines."""

        def ask(pipe: Any) -> None:  # noqa: ANN401
            for line in ("line:urgent", "line:bulk", "retries"):
                pipe.zcard(f"{self._base}:{line}")
            for lane in (Lane.URGENT, Lane.BULK):
                pipe.llen(queue_name(self._account, lane))
            pipe.hmget(f"{self._base}:account", "took", "urgent.idle", "bulk.idle")
            pipe.hlen(f"{self._base}:claims")
            pipe.zrange(f"{self._base}:retries", -1, -1, withscores=True)
            pipe.time()

        return Reading(ask, _standing)


def _standing(replies: list[Any]) -> Standing:
    urgent, bulk, retrying, urgent_messages, bulk_messages, watched, opening, last_retry, (seconds, micros) = replies
    took_ms, urgent_idle, bulk_idle = (None if value is None else int(value) for value in watched)
    return Standing(
        urgent,
        bulk,
        retrying,
        None if took_ms is None else took_ms / 1000,
        unread_urgent=max(0, urgent_messages - urgent - (urgent_idle or 0)),
        unread_bulk=max(0, bulk_messages - bulk - (bulk_idle or 0)),
        opening=opening,
        last_retry_s=max(0.0, last_retry[0][1] / 1000 - seconds - micros / 1e6) if last_retry else 0.0,
    )
