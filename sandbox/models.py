"""How a server may count: five models, each exact, each told the time in whole microseconds.

Which one Flashduty uses is not public, so everything we send must pass all of them. Integer arithmetic only:
a float would blur the window's edge, and the edge is what is tested. Time never runs backwards here.

A window of length W that ends now holds what arrived after `now - W`; a call exactly W old has left it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

import limits

from sandbox.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """`amount` calls per `window_us` microseconds."""

    amount: int
    window_us: int


def rates_of(text: str) -> tuple[Rate, ...]:
    """The rates in `limits`' notation, e.g. `50/second;1000/minute`.

    Raises:
        ConfigError: the text holds no rates.
    """
    try:
        items = limits.parse_many(text)
    except ValueError:
        items = []
    if not items or any(item.amount < 1 or item.get_expiry() < 1 for item in items):
        raise ConfigError(f"{text!r} is no list of rates; write it like '50/second;1000/minute'")
    return tuple(Rate(item.amount, item.get_expiry() * SECOND_US) for item in items)


class Model(Protocol):
    """One limit, counted in one way."""

    def wait_us(self, now_us: int) -> int:
        """Microseconds until one call would pass; 0 means it passes now. Spends nothing."""

    def spend(self, now_us: int) -> None:
        """Count one call."""


class FixedWindow:
    """A counter that starts again at every multiple of the window, shifted by a phase."""

    def __init__(self, rate: Rate, phase_us: int = 0) -> None:
        self._rate, self._phase_us = rate, phase_us
        self._window, self._count = 0, 0

    def _roll(self, now_us: int) -> int:
        """Enter the window of `now_us`; return the microseconds since it began."""
        window, elapsed_us = divmod(now_us - self._phase_us, self._rate.window_us)
        if window != self._window:
            self._window, self._count = window, 0
        return elapsed_us

    def wait_us(self, now_us: int) -> int:
        """Until the next window begins, if this one is full."""
        elapsed_us = self._roll(now_us)
        return 0 if self._count < self._rate.amount else self._rate.window_us - elapsed_us

    def spend(self, now_us: int) -> None:
        """Count one call in the window of `now_us`."""
        self._roll(now_us)
        self._count += 1


class SlidingLog:
    """Every call is remembered; no window of length W, wherever it begins, holds more than `amount`."""

    def __init__(self, rate: Rate, _phase_us: int = 0) -> None:
        self._rate = rate
        # The `amount` latest calls decide: the log is full while the oldest of them is younger than W.
        self._log: deque[int] = deque(maxlen=rate.amount)

    def wait_us(self, now_us: int) -> int:
        """Until the oldest of the `amount` latest calls leaves the window."""
        if len(self._log) < self._rate.amount:
            return 0
        return max(0, self._log[0] + self._rate.window_us - now_us)

    def spend(self, now_us: int) -> None:
        """Remember one call."""
        self._log.append(now_us)


class SlidingCounter:
    """Two fixed windows: the last one weighs as much as it still overlaps. Never rounded."""

    def __init__(self, rate: Rate, phase_us: int = 0) -> None:
        self._rate, self._phase_us = rate, phase_us
        self._window, self._last, self._count = 0, 0, 0

    def _roll(self, now_us: int) -> int:
        """Enter the window of `now_us`; return the microseconds since it began."""
        window, elapsed_us = divmod(now_us - self._phase_us, self._rate.window_us)
        if window != self._window:
            self._last = self._count if window == self._window + 1 else 0
            self._window, self._count = window, 0
        return elapsed_us

    def wait_us(self, now_us: int) -> int:
        """Until last x overlap + count + 1 <= amount: in this window, or else in the next."""
        elapsed_us, window_us = self._roll(now_us), self._rate.window_us
        passes_us = self._passes_us(self._last, self._rate.amount - 1 - self._count)
        if passes_us < window_us:
            return max(0, passes_us - elapsed_us)
        return window_us - elapsed_us + self._passes_us(self._count, self._rate.amount - 1)

    def _passes_us(self, last: int, free: int) -> int:
        """How far into a window `last` has faded to `free` calls; the whole window if it does not."""
        window_us = self._rate.window_us
        if free < 0:
            return window_us
        return max(0, window_us - free * window_us // last) if last else 0

    def spend(self, now_us: int) -> None:
        """Count one call in the window of `now_us`."""
        self._roll(now_us)
        self._count += 1


class TokenBucket:
    """`amount` tokens at most, refilled at amount/window, full at the start.

    The level is kept in tokens x window_us, so that the refill is `amount` per microsecond: a whole number.
    """

    def __init__(self, rate: Rate, _phase_us: int = 0) -> None:
        self._rate = rate
        self._level, self._at_us = rate.amount * rate.window_us, 0

    def _refill(self, now_us: int) -> None:
        full = self._rate.amount * self._rate.window_us
        self._level = min(full, self._level + (now_us - self._at_us) * self._rate.amount)
        self._at_us = now_us

    def wait_us(self, now_us: int) -> int:
        """Until the bucket holds one whole token."""
        self._refill(now_us)
        missing = self._rate.window_us - self._level
        return max(0, -(-missing // self._rate.amount))

    def spend(self, now_us: int) -> None:
        """Take one token, or what is left of it."""
        self._refill(now_us)
        self._level = max(0, self._level - self._rate.window_us)


class Gcra:
    """The generic cell rate algorithm with capacity `amount`: one time instead of a level.

    Times are kept in microseconds x amount, so that the emission interval is `window_us`: a whole number.
    """

    def __init__(self, rate: Rate, _phase_us: int = 0) -> None:
        self._rate = rate
        self._arrival = 0  # the theoretical arrival time (TAT)

    def wait_us(self, now_us: int) -> int:
        """Until the theoretical arrival time is within the tolerance of `amount - 1` intervals."""
        amount, window_us = self._rate.amount, self._rate.window_us
        early = self._arrival - (amount - 1) * window_us - now_us * amount
        return max(0, -(-early // amount))

    def spend(self, now_us: int) -> None:
        """Move the theoretical arrival time by one interval, never beyond an empty bucket's."""
        amount, window_us = self._rate.amount, self._rate.window_us
        now = now_us * amount
        self._arrival = min(max(self._arrival, now) + window_us, now + amount * window_us)


MODELS: Final[Mapping[str, Callable[[Rate, int], Model]]] = {
    "fixed": FixedWindow,
    "sliding-log": SlidingLog,
    "sliding-counter": SlidingCounter,
    "token-bucket": TokenBucket,
    "gcra": Gcra,
}


class Enforcer:
    """All limits of one account at once: a call passes every one of them or spends from none.

    Args:
        model: a name in `MODELS`.
        rates: the limits.
        phase_us: where the windows of `fixed` and `sliding-counter` begin, in microseconds.
        count_refused: whether a refused call spends too, as on gateways that count before they judge.
    """

    def __init__(self, model: str, rates: tuple[Rate, ...], phase_us: int, *, count_refused: bool) -> None:
        self._models = tuple(MODELS[model](rate, phase_us) for rate in rates)
        self._count_refused = count_refused

    def admit(self, now_us: int) -> int:
        """Judge one call: 0 if it is admitted, else the microseconds after which one may pass."""
        wait_us = max(model.wait_us(now_us) for model in self._models)
        if wait_us == 0 or self._count_refused:
            for model in self._models:
                model.spend(now_us)
        return wait_us
