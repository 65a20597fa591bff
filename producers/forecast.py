"""When a job's turn comes: from its place in line, the other lane, the retries, and the bucket. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from worker.jobs import Lane
from worker.rate_limit import SECOND_US
from worker.token_bucket import URGENT_IN_A_ROW

if TYPE_CHECKING:
    from worker.rate_limit import Plan
    from worker.records import Standing
    from worker.token_bucket import BucketLevel

RETRIES_WITHIN_S: Final = 60.0
"""Retries come back within a minute, evenly (retry_policy.CAP_S); those that are due before a job's turn go first."""

CALLS_OF_A_RETRY: Final = 2
"""It looks before it creates, as a rule."""

USUAL_S: Final = 1.0
"""What an attempt takes as long as nobody knows."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What an account's lines and bucket were at a moment, and what follows from it.

    Args:
        plan: the account's limits.
        level: its bucket.
        standing: its lines.
        at: the moment.
        halted: whether the account is down or suspended, or has no worker: then nobody knows when.
    """

    plan: Plan
    level: BucketLevel
    standing: Standing
    at: datetime
    halted: bool = False

    def in_front(self, lane: Lane, rank: int) -> int:
        """Jobs whose calls go out before that of the job which has `rank` others of its lane in front."""
        standing = self.standing
        if lane is Lane.URGENT:
            return rank + min(standing.bulk, rank // URGENT_IN_A_ROW)
        return rank + min(standing.urgent, URGENT_IN_A_ROW * (rank + 1))

    def starts_at(self, lane: Lane, rank: int) -> datetime | None:
        """When its call goes out; None if nobody knows."""
        return None if self.halted else self.at + timedelta(seconds=self._starts_in_s(lane, rank))

    def done_by(self, lane: Lane, rank: int) -> datetime | None:
        """When its room is there, if its first call succeeds; None if nobody knows."""
        starts_at = self.starts_at(lane, rank)
        return None if starts_at is None else starts_at + timedelta(seconds=self.took_s)

    @property
    def took_s(self) -> float:
        """How long an attempt takes lately, in seconds."""
        return USUAL_S if self.standing.took_s is None else self.standing.took_s

    def empty_in_s(self) -> float | None:
        """How long until every job that waits has had its call; None if nobody knows."""
        standing = self.standing
        calls = standing.urgent + standing.bulk + CALLS_OF_A_RETRY * standing.retrying
        if self.halted:
            return None
        return self._slot_in_s(calls) + self.took_s if calls else 0.0

    def _starts_in_s(self, lane: Lane, rank: int) -> float:
        front = self.in_front(lane, rank)
        without_s = self._slot_in_s(front + 1)
        sooner = self.standing.retrying * min(1.0, without_s / RETRIES_WITHIN_S)
        return self._slot_in_s(front + 1 + round(CALLS_OF_A_RETRY * sooner))

    def _slot_in_s(self, number: int) -> float:
        """How long until the bucket has handed out so many slots from now on, in seconds."""
        pause_us = self.level.lines.pause_s * SECOND_US
        waits = [0.0]
        for limit, tokens in zip(self.plan.limits, self.level.tokens, strict=True):
            ready = min(float(limit.burst), tokens + pause_us / limit.interval_us)  # it fills during a pause
            waits.append(max(0.0, number - ready) * limit.interval_us)
        return (pause_us + max(waits)) / SECOND_US


def now() -> datetime:
    """This moment, with its zone."""
    return datetime.now(UTC)
