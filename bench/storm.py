"""The load of the simulation, and of the run that it is checked against: storms of incidents over a calm background."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.model import Arrival

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True)
class Storm:
    """Some accounts get a backlog at once, all of them get incidents now and then.

    Args:
        share: of the accounts that are hit.
        jobs: that each of them gets.
        within_s: the backlogs come within so many seconds.
        calm_per_hour: urgent jobs that every account gets besides.
        lasts_s: for so long.
    """

    share: float
    jobs: int
    within_s: float
    calm_per_hour: float
    lasts_s: float

    def hit(self, accounts: int) -> int:
        """How many accounts are hit: the first ones, which are dealt out over the Redis instances like all others."""
        return max(1, round(accounts * self.share))

    def arrivals(self, accounts: int, draw: Random) -> list[Arrival]:
        """Every job; the background is a Poisson process."""
        found = []
        for account in range(self.hit(accounts)):
            at_s = draw.uniform(0, self.within_s)
            found += [Arrival(at_s, account) for _ in range(self.jobs)]
        per_s, at_s = accounts * self.calm_per_hour / 3600, 0.0
        while per_s and (at_s := at_s + draw.expovariate(per_s)) < self.lasts_s:
            found.append(Arrival(at_s, draw.randrange(accounts), urgent=True))
        return found
