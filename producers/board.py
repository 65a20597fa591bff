"""What whoever is on call wants to see, in words and numbers: accounts, batches, dead letters. Pure.

The status page and `warrooms top` draw it; nothing is decided in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from producers.answers import BatchView
from producers.choice import code_of
from producers.console import about, duration, many, number
from producers.outlook import last_of
from producers.pausing import ordered, paused
from producers.plot import Plot
from producers.watching import per_minute
from worker.history import TEN_S
from worker.rate_limit import SECOND_US

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from producers.glance import Glance
    from worker.history import Most
    from worker.rate_limit import Limit
    from worker.records import Progress, Record


class State(StrEnum):
    """How an account is, in a word or two; the first that applies."""

    SUSPENDED = "suspended"
    DOWN = "API down"
    PAUSED = "paused"
    NO_WORKER = "no worker"
    HELD = "held by the API"
    DRAINING = "draining"
    IDLE = "idle"

    @property
    def troubled(self) -> bool:
        """Whether a person should look at it."""
        return self in {State.SUSPENDED, State.DOWN, State.PAUSED, State.NO_WORKER}


@dataclass(frozen=True, slots=True)
class Gauge:
    """One limit in force.

    Args:
        limit: the limit.
        spent: calls in its window up to now; None if it is longer than what is remembered call by call.
        ready: tokens: calls that it lets out at once.
    """

    limit: Limit
    spent: int | None
    ready: int

    @property
    def window(self) -> str:
        """Its window in words: `second`, `minute`, `10 min`."""
        return {1: "second", 60: "minute"}.get(self.limit.window_us // SECOND_US, duration(self.limit.window_us / 1e6))

    @property
    def percent(self) -> int:
        """How much of it is spent, from 0 to 100; one call is seen."""
        spent = self.spent or 0
        return min(100, max(1 if spent else 0, round(100 * spent / self.limit.amount)))

    @property
    def text(self) -> str:
        """Where it stands."""
        ready = many(self.ready, "token")
        if self.spent is None:
            return f"{number(self.limit.amount)} a {self.window}, {ready}"
        return f"{number(self.spent)} of {number(self.limit.amount)} in the last {self.window}, {ready}"


@dataclass(frozen=True, slots=True)
class AccountBoard:
    """One account, made of what was seen of it."""

    seen: Glance

    @property
    def name(self) -> str:
        """Its name."""
        return self.seen.account.name

    @property
    def state(self) -> State:
        """How it is."""
        seen, level = self.seen, self.seen.forecast.level
        if seen.halt is not None:
            return State.SUSPENDED if seen.halt.suspended else State.DOWN
        if level.lines.held:
            return State.PAUSED
        if not seen.crew.alive and (self.waiting or seen.crew.beats):
            return State.NO_WORKER
        if level.lines.pause_s > 0:
            return State.HELD
        return State.DRAINING if self.waiting else State.IDLE

    @property
    def waiting(self) -> int:
        """Jobs without a room that are not given up, and messages that nobody has read."""
        standing = self.seen.forecast.standing
        return self.seen.forecast.waiting + standing.opening

    @property
    def why(self) -> list[tuple[str, str]]:
        """Why it is not called as usual, and what to do: terms and texts; empty if it is."""
        seen = self.seen
        rows = []
        if seen.halt is not None:
            (state, message), *rest = seen.halt.rows(seen.at_s, self.waiting)
            rows += [(state.lower(), message), *rest]
        elif why := paused(seen.account.name, seen.forecast.level, seen.at_s):
            rows.append(("paused", why.removeprefix("paused ")))
        if not seen.crew.alive and self.state is not State.IDLE:
            rows.append(("workers", seen.crew.text(self.waiting)))
        return rows

    @property
    def gauges(self) -> list[Gauge]:
        """The limits in force, the shortest window first."""
        level, spent = self.seen.forecast.level, self.seen.spent
        pairs = zip(level.plan.limits, level.tokens, strict=True)
        return [Gauge(limit, spent.within(limit.window_us), max(0, int(tokens))) for limit, tokens in pairs]

    @property
    def calls_last_minute(self) -> int:
        """Calls that went out in the last minute."""
        return self.seen.spent.within(60 * SECOND_US) or 0

    @property
    def allowed_per_minute(self) -> int:
        """What the limits in force allow in the long run."""
        return round(self.seen.forecast.plan.allowed_per_s * 60)

    @property
    def limits(self) -> str:
        """The limits in force, what we keep of them, and who set them."""
        seen, level = self.seen, self.seen.forecast.level
        order, configured = level.orders.set, seen.account.plan
        whose = f"set {ordered(order, seen.at_s)}; configured are {configured}" if order else "as configured"
        return f"{level.plan}, we keep {per_minute(level.plan.rate_per_s)}; {whose}"

    @property
    def plot(self) -> Plot:
        """The last ten minutes."""
        return Plot(self.seen.history.tens, self.seen.forecast.plan.allowed_per_s * TEN_S)

    @property
    def worst(self) -> tuple[Most, Most]:
        """The worst second and the worst minute of the last day."""
        return self.seen.history.second, self.seen.history.minute

    @property
    def lines(self) -> list[tuple[str, int]]:
        """Who waits where."""
        standing = self.seen.forecast.standing
        return [
            ("urgent", standing.urgent),
            ("bulk", standing.bulk),
            ("unread", standing.unread_urgent + standing.unread_bulk),
            ("opening", standing.opening),
            ("retrying", standing.retrying),
        ]

    @property
    def oldest(self) -> str:
        """How long the oldest job in line waits; empty if none does."""
        oldest_s = self.seen.oldest_s
        return "" if oldest_s is None else duration(oldest_s)

    @property
    def empty_at_s(self) -> float | None:
        """When every job has its room, in seconds since the epoch; None if none waits, or nobody knows."""
        in_s = self.seen.forecast.empty_in_s() if self.waiting else None
        return None if in_s is None else self.seen.at_s + in_s

    @property
    def empty(self) -> str:
        """How long until then, in words."""
        if not self.waiting:
            return "no job waits"
        return "nobody knows" if self.empty_at_s is None else f"in {about(self.empty_at_s - self.seen.at_s)}"

    @property
    def letters(self) -> Sequence[Record]:
        """Its newest dead letters, newest first."""
        return self.seen.newest.letters

    @property
    def codes(self) -> list[str]:
        """The codes of those, each once."""
        return list(dict.fromkeys(code_of(record) for record in self.letters))

    @property
    def to_do(self) -> list[tuple[str, str]]:
        """What a person can do about those, each once: the codes that it mends, and what to do."""
        mends: dict[str, dict[str, None]] = {}
        for record in self.letters:
            if record.hint:
                mends.setdefault(record.hint, {})[code_of(record)] = None
        return [(", ".join(codes), hint) for hint, codes in mends.items()]

    @property
    def letters_in_all(self) -> int:
        """How many it has."""
        return max(self.seen.newest.letters_in_all, len(self.letters))


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One batch over all accounts that are shown.

    Args:
        view: its jobs, and when it is done.
        accounts: where it has jobs.
        at_s: now, in seconds since the epoch.
    """

    view: BatchView
    accounts: tuple[str, ...]
    at_s: float

    @property
    def left(self) -> str:
        """How long it takes, in words."""
        if self.view.finished >= self.view.total:
            return "done"
        done_by = self.view.done_by
        return "nobody knows" if done_by is None else f"in {about(max(0.0, done_by - self.at_s))}"


@dataclass(frozen=True, slots=True)
class Board:
    """All accounts that somebody looks at.

    Args:
        at_s: when the first of them was looked at, in seconds since the epoch.
        accounts: in the order of the settings.
        batches: those that go on first, then the newest.
    """

    at_s: float
    accounts: Sequence[AccountBoard]
    batches: Sequence[BatchRow]

    @classmethod
    def of(cls, seen: Sequence[Glance], most_batches: int) -> Board:
        """The board of these accounts; at most so many batches."""
        at_s = min((one.at_s for one in seen), default=0.0)
        rows = sorted(_batches(seen, at_s), key=lambda row: (row.left == "done", -(row.view.created_at or 0.0)))
        return cls(at_s, [AccountBoard(one) for one in seen], rows[:most_batches])

    @property
    def summary(self) -> str:
        """All of it in one sentence."""
        if not self.accounts:
            return "no account exists for this token"
        troubled = [account for account in self.accounts if account.state.troubled]
        waiting = sum(account.waiting for account in self.accounts)
        calls = sum(account.calls_last_minute for account in self.accounts)
        letters = sum(account.letters_in_all for account in self.accounts)
        trouble = f"{number(len(troubled))} in trouble, " if troubled else ""
        return (
            f"{many(len(self.accounts), 'account')}, {trouble}{many(waiting, 'job')} waiting, "
            f"{many(calls, 'call')} in the last minute, {many(letters, 'dead letter')}"
        )


def _batches(seen: Iterable[Glance], at_s: float) -> Iterable[BatchRow]:
    found: dict[str, list[Glance]] = {}
    for one in seen:
        for name in one.newest.batches:
            found.setdefault(name, []).append(one)
    for name, those in found.items():
        jobs: Mapping[str, Progress] = {one.account.name: one.newest.batches[name].progress for one in those}
        waiting = [one for one in those if jobs[one.account.name].waiting > 0]
        ends_in_s = last_of(
            one.forecast.ends_in_s(jobs[one.account.name], one.newest.batches[name].last_ranks) for one in waiting
        )
        done_by = at_s + ends_in_s if ends_in_s else None
        yield BatchRow(BatchView.of(name, jobs, done_by), tuple(jobs), at_s)
