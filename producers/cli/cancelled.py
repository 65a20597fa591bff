"""What became of jobs that were to be cancelled, in words. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from producers.cli.views import outcome_of, room_link
from producers.console import many, number
from worker.jobs import JobState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.records import Record


_WORDS: Final = {JobState.OPENING: "in a worker's hands"}


@dataclass(frozen=True, slots=True)
class Named:
    """A job that was named: its record before, and the state it is in now."""

    record: Record
    state: JobState

    @property
    def cancelled(self) -> bool:
        """Whether this command did it."""
        return self.state is JobState.CANCELLED and not self.record.state.finished

    @property
    def too_late(self) -> bool:
        """Whether there is a room, or will be."""
        return self.state is JobState.OPENING or self.state.has_room

    def as_json(self) -> dict[str, object]:
        """For machines."""
        return {
            "job_id": self.record.job.id,
            "cancelled": self.cancelled,
            "state": self.state.value,
            "state_before": self.record.state.value,
            "outcome_unknown": self.record.look_first,
        }


def named_line(one: Named, *, dry_run: bool) -> str:
    """What became of a job that was named."""
    job_id, before = one.record.job.id, one.record.state
    if one.cancelled:
        unknown = f"; {outcome_of(replace(one.record, state=one.state))}" if one.record.look_first else ""
        verb = "would be cancelled" if dry_run else "cancelled"
        return f"{job_id}: {verb} (it was {_WORDS.get(before, before.value)}){unknown}"
    match one.state:
        case JobState.OPENING:
            what = "is being opened: it cannot be taken back and will be finished"
        case JobState.OPENED | JobState.FOUND:
            what = f"too late, {one.state.value}: {room_link(one.record) if one.record.room else 'its room is there'}"
        case JobState.FAILED:
            what = f"waits for nothing, it failed; give it up with: warrooms failed drop {job_id}"
        case _:
            what = "was cancelled before"
    return f"{job_id}: {what}"


@dataclass(slots=True)
class Cancelled:
    """What became of a batch so far; grows with what is in workers' hands, not with the batch.

    Args:
        batch: its name.
        was: the states in which the cancelled jobs were.
        opening: the jobs that are being called.
        finished: jobs that had ended before, by state.
        shared: cancelled jobs that belonged to other batches too.
        unknown: cancelled jobs whose last call may have opened a room.
        error: what ended it early.
        interrupted: Ctrl-C ended it early.
    """

    batch: str
    was: Counter[JobState] = field(default_factory=Counter)
    opening: set[str] = field(default_factory=set)
    finished: Counter[JobState] = field(default_factory=Counter)
    shared: int = 0
    unknown: int = 0
    error: str | None = None
    interrupted: bool = False

    @property
    def total(self) -> int:
        """Jobs that this command cancelled."""
        return self.was.total()

    def add(self, record: Record, state: JobState | None) -> None:
        """Counts a job: as it was, and as it is now."""
        if state is JobState.OPENING:
            self.opening.add(record.job.id)
            return
        self.opening.discard(record.job.id)
        if state is JobState.CANCELLED and not record.state.finished:
            self.was[record.state] += 1
            self.shared += len(record.batches) > 1
            self.unknown += record.look_first
        elif state is not None:
            self.finished[state] += 1

    def as_json(self, *, dry_run: bool) -> dict[str, object]:
        """For machines."""
        return {
            "batch": self.batch,
            "dry_run": dry_run,
            "cancelled": self.total,
            "cancelled_from": _by_name(self.was),
            "opening": len(self.opening),
            "finished_before": _by_name(self.finished),
            "in_other_batches_too": self.shared,
            "outcome_unknown": self.unknown,
            "error": self.error or ("stopped" if self.interrupted else None),
        }


def batch_lines(done: Cancelled, *, dry_run: bool) -> list[str]:
    """What became of a batch, in sum."""
    if done.error or done.interrupted:
        lines = [f"batch {done.batch}: {many(done.total, 'job')} known to be cancelled so far"]
    elif done.total:
        verb = "dry run: would cancel" if dry_run else "cancelled"
        nothing = "; nothing was changed" if dry_run else ""
        lines = [f"batch {done.batch}: {verb} {many(done.total, 'job')} ({_states(done.was)}){nothing}"]
    else:
        lines = [f"batch {done.batch}: no job of it waits, nothing to cancel"]
    if done.opening:
        them = "it cannot be taken back" if len(done.opening) == 1 else "they cannot be taken back"
        lines.append(f"{many(len(done.opening), 'call')} to open a room under way: {them} and will be finished")
    if done.finished.total():
        lines.append(f"finished before: {_states(done.finished)}")
    if done.unknown:
        lines.append(
            f"{number(done.unknown)} of the cancelled may have their room already: a call of theirs has no answer"
        )
    if done.shared:
        lines.append(f"{number(done.shared)} of the cancelled belonged to other batches too")
    return lines


def _states(counts: Mapping[JobState, int]) -> str:
    return ", ".join(f"{number(counts[s])} {_WORDS.get(s, s.value)}" for s in JobState if counts.get(s, 0))


def _by_name(counts: Mapping[JobState, int]) -> dict[str, int]:
    return {state.value: counts[state] for state in JobState if counts.get(state, 0)}
