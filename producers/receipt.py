"""The answer to an enqueue, and what many answers add up to. Values only: a dry run imports no Celery for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class Status(StrEnum):
    """What an enqueue found."""

    QUEUED = "queued"
    ALREADY_QUEUED = "already queued"
    ALREADY_OPENING = "already opening"
    ALREADY_OPEN = "already open"


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to an enqueue.

    Args:
        job_id: the job's id; the same incident and integration always have the same.
        status: queued, or what was there already.
        position: jobs that go before it, in both lanes, 0 means it is next; None if it does not wait in line.
        starts_at: when its call is expected to go out; None if it does not wait in line, or nobody knows (the account
            is suspended, the API down, or no worker alive).
        done_by: when its room is expected to be there, if its first call succeeds; None likewise.
        chat_id: the room's id, if there is one already.
        share_link: the link to the room, if there is one already and its IM gives links.
    """

    job_id: str
    status: Status
    position: int | None = None
    starts_at: datetime | None = None
    done_by: datetime | None = None
    chat_id: str = ""
    share_link: str = ""


@dataclass(slots=True)
class Tally:
    """What `enqueue_many` did.

    Args:
        batch: the name under which the jobs' progress is counted.
        by_status: receipts by status.
        last_starts_at: when the last of them is expected to start.
        done_by: when the last of their rooms is expected to be there.
        on_disk: whether Redis has written them to disk; None if this Redis cannot tell.
    """

    batch: str | None = None
    by_status: dict[Status, int] = field(default_factory=lambda: dict.fromkeys(Status, 0))
    last_starts_at: datetime | None = None
    done_by: datetime | None = None
    on_disk: bool | None = None

    @property
    def total(self) -> int:
        """All jobs that were handed in."""
        return sum(self.by_status.values())

    def add(self, receipt: Receipt) -> None:
        """Counts one receipt."""
        self.by_status[receipt.status] += 1
        if receipt.starts_at is not None:
            self.last_starts_at = max(receipt.starts_at, self.last_starts_at or receipt.starts_at)
        if receipt.done_by is not None:
            self.done_by = max(receipt.done_by, self.done_by or receipt.done_by)
