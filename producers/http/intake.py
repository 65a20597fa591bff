"""Jobs into the queue as long as their account's backlog has room for them; else an honest "later".

Live incidents have a bound of their own: a backlog of bulk jobs, however long, refuses no urgent one.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from producers.console import many, number
from producers.receipt import Status
from worker.jobs import JobState, Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from producers.queue import JobQueue
    from producers.receipt import Receipt
    from worker.jobs import WarRoomJob

LOOK_EVERY_S: Final = 1.0
"""How old the count of waiting jobs may be, in seconds; what this process adds meanwhile is counted along."""

ANEW: Final = frozenset({JobState.FAILED, JobState.CANCELLED})
"""Jobs that an enqueue queues anew."""

LONGEST_WAIT_S: Final = 300
"""The longest Retry-After, in seconds: somebody may make room by cancelling."""


@dataclass(frozen=True, slots=True)
class Full:
    """The account's backlog has no room for this job now.

    Args:
        account: its name.
        waiting: jobs that wait for it, in the lane that is full.
        most: the bound.
        retry_after_s: when there should be room, in seconds.
    """

    account: str
    waiting: int
    most: int
    retry_after_s: int

    def sentence(self) -> str:
        """Why, and what to do."""
        return (
            f"account {self.account} has {many(self.waiting, 'waiting job')}, and takes new ones below "
            f"{number(self.most)} (WARROOMS_MAX_BACKLOG); nothing was queued, ask again in {self.retry_after_s} s"
        )


@dataclass(slots=True)
class _Level:
    at_s: float
    urgent: int
    waiting: int


class Intake:
    """The door in front of the queue. Thread-safe enough: two threads at once may let a chunk too many in.

    Args:
        queue: where the jobs go.
        most: waiting jobs per account.
        clock: seconds that only go forward.
    """

    def __init__(self, queue: JobQueue, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._queue = queue
        self._most = most
        self._clock = clock
        self._levels: dict[str, _Level] = {}

    def take(self, jobs: Sequence[WarRoomJob], batch: str | None = None) -> list[Receipt | Full]:
        """Queues at most a chunk of jobs, those of them for which there is room; an answer each, in their order.

        Raises:
            QueueUnavailable: Redis does not answer or refuses; handing the same jobs in again does no harm.
        """
        full = [self._full(job) for job in jobs]
        there = self._already_there([job for job, none in zip(jobs, full, strict=True) if none is not None])
        full = [None if job.id in there else none for job, none in zip(jobs, full, strict=True)]
        taken = [job for job, none in zip(jobs, full, strict=True) if none is None]
        receipts = self._queue.enqueue_chunk(taken, batch) if taken else []
        for job, receipt in zip(taken, receipts, strict=True):
            if receipt.status is not Status.QUEUED and job.id not in there:
                self._add(job, -1)  # it was counted as a new one
        answers = iter(receipts)
        return [none or next(answers) for none in full]

    def _already_there(self, jobs: Sequence[WarRoomJob]) -> set[str]:
        """Those of them that a backlog without room has, or had: they make it no longer."""
        ids: dict[str, list[str]] = {}
        for job in jobs:
            ids.setdefault(job.account, []).append(job.id)
        records = (record for account, mine in ids.items() for record in self._queue.ledger(account).records(mine))
        return {one.job.id for one in records if one is not None and one.state not in ANEW}

    def _full(self, job: WarRoomJob) -> Full | None:
        level = self._level(job.account)
        urgent = job.lane is Lane.URGENT
        waiting = level.urgent if urgent else level.waiting
        if waiting >= self._most:
            return Full(job.account, waiting, self._most, self._retry_after_s(job.account, waiting))
        self._add(job, 1)
        return None

    def _add(self, job: WarRoomJob, count: int) -> None:
        level = self._level(job.account)
        level.waiting += count
        level.urgent += count * (job.lane is Lane.URGENT)

    def _level(self, account: str) -> _Level:
        now_s, known = self._clock(), self._levels.get(account)
        if known is None or now_s - known.at_s >= LOOK_EVERY_S:
            progress = self._queue.ledger(account).progress()
            known = self._levels[account] = _Level(now_s, max(0, progress.queued_urgent), max(0, progress.waiting))
        return known

    def _retry_after_s(self, account: str, waiting: int) -> int:
        rate_per_s = self._queue.accounts[account].plan.rate_per_s
        return max(1, min(LONGEST_WAIT_S, math.ceil((waiting - self._most + 1) / rate_per_s)))
