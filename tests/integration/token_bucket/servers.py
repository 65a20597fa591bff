"""Five ways a server may count N calls per T, each written as simply as it can be. Times in whole microseconds."""

from __future__ import annotations

from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from worker.rate_limit import Limit, Plan

PHASES: Final = (0, 1, 3, 7)
"""Eighths of a window by which a server's windows are shifted."""


class Server(Protocol):
    """A server that admits or refuses a call; refused calls do not count."""

    def admits(self, at_us: int) -> bool: ...


class FixedWindow:
    """Counts from zero in every window."""

    def __init__(self, amount: int, window_us: int, phase_us: int = 0) -> None:
        self.amount, self.window_us, self.phase_us = amount, window_us, phase_us
        self.window, self.count = -1, 0

    def admits(self, at_us: int) -> bool:
        window = (at_us + self.phase_us) // self.window_us
        if window != self.window:
            self.window, self.count = window, 0
        if self.count >= self.amount:
            return False
        self.count += 1
        return True


class SlidingLog:
    """Remembers every call of the last T."""

    def __init__(self, amount: int, window_us: int) -> None:
        self.amount, self.window_us = amount, window_us
        self.log: deque[int] = deque()

    def admits(self, at_us: int) -> bool:
        while self.log and self.log[0] <= at_us - self.window_us:
            self.log.popleft()
        if len(self.log) >= self.amount:
            return False
        self.log.append(at_us)
        return True


class SlidingCounter:
    """Two windows, the previous one weighted by how much of it the last T still covers; no rounding."""

    def __init__(self, amount: int, window_us: int, phase_us: int = 0) -> None:
        self.amount, self.window_us, self.phase_us = amount, window_us, phase_us
        self.window, self.previous, self.current = -1, 0, 0

    def admits(self, at_us: int) -> bool:
        window, into = divmod(at_us + self.phase_us, self.window_us)
        if window != self.window:
            self.previous = self.current if window == self.window + 1 else 0
            self.window, self.current = window, 0
        weighted = self.previous * (self.window_us - into) + (self.current + 1) * self.window_us
        if weighted > self.amount * self.window_us:
            return False
        self.current += 1
        return True


class ServerBucket:
    """A bucket of N tokens, full at first, refilled at N/T. Tokens are counted in 1/T."""

    def __init__(self, amount: int, window_us: int) -> None:
        self.amount, self.window_us = amount, window_us
        self.level, self.seen_us = amount * window_us, 0

    def admits(self, at_us: int) -> bool:
        filled = self.level + (at_us - self.seen_us) * self.amount
        self.level, self.seen_us = min(filled, self.amount * self.window_us), at_us
        if self.level < self.window_us:
            return False
        self.level -= self.window_us
        return True


class Gcra:
    """GCRA with a burst; times are multiplied by `per` so that the interval window/per stays whole."""

    def __init__(self, burst: int, window_us: int, per: int) -> None:
        self.tolerance, self.window_us, self.per, self.tat = (burst - 1) * window_us, window_us, per, 0

    def admits(self, at_us: int) -> bool:
        if at_us * self.per < self.tat - self.tolerance:
            return False
        self.tat = max(self.tat, at_us * self.per) + self.window_us
        return True


def servers_of(limit: Limit) -> Iterator[Server]:
    """Every model of a server that enforces N per T."""
    amount, window = limit.amount, limit.window_us
    for phase in PHASES:
        yield FixedWindow(amount, window, phase * window // 8)
        yield SlidingCounter(amount, window, phase * window // 8)
    yield SlidingLog(amount, window)
    yield ServerBucket(amount, window)
    yield Gcra(amount, window, amount)


def refusals(server: Server, arrivals: Iterable[int]) -> int:
    """How many of the arrivals, in order, the server refuses."""
    return sum(not server.admits(at) for at in arrivals)


def refusals_by_model(limits: Iterable[Limit], arrivals: Sequence[int]) -> dict[str, int]:
    """The refusals of every model, the worst phase of each, over all limits."""
    assert all(before <= after for before, after in pairwise(arrivals))
    found: dict[str, int] = {}
    for limit in limits:
        for server in servers_of(limit):
            name = type(server).__name__
            found[name] = max(found.get(name, 0), refusals(server, arrivals))
    return found


def slots_that_break_the_bucket(plan: Plan, slots: Sequence[int]) -> int:
    """How many slots a fresh GCRA with the plan's own burst and interval would not have given."""
    return sum(refusals(Gcra(limit.burst, limit.interval_us, 1), sorted(slots)) for limit in plan.limits)
