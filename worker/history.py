"""What an account's bucket handed out: the worst second and minute of a day, and the last ten minutes. Values.

Counted in token_bucket.lua, over every window and not only those of the clock; the last seconds, at which it has not
looked yet, here. A slot that was given back is not in it, but may be in a worst that was told before.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HOURS: Final = 24
HOUR_S: Final = 3600
TEN_S: Final = 10
TENS: Final = 60
SECOND_US: Final = 1_000_000
MINUTE_US: Final = 60 * SECOND_US


@dataclass(frozen=True, slots=True)
class Most:
    """The most calls within a window, and when it ended, in seconds since the epoch."""

    calls: int = 0
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Hour:
    """One hour of the clock.

    Args:
        began_at: in seconds since the epoch.
        calls: all that went out.
        second: the most within any second that ended in it.
        minute: the most within any minute that ended in it.
    """

    began_at: float
    calls: int
    second: Most
    minute: Most


@dataclass(frozen=True, slots=True)
class Fresh:
    """Slots of the last minute or so, and from which one on nobody has looked for the most; microseconds."""

    slots_us: Sequence[int] = ()
    since_us: int = 0

    def added_to(self, hour: Hour) -> Hour:
        """The hour with the most of the windows that end with a slot that nobody has looked at."""
        second = max(hour.second, self._most(SECOND_US), key=lambda most: most.calls)
        minute = max(hour.minute, self._most(MINUTE_US), key=lambda most: most.calls)
        return replace(hour, second=second, minute=minute)

    def _most(self, window_us: int) -> Most:
        slots = sorted(self.slots_us)
        fresh = [(at, slot) for at, slot in enumerate(slots, 1) if slot >= self.since_us]
        counts = ((at - bisect_right(slots, slot - window_us), slot) for at, slot in fresh)
        return max((Most(calls, slot // SECOND_US) for calls, slot in counts), key=lambda m: m.calls, default=Most())


NOTHING_FRESH: Final = Fresh()


@dataclass(frozen=True, slots=True)
class History:
    """The last day of an account, from the beginning of the hour in which it began.

    Args:
        hours: those in which something went out, the earliest first.
        tens: calls in each ten seconds of the last ten minutes, the latest last.
    """

    hours: tuple[Hour, ...]
    tens: tuple[int, ...]

    @classmethod
    def of(
        cls, kept: Mapping[str, str], hour: str | None, ten: str | None, now_s: float, fresh: Fresh = NOTHING_FRESH
    ) -> History:
        """The bucket's hash and its two current fields, read.

        Args:
            kept: KEYS[5] of token_bucket.lua.
            hour: its field w.
            ten: its field v.
            now_s: the time of Redis, in seconds since the epoch.
            fresh: what the current hour does not say yet.
        """
        texts = {int(name[1:]): text for name, text in kept.items() if name.startswith("h")}
        if hour is not None:
            number, _, text = hour.partition(" ")
            texts[int(number)] = text
        first = int(now_s) // HOUR_S - HOURS  # and the current one, which is not over
        hours = [_hour(number, text) for number, text in sorted(texts.items()) if number >= first]
        if hours and hour is not None:
            hours[-1] = fresh.added_to(hours[-1])
        in_tens = dict(_numbers(text) for name, text in kept.items() if name.startswith("m"))
        if ten is not None:
            in_tens.update([_numbers(ten)])
        last = int(now_s) // TEN_S
        return cls(tuple(hours), tuple(in_tens.get(number, 0) for number in range(last - TENS + 1, last + 1)))

    @property
    def second(self) -> Most:
        """The most calls within any second."""
        return max((hour.second for hour in self.hours), key=lambda most: most.calls, default=Most())

    @property
    def minute(self) -> Most:
        """The most calls within any minute."""
        return max((hour.minute for hour in self.hours), key=lambda most: most.calls, default=Most())

    @property
    def calls(self) -> int:
        """All that went out."""
        return sum(hour.calls for hour in self.hours)


@dataclass(frozen=True, slots=True)
class Spent:
    """The slots of the last minute, the earliest first, and the time of Redis; in microseconds since the epoch."""

    slots_us: tuple[int, ...]
    now_us: int

    def within(self, window_us: int) -> int | None:
        """Calls that went out in so many microseconds up to now; None if that is longer than a minute."""
        if window_us > MINUTE_US:
            return None
        # A slot may lie a moment ahead: it is not spent yet.
        return bisect_right(self.slots_us, self.now_us) - bisect_right(self.slots_us, self.now_us - window_us)


def _numbers(text: str) -> tuple[int, int]:
    first, second = text.split()
    return int(first), int(second)


def _hour(number: int, text: str) -> Hour:
    calls, second, second_at, minute, minute_at = (int(part) for part in text.split())
    return Hour(number * HOUR_S, calls, Most(second, second_at), Most(minute, minute_at))
