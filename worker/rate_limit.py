"""A rate limit that no server can call broken, whatever way it counts. Pure arithmetic; no clock, no store.

The server allows `amount` (N) calls per `window` (T), counted in a way nobody documents: fixed window, sliding log,
sliding counter, token bucket or GCRA. Our token bucket has a capacity `burst` (C) and refills at r. With D the
largest spread of (arrival at the server - slot handed out), it is safe against all of them if and only if

    C + r (T + D) <= N            r = (N - C) / (T + D)

A bucket with C = N and r = N/T, the usual one, admits 2 N in its first window. The proof is in docs/limiter.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import limits

from worker.errors import SettingsError

SECOND_US: Final = 1_000_000
DEFAULT_RATES: Final = "50/second;1000/minute"
DEFAULT_SPREAD_US: Final = 250_000
MAX_BURST: Final = 4

MOST_LIMITS: Final = 16
"""Of one account: so many fields token_bucket.lua forgets when rates change."""

LONGEST_WINDOW_S: Final = 366 * 86_400
"""A rate over more than a year is a slip, and its times would fit into no date."""

LOSES_S: Final = 5.0
"""What a crash of Redis may undo: fsync every second, and a disk that is slow at it."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of the server and the bucket that keeps it. A Limit that breaks the rule cannot be built.

    Args:
        amount: N, calls the server allows per window.
        window_us: T, the window in microseconds.
        burst: C, calls that may go out at once after a rest.
        spread_us: D, the largest spread of arrival minus slot that is covered, in microseconds.

    Raises:
        SettingsError: the numbers leave no room for a single call.
    """

    amount: int
    window_us: int
    burst: int
    spread_us: int = DEFAULT_SPREAD_US

    def __post_init__(self) -> None:
        if self.amount < 1 or self.window_us < 1:
            raise SettingsError(f"a rate needs at least 1 call per window, got {self.amount}/{self.window_us} us")
        if self.spread_us < 0:
            raise SettingsError(f"the spread cannot be negative, got {self.spread_us} us")
        if not 1 <= self.burst <= max(1, self.amount - 1):
            raise SettingsError(f"a burst of {self.burst} does not fit below {self.amount} calls per window")

    @classmethod
    def of(cls, amount: int, window_us: int, spread_us: int = DEFAULT_SPREAD_US) -> Limit:
        """The limit with the burst we choose: a hundredth of the amount, 1 to 4.

        A larger burst only costs speed (r falls with C); 4 is enough to make up for a late worker.
        """
        return cls(amount, window_us, max(1, min(MAX_BURST, amount // 100)), spread_us)

    @property
    def interval_us(self) -> int:
        """The time between two slots in steady flow (1/r), rounded up: the safe direction.

        One call per window (N = 1) leaves no r > 0 in the rule. Slots further than 2 T + D apart put at most
        one arrival into any two windows together, which every one of the server's models admits.
        """
        if self.amount == 1:
            return 2 * self.window_us + self.spread_us + 1
        return -(-(self.window_us + self.spread_us) // (self.amount - self.burst))

    @property
    def tolerance_us(self) -> int:
        """How far slots may run ahead of steady flow: (C - 1) intervals (GCRA's tau)."""
        return (self.burst - 1) * self.interval_us

    @property
    def rate_per_s(self) -> float:
        """The sustained speed r, in calls per second."""
        return SECOND_US / self.interval_us

    def __str__(self) -> str:
        return f"{self.amount}/{self.window_us / SECOND_US:g}s"


@dataclass(frozen=True, slots=True)
class Plan:
    """All limits of one account. Every call spends from every one of them."""

    limits: tuple[Limit, ...]

    def __post_init__(self) -> None:
        if not self.limits:
            raise SettingsError("an account needs at least one rate, such as 1000/minute")

    @property
    def interval_us(self) -> int:
        """The time between two slots in steady flow, set by the narrowest limit."""
        return max(limit.interval_us for limit in self.limits)

    @property
    def slack_us(self) -> int:
        """So late may each slot be used without one being lost: what the narrowest limit lets slots run ahead."""
        return min(limit.tolerance_us for limit in self.limits if limit.interval_us == self.interval_us)

    @property
    def rate_per_s(self) -> float:
        """The sustained speed of the account, in calls per second."""
        return SECOND_US / self.interval_us

    @property
    def allowed_per_s(self) -> float:
        """What the server's own numbers allow in the long run, in calls per second: the yardstick."""
        return min(limit.amount * SECOND_US / limit.window_us for limit in self.limits)

    def drain_s(self, calls: int) -> float:
        """The time `calls` calls take in steady flow, in seconds."""
        return calls * self.interval_us / SECOND_US

    def breaks(self, allowed: Plan) -> Limit | None:
        """The first limit of another plan that this one does not keep; None if it keeps them all.

        A bucket here keeps N per T if C + r (T + D) <= N, whatever window it was made for.
        """
        for limit in allowed.limits:
            span_us = limit.window_us + limit.spread_us
            if limit.amount == 1:
                kept = any(span_us + limit.window_us < own.interval_us for own in self.limits if own.burst == 1)
            else:
                kept = any(own.burst + span_us / own.interval_us <= limit.amount for own in self.limits)
            if not kept:
                return limit
        return None

    def most_within(self, seconds: float) -> int:
        """How many calls may go out within so many seconds, at the most."""
        return min(limit.burst + math.ceil(seconds * SECOND_US / limit.interval_us) for limit in self.limits)

    def __str__(self) -> str:
        return ";".join(str(limit) for limit in self.limits)


def plan_of(rates: str, spread_us: int = DEFAULT_SPREAD_US) -> Plan:
    """The plan for rates in `limits`' notation, e.g. `50/second;1000/minute`.

    Raises:
        SettingsError: the text is no list of rates.
    """
    try:
        items = limits.parse_many(rates)
    except ValueError:
        raise SettingsError(
            f"{rates!r} is no list of rates; write it like {DEFAULT_RATES!r} (amount/[count] second|minute|hour|day)"
        ) from None
    if any(item.amount < 1 for item in items):
        raise SettingsError(
            f"{rates!r} allows no call: each rate needs an amount of at least 1, as in {DEFAULT_RATES!r}"
        )
    if len(items) > MOST_LIMITS:
        raise SettingsError(f"an account has at most {MOST_LIMITS} rates, got {len(items)}")
    if any(item.get_expiry() > LONGEST_WINDOW_S for item in items):
        raise SettingsError(f"{rates!r} has a rate over more than a year; pause the account instead")
    # In one order, however they were written: the bucket keeps them by their number.
    items.sort(key=lambda item: item.get_expiry())
    return Plan(tuple(Limit.of(item.amount, item.get_expiry() * SECOND_US, spread_us) for item in items))
