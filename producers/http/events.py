"""Webhook events into Redis: each once, however often it comes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    from producers.queue import JobQueue
    from producers.receipt import Receipt
    from worker.jobs import WarRoomJob

REMEMBERED_S: Final = 24 * 3600
"""How long an event is known, in seconds; Flashduty sends one again within seconds, if at all."""

_NO_JOB: Final = "1"
"""The mark of an earlier version, which named no job; it is gone after a day."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event that asks for a room, and the job that opens it."""

    event_id: str
    job: WarRoomJob

    def __str__(self) -> str:
        return f"{self.event_id} (job {self.job.id})"

    @property
    def place(self) -> str:
        """Where it is remembered: its id may be any text, so only the digest stands in Redis."""
        digest = hashlib.sha256(self.event_id.encode("utf-8", "surrogatepass")).hexdigest()
        return f"warrooms:{{{self.job.account}}}:event:{digest[:32]}"


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event is in Redis.

    Args:
        receipt: of its job; None if the event was there before.
        job_id: the job that the event made when it was new; None if that is not known.
    """

    receipt: Receipt | None
    job_id: str | None


def recorder(queue: JobQueue) -> Callable[[Event], Recorded]:
    """What records events; it raises QueueUnavailable if Redis does not answer."""

    def record(event: Event) -> Recorded:
        client = queue.store.client
        known = cast("str | None", queue.store.held(lambda: client.get(event.place)))
        if known is not None:
            return Recorded(None, None if known == _NO_JOB else known)
        receipt = queue.enqueue(event.job)
        # Marked only now: an event that is marked first, and whose process dies, would never open its room. Two copies
        # at once find the same job. The mark keeps a late copy from queueing a job anew that failed or was cancelled.
        queue.store.held(lambda: client.set(event.place, event.job.id, nx=True, ex=REMEMBERED_S))
        return Recorded(receipt, event.job.id)

    return record
