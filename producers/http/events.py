"""Webhook events into Redis: each once, however often it comes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from producers.queue import JobQueue
    from producers.receipt import Receipt
    from worker.jobs import WarRoomJob

REMEMBERED_S: Final = 24 * 3600
"""How long an event is known, in seconds; Flashduty sends one again within seconds, if at all."""


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
    """An event is in Redis; `receipt` is None if it was there before."""

    receipt: Receipt | None


def recorder(queue: JobQueue) -> Callable[[Event], Recorded]:
    """What records events; it raises QueueUnavailable if Redis does not answer."""

    def record(event: Event) -> Recorded:
        client = queue.store.client
        if queue.store.held(lambda: client.exists(event.place)):
            return Recorded(None)
        receipt = queue.enqueue(event.job)
        # Marked only now: an event that is marked first, and whose process dies, would never open its room. Two copies
        # at once find the same job. The mark keeps a late copy from queueing a job anew that failed or was cancelled.
        queue.store.held(lambda: client.set(event.place, "1", nx=True, ex=REMEMBERED_S))
        return Recorded(receipt)

    return record
