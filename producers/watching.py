"""Watching jobs get done: samples in, speed, time left and lines of text out. Pure; the clock is in the samples."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from producers.console import about, duration, iso, number
from producers.crew import START

if TYPE_CHECKING:
    from collections.abc import Sequence

    from producers.halts import Halt

WINDOW_S: Final = 10.0
"""The speed is measured over the last so many seconds."""

SHORTEST_S: Final = 1.0
"""Over less than this no speed is measured."""

SETTLED_S: Final = 60.0
"""After so long a flow without an obstacle its speed is believed, however slow, and measured over as long."""

FEW_JOBS: Final = 10
"""Before that, what fewer finished jobs say about the speed is chance."""

STALLED_S: Final = 15.0
"""Queued jobs that nobody takes for so long (and three slots) mean that probably no worker runs."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The watched jobs at one moment.

    Args:
        at_s: the moment, in seconds of any clock that only goes forward.
        queued: jobs that wait for a worker.
        opening: jobs a worker is at.
        retrying: jobs that wait for their next attempt.
        opened: jobs that opened a room.
        found: jobs whose room was there already.
        failed: dead letters.
        cancelled: jobs that were taken back.
        line: all unfinished jobs of the accounts, other people's too: they share the speed.
        ends_in_s: when the last watched job should have its room, by its place in line and the limits; None if nobody
            knows.
        rate_per_s: the speed the accounts keep in steady flow, in calls per second.
        allowed_per_s: what the API allows them, in calls per second.
        pause_s: what is left of a pause, after a 429 or until the next probe, in seconds.
        paused: why, in words; of the account whose pause is the longest.
        passing: whether limits are in force that end by themselves: what is measured now says little of later.
        held: whether that is until a person resumes it.
        halts: the accounts that are down or suspended.
        alive: workers that live; None if nobody looked.
    """

    at_s: float
    queued: int = 0
    opening: int = 0
    retrying: int = 0
    opened: int = 0
    found: int = 0
    failed: int = 0
    cancelled: int = 0
    line: int = 0
    ends_in_s: float | None = None
    rate_per_s: float = 1.0
    allowed_per_s: float = 1.0
    pause_s: float = 0.0
    paused: str = ""
    passing: bool = False
    held: bool = False
    halts: tuple[Halt, ...] = ()
    alive: int | None = None

    @property
    def waiting(self) -> int:
        """Jobs that are not finished."""
        return self.queued + self.opening + self.retrying

    @property
    def finished(self) -> int:
        """Jobs to which nothing more will happen."""
        return self.opened + self.found + self.failed + self.cancelled


@dataclass(frozen=True, slots=True)
class View:
    """What a person wants to know now; counts are those of the watch, `sample` has the raw ones."""

    sample: Sample
    total: int
    done: int
    opened: int
    found: int
    failed: int
    cancelled: int
    speed_per_s: float | None
    left_s: float | None
    stalled_s: float | None

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to watch."""
        return self.sample.waiting == 0

    def as_json(self, at_s: float) -> dict[str, object]:
        """The view for machines; `at_s` is the time in seconds since the epoch."""
        now = self.sample
        return {
            "at": iso(at_s),
            "total": self.total,
            "done": self.done,
            "opened": self.opened,
            "found": self.found,
            "failed": self.failed,
            "cancelled": self.cancelled,
            "queued": now.queued,
            "opening": now.opening,
            "retrying": now.retrying,
            "speed_per_minute": None if self.speed_per_s is None else round(self.speed_per_s * 60, 1),
            "limit_per_minute": round(now.allowed_per_s * 60, 1),
            "left_s": None if self.left_s is None else round(self.left_s, 1),
            "done_by": iso(at_s + self.left_s) if self.left_s else None,
            "pause_s": None if now.held else round(now.pause_s, 1),
            "paused": now.paused or None,
            "halts": [halt.as_json() for halt in now.halts],
            "workers_alive": now.alive,
            "stalled_s": None if self.stalled_s is None else round(self.stalled_s, 1),
            "finished": self.finished,
        }


class Watch:
    """Remembers the last samples.

    Args:
        since: counts finished jobs from this sample on; None counts all (a batch has its own counts).
    """

    def __init__(self, since: Sample | None = None) -> None:
        self._since = since or Sample(0.0)
        self._recent: deque[Sample] = deque()
        self._moved_at_s: float | None = None
        self._flows_since_s = 0.0

    def see(self, sample: Sample) -> View:
        """Takes the next sample and says what it means."""
        before = self._recent[-1] if self._recent else None
        if before is None or _moved(before, sample):
            self._moved_at_s = sample.at_s
        if before is None or _obstructed(sample) or _otherwise(before, sample):
            self._flows_since_s = sample.at_s
        self._recent.append(sample)
        while sample.at_s - self._recent[0].at_s > SETTLED_S:
            self._recent.popleft()
        since = self._since
        # A dead letter that is replayed leaves its count: no difference goes below zero.
        opened, found = max(0, sample.opened - since.opened), max(0, sample.found - since.found)
        failed, cancelled = max(0, sample.failed - since.failed), max(0, sample.cancelled - since.cancelled)
        done = opened + found + failed + cancelled
        return View(
            sample=sample,
            total=done + sample.waiting,
            done=done,
            opened=opened,
            found=found,
            failed=failed,
            cancelled=cancelled,
            speed_per_s=speed(self._last(WINDOW_S)),
            left_s=time_left_s(sample, self._believed_per_s(sample)),
            stalled_s=self._stalled_s(sample),
        )

    def _last(self, seconds: float) -> list[Sample]:
        return [each for each in self._recent if self._recent[-1].at_s - each.at_s <= seconds]

    def _believed_per_s(self, sample: Sample) -> float | None:
        """The measured speed if it tells how it will go on; None if not, as right after a start."""
        flows_s = sample.at_s - self._flows_since_s
        if flows_s >= SETTLED_S:
            return speed(self._last(SETTLED_S))
        lately = self._last(WINDOW_S)
        speed_per_s = speed(lately)
        few = sample.finished - lately[0].finished < FEW_JOBS
        if speed_per_s is None or flows_s < WINDOW_S or few or speed_per_s < sample.rate_per_s / 2:
            return None
        return speed_per_s

    def _stalled_s(self, sample: Sample) -> float | None:
        in_hands = sample.opening and sample.alive != 0  # nobody works on what a dead worker holds
        if not sample.queued or in_hands or sample.pause_s > 0 or self._moved_at_s is None:
            return None
        idle_s = sample.at_s - self._moved_at_s
        return idle_s if idle_s >= max(STALLED_S, 3 / sample.rate_per_s) else None


def _obstructed(sample: Sample) -> bool:
    """Whether something keeps the jobs from being called that will pass: what is measured now says nothing of later."""
    return sample.alive == 0 or sample.pause_s > 0 or bool(sample.halts)


def _otherwise(before: Sample, now: Sample) -> bool:
    """Whether it flows at other limits now, or nobody looked for a while."""
    return before.rate_per_s != now.rate_per_s or now.at_s - before.at_s > WINDOW_S


def _moved(before: Sample, now: Sample) -> bool:
    return (before.finished, before.line, before.opening, before.retrying, before.pause_s > 0) != (
        now.finished,
        now.line,
        now.opening,
        now.retrying,
        now.pause_s > 0,
    )


def speed(samples: Sequence[Sample]) -> float | None:
    """Finished jobs per second between the first and the last sample; None if they are too close to tell."""
    if not samples or samples[-1].at_s - samples[0].at_s < SHORTEST_S:
        return None
    first, last = samples[0], samples[-1]
    return max(0.0, (last.finished - first.finished) / (last.at_s - first.at_s))


def time_left_s(sample: Sample, speed_per_s: float | None) -> float | None:
    """When the last watched job should be finished, in seconds from the sample; None if nobody can say.

    By the measured speed where there is one; else by the forecast: the place in line and the limits.
    """
    if not sample.waiting:
        return 0.0
    if sample.halts or sample.alive == 0:
        return None
    if speed_per_s and not sample.pause_s and not sample.passing:
        return sample.waiting / speed_per_s
    return sample.ends_in_s


def per_minute(rate_per_s: float) -> str:
    """A speed in the unit of the API's limits: `992/min`; slow ones by the hour."""
    if 0 < rate_per_s < 1 / 60:
        return f"{rate_per_s * 3600:.3g}/h"
    return f"{number(round(rate_per_s * 60))}/min"


def line(view: View) -> str:
    """The view in one line of text."""
    now = view.sample
    parts = [f"{number(view.done)} of {number(view.total)} done"]
    parts += [f"{number(count)} {name}" for name, count in _asides(view) if count]
    if not view.finished:
        if view.speed_per_s is not None:
            parts.append(f"{per_minute(view.speed_per_s)} of {per_minute(now.allowed_per_s)}")
        parts += [] if view.left_s is None else [f"{about(view.left_s)} left"]
        parts += _obstacles(view)
    return ", ".join(parts)


def _obstacles(view: View) -> list[str]:
    """Why jobs that wait go on waiting."""
    now = view.sample
    parts = [halt.short(named=halt.account != "default") for halt in now.halts]
    if now.pause_s > 0 and not now.halts:
        parts.append(now.paused)
    if now.alive == 0:
        parts.append(f"no worker is alive: {START}")
    elif view.stalled_s is not None:
        ask = "is a worker running?" if now.alive is None else f"see the logs of the workers ({now.alive} alive)"
        parts.append(f"no job was taken for {duration(view.stalled_s)}: {ask}")
    return parts


def _asides(view: View) -> Sequence[tuple[str, int]]:
    return (
        ("failed", view.failed),
        ("cancelled", view.cancelled),
        ("opening", view.sample.opening),
        ("retrying", view.sample.retrying),
    )


def result(view: View) -> str:
    """How it ended, in one line of text."""
    if not view.total:
        return "finished: there was no job to wait for"
    named = (("opened", view.opened), ("found", view.found), ("failed", view.failed), ("cancelled", view.cancelled))
    return "finished: " + ", ".join(f"{number(count)} {name}" for name, count in named if count)
