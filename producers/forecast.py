"""When a job's turn comes: from its place in line, the other lane, the retries, and the bucket. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from worker.jobs import JobState, Lane
from worker.rate_limit import SECOND_US
from worker.token_bucket import URGENT_IN_A_ROW

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.rate_limit import Plan
    from worker.records import Progress, Standing
    from worker.token_bucket import BucketLevel

CALLS_OF_A_RETRY: Final = 2
"""It looks before it creates, as a rule."""

USUAL_S: Final = 1.0
"""What an attempt takes as long as nobody knows."""

NOBODY_KNOWS_S: Final = 100 * 366 * 86_400
"""What lies a century ahead (one call a day, and a long line) is no expectation, and may fit into no date."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What an account's lines and bucket were at a moment, and what follows from it.

    Args:
        level: its bucket, and the limits in force.
        standing: its lines.
        at: the moment.
        halted: whether the account is down or suspended, or has no worker: then nobody knows when.
        later: the limits that hold when those in force end by themselves; None if they do not end.
        later_in_s: when that is, in seconds.
    """

    level: BucketLevel
    standing: Standing
    at: datetime
    halted: bool = False
    later: Plan | None = None
    later_in_s: float = 0.0

    @property
    def plan(self) -> Plan:
        """The limits in force."""
        return self.level.plan

    def at_limits(self, plan: Plan) -> Forecast:
        """The same with other limits for good, whose buckets begin empty."""
        return replace(self, level=replace(self.level, plan=plan, tokens=(0.0,) * len(plan.limits)), later=None)

    def in_front(self, lane: Lane, rank: int) -> int:
        """Jobs whose calls go out before that of the job which has `rank` others of its lane in front."""
        standing = self.standing
        # What other clients sent and no worker has read is one more row, at the most: they take turns with it.
        if lane is Lane.URGENT:
            rank += min(standing.unread_urgent, rank + 1)
            return rank + min(standing.bulk, rank // URGENT_IN_A_ROW)
        rank += min(standing.unread_bulk, rank + 1)
        return rank + min(standing.urgent + standing.unread_urgent, URGENT_IN_A_ROW * (rank + 1))

    def starts_at(self, lane: Lane, rank: int) -> datetime | None:
        """When its call goes out; None if nobody knows."""
        starts_in_s = None if self.halted else _known(self._starts_in_s(lane, rank))
        return None if starts_in_s is None else self.at + timedelta(seconds=starts_in_s)

    def done_by(self, lane: Lane, rank: int) -> datetime | None:
        """When its room is there, if its first call succeeds; None if nobody knows."""
        starts_at = self.starts_at(lane, rank)
        return None if starts_at is None else starts_at + timedelta(seconds=self.took_s)

    @property
    def waiting(self) -> int:
        """Those, and the jobs that wait for another attempt."""
        return self.jobs + self.standing.retrying

    def retried_at(self, due_at: datetime) -> datetime | None:
        """When the call of a job that waits for its next attempt goes out: it comes back in front of its line."""
        slot_in_s = None if self.halted else _known(self._slot_in_s(1))
        return None if slot_in_s is None else max(due_at, self.at + timedelta(seconds=slot_in_s))

    def ends_in_s(self, jobs: Progress, last_ranks: Mapping[Lane, int]) -> float | None:
        """How long until the last of a batch's jobs has its room, in seconds; None if nobody knows.

        Args:
            jobs: the batch's jobs by state.
            last_ranks: by lane, how many jobs stand in front of the last one of them (`Ledger.last_ranks`).
        """
        if jobs.waiting <= 0:
            return 0.0
        if self.halted:
            return None
        ends = [0.0]
        if jobs.states[JobState.QUEUED] > 0:
            ends += [self._starts_in_s(lane, rank) for lane, rank in last_ranks.items()]
        if jobs.states[JobState.RETRYING] > 0:
            ends += [self.standing.last_retry_s, self._slot_in_s(1)]
        return _known(max(ends) + self.took_s)

    @property
    def took_s(self) -> float:
        """How long an attempt takes lately, in seconds."""
        return USUAL_S if self.standing.took_s is None else self.standing.took_s

    def empty_in_s(self) -> float | None:
        """How long until every job has its room, if nothing is added and no attempt fails; None if nobody knows."""
        if self.halted:
            return None
        calls = self.jobs + CALLS_OF_A_RETRY * self.standing.retrying
        if not calls:
            return self.took_s if self.standing.opening else 0.0
        return _known(max(self._slot_in_s(calls), self.standing.last_retry_s) + self.took_s)

    @property
    def jobs(self) -> int:
        """Jobs that wait in line, and messages that nobody has read."""
        standing = self.standing
        return standing.urgent + standing.bulk + standing.unread_urgent + standing.unread_bulk

    def _starts_in_s(self, lane: Lane, rank: int) -> float:
        front = self.in_front(lane, rank)
        without_s = self._slot_in_s(front + 1)
        # Retries that are due before the job's turn go first; they come back evenly until the last one does.
        sooner = self.standing.retrying * min(1.0, without_s / max(self.standing.last_retry_s, without_s, 1e-9))
        return self._slot_in_s(front + 1 + round(CALLS_OF_A_RETRY * sooner))

    def _slot_in_s(self, number: int) -> float:
        """How long until the bucket has handed out so many slots from now on, in seconds."""
        pause_us = self.level.lines.pause_s * SECOND_US
        waits, until_later = [0.0], [float(number)]
        for limit, tokens in zip(self.plan.limits, self.level.tokens, strict=True):
            ready = min(float(limit.burst), tokens + pause_us / limit.interval_us)  # it fills during a pause
            waits.append(max(0.0, number - ready) * limit.interval_us)
            until_later.append(max(0.0, ready) + (self.later_in_s * SECOND_US - pause_us) / limit.interval_us)
        in_s = (pause_us + max(waits)) / SECOND_US
        if self.later is None or in_s <= self.later_in_s:
            return in_s
        rest = number - max(0, int(min(until_later)))  # with the limits, the buckets begin anew, empty
        return max(self.later_in_s, pause_us / SECOND_US) + self.later.drain_s(rest)


def _known(seconds: float) -> float | None:
    return seconds if seconds < NOBODY_KNOWS_S else None


def now() -> datetime:
    """This moment, with its zone."""
    return datetime.now(UTC)
