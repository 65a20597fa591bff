"""A span of time as people write it, and its windows of at most 31 days. Pure.

`24h`, `3d` or `1h30m` is so long before now. `2026-11-25T08:00+01:00` is that instant; without an offset it is the time
of this machine, without a time midnight.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from producers.parsing import shown
from worker.errors import SettingsError
from worker.flashduty.answers import MAX_WINDOW_S

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST_S: Final = 366 * 86_400
"""How long an order may hold: a year; longer ones are slips, and end at no date that can be told."""

UNIT_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` to `end`, both of them in it, in whole seconds since the epoch."""

    start: int
    end: int

    @classmethod
    def of(cls, since: str, until: str | None, now_s: float) -> Span:
        """The span that a person means. It ends now at the latest: what has not started is on no list.

        Raises:
            SettingsError: one of the two is no time, or nothing lies between them.
        """
        start = math.floor(moment_s("--since", since, now_s))
        now = math.ceil(now_s)
        end = now if until is None else min(now, math.ceil(moment_s("--until", until, now_s)))
        if start >= end:
            what = "now" if end == now else f"--until {shown(str(until))}"
            raise SettingsError(f"--since {shown(since)} must lie before {what}")
        return cls(start, end)

    def windows(self) -> Iterator[Span]:
        """Its parts, oldest first, as long as the API lists at once. Neighbours share a second, so none is lost."""
        start = self.start
        while start < self.end:
            yield Span(start, min(start + MAX_WINDOW_S, self.end))
            start += MAX_WINDOW_S

    def after(self, start: int) -> Span:
        """What is left of it from a window's start on."""
        return Span(max(self.start, start), self.end)


def moment_s(option: str, text: str, now_s: float) -> float:
    """The moment that a duration before now or an ISO 8601 instant means, in seconds since the epoch.

    Raises:
        SettingsError: the text is neither.
    """
    plain = text.strip()
    ago_s = _duration_s(plain.lower())
    moment = _instant(option, plain) if ago_s is None else now_s - ago_s
    if moment < 0:
        raise SettingsError(f"{option} {shown(text)} lies before 1970: there were no incidents")
    return moment


def length_s(option: str, text: str) -> float:
    """How long a duration like `10m`, `1h30m` or `45s` is, in seconds.

    Raises:
        SettingsError: the text is none, or nothing, or more than a year.
    """
    length = _duration_s(text.strip().lower())
    if not length:
        hint = f"; did you mean {text.strip()}m?" if re.fullmatch(r"[0-9]{1,9}", text.strip(), re.ASCII) else ""
        raise SettingsError(f"{option} must be how long (45s, 10m, 1h30m), got {shown(text)}{hint}")
    if length > LONGEST_S:
        raise SettingsError(f"{option} must be a year at most, got {shown(text)}; without it, it holds for good")
    return length


def _duration_s(text: str) -> float | None:
    """So many seconds; None if the text is no duration."""
    parts = re.findall(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhdw])", text, re.ASCII)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * UNIT_S[unit] for number, unit in parts)


def _instant(option: str, text: str) -> float:
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError, OSError):
        pass
    hint = f"; did you mean {text}h or {text}d?" if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) else ""
    raise SettingsError(
        f"{option} must be how long ago (90m, 24h, 3d) or an instant like 2026-11-25T08:00+01:00, "
        f"got {shown(text)}{hint}"
    )
