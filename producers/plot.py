"""The last ten minutes of an account as a row of bars: as the path of an SVG, as characters, and in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from producers.console import many, number
from worker.history import TEN_S

HEIGHT: Final = 40
BAR: Final = 4
"""Pixels from bar to bar, one of them empty."""

_BLOCKS: Final = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Plot:
    """Calls in each ten seconds, the latest last.

    Args:
        tens: the calls; the latest ten seconds are not over yet.
        allowed: as many calls the API allows in ten seconds, in the long run.
    """

    tens: tuple[int, ...]
    allowed: float

    @property
    def width(self) -> int:
        """Of the drawing, in pixels."""
        return BAR * len(self.tens)

    @property
    def top(self) -> float:
        """What the height stands for, in calls: what is allowed, or more, if more went out."""
        return max(self.allowed, *self.tens, 1.0)

    @property
    def path(self) -> str:
        """The bars as the `d` of an SVG path; a call is seen, however many are allowed."""
        bars = (
            f"M{BAR * at} {HEIGHT}v-{max(1, round(calls / self.top * HEIGHT))}h{BAR - 1}V{HEIGHT}z"
            for at, calls in enumerate(self.tens)
            if calls
        )
        return "".join(bars)

    @property
    def line(self) -> int:
        """How far down the allowed speed is, in pixels."""
        return round(HEIGHT - self.allowed / self.top * HEIGHT)

    def characters(self, width: int) -> str:
        """The latest bars that find room in so many characters."""
        steps = len(_BLOCKS) - 1
        return "".join(_BLOCKS[-(-calls * steps // max(1, round(self.top)))] for calls in self.tens[-width:])

    def sentence(self) -> str:
        """What it shows, for those who do not see it."""
        total = sum(self.tens)
        if not total:
            return "no call in the last ten minutes"
        over = self.tens[:-1] or self.tens
        minutes = len(self.tens) * TEN_S // 60
        return (
            f"{many(total, 'call')} in the last {minutes} minutes; bars of {TEN_S} s: {number(min(over))} to "
            f"{many(max(over), 'call')}, the last {number(over[-1])}; {self.allowed:,.0f} allowed"
        )
