"""What a job waits for, in words: its line, its account, its last error. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from producers.console import about, duration, iso, many, when
from producers.pausing import pause_s, paused, paused_json
from worker.jobs import JobState, Lane

if TYPE_CHECKING:
    from producers.crew import Crew
    from producers.forecast import Forecast
    from producers.halts import Halt
    from worker.records import Record


@dataclass(frozen=True, slots=True)
class Explanation:
    """One job, and all that bears on when it is done.

    Args:
        record: the job.
        rank: jobs of its lane in front of it; None if it does not wait in line.
        forecast: its account's lines and bucket.
        crew: the workers of its account.
        halt: why its account is not called as usual; None if it is.
        now_s: the time now, in seconds since the epoch.
    """

    record: Record
    rank: int | None
    forecast: Forecast
    crew: Crew
    halt: Halt | None
    now_s: float

    @property
    def in_front(self) -> int | None:
        """Jobs whose calls go before its own."""
        return None if self.rank is None else self.forecast.in_front(self.record.job.lane, self.rank)

    @property
    def starts_at(self) -> datetime | None:
        """When its next call goes out; None if that is no question, or nobody knows."""
        record = self.record
        if self.rank is not None:
            return self.forecast.starts_at(record.job.lane, self.rank)
        if record.state is JobState.RETRYING and record.due_at is not None:
            return self.forecast.retried_at(datetime.fromtimestamp(record.due_at, UTC))
        return None

    @property
    def done_by(self) -> datetime | None:
        """When its room is there, if its next call succeeds."""
        starts_at = self.starts_at
        return None if starts_at is None else starts_at + timedelta(seconds=self.forecast.took_s)

    def sentences(self) -> list[str]:
        """Each cause in a sentence, the nearest first."""
        match self.record.state:
            case JobState.QUEUED:
                return [self._line(), *self._obstacles(), *self._times(), *self._past()]
            case JobState.OPENING:
                return [self._in_hand(), *self._past()]
            case JobState.RETRYING:
                return [*self._past(), self._due(), *self._obstacles(), *self._times()]
            case JobState.FAILED:
                return ["it waits for nothing: it failed for good", *self._past()]
            case JobState.CANCELLED:
                return ["it waits for nothing: it was cancelled; open or bulk queues it anew"]
        return ["it waits for nothing: its room is there"]

    def as_json(self) -> dict[str, object]:
        """For machines."""
        return {
            "job_id": self.record.job.id,
            "state": self.record.state.value,
            "lane": self.record.job.lane.value,
            **self.times_json(),
            "pause_s": pause_s(self.forecast.level),
            "paused": paused_json(self.forecast.level),
            "workers_alive": self.crew.alive,
            "halted": self.halt.as_json() if self.halt else None,
            "waits_for": self.sentences(),
        }

    def times_json(self) -> dict[str, object]:
        """Where it stands and when it is done, for machines; null where that is no question, or nobody knows."""
        starts_at, done_by = self.starts_at, self.done_by
        return {
            "in_front": self.in_front,
            "starts_at": iso(starts_at.timestamp()) if starts_at else None,
            "done_by": iso(done_by.timestamp()) if done_by else None,
        }

    def _line(self) -> str:
        lane = self.record.job.lane
        if not self.in_front:
            return f"it is the next in the {lane} lane"
        others = self.in_front - (self.rank or 0)
        other = "bulk ones that keep their tenth" if lane is Lane.URGENT else "urgent ones"
        mixed = f", {others:,} of them {other}" if others else ""
        turns = "" if lane is Lane.URGENT or not self.rank else "; batches take turns in it"
        return f"it waits for its turn in the {lane} lane: {many(self.in_front, 'job')} in front{mixed}{turns}"

    def _obstacles(self) -> list[str]:
        said = []
        if not self.crew.alive:
            said.append(f"no worker serves its account: {self.crew.text(1)}")
        if self.halt is not None:
            said += [self.halt.sentence(), f"to do: {self.halt.to_do()}"]
        why = paused(self.record.job.account, self.forecast.level, self.now_s)
        if why and (self.halt is None or self.forecast.level.lines.held):
            said.append(f"the account is {why}")
        return said

    def _times(self) -> list[str]:
        if self.starts_at is None or self.done_by is None:
            return []
        plan, retrying = self.forecast.plan, self.forecast.standing.retrying
        counted = f", {retrying:,} that are retried counted in" if retrying else ""
        speed = f"the account may make {round(60 * plan.rate_per_s):,} calls a minute"
        starts, done = (when(max(at.timestamp(), self.now_s), self.now_s) for at in (self.starts_at, self.done_by))
        its_room = f"its room is expected {done}; an attempt takes {about(self.forecast.took_s)}"
        if self.rank is None:
            return [its_room]
        return [f"{speed}: its own is expected {starts}{counted}", its_room]

    def _in_hand(self) -> str:
        record = self.record
        if record.began_at is None:
            return f"worker {record.worker} has it in hand and waits for a slot of the account's limit"
        since = duration(self.now_s - record.began_at)
        return (
            f"worker {record.worker} is calling the API, attempt {record.attempts}, since {since}; "
            f"an attempt takes {about(self.forecast.took_s)}"
        )

    def _due(self) -> str:
        due = when(self.record.due_at, self.now_s) if self.record.due_at else "soon"
        look = "; it looks for its room before it opens one" if self.record.look_first else ""
        return f"the next attempt is due {due}{look}"

    def _past(self) -> list[str]:
        record = self.record
        if not record.message:
            return []
        hint = f"; to do: {record.hint}" if record.hint else ""
        return [f"after {many(record.attempts, 'attempt')}: {record.message}{hint}"]
