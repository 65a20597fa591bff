"""Which fault when: a pure function of a seed.

Two tracks run side by side. On one track a fault is over before the next begins (Redis is frozen or killed, not both);
on the other one the processes around it are hurt at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

GAP_S: Final = (0.3, 2.0)
"""Between the end of a fault and the next one on its track, in seconds: from here to there."""


class Track(StrEnum):
    """What is hurt."""

    REDIS = "redis"
    AROUND = "around"


@dataclass(frozen=True, slots=True)
class Kind:
    """A fault that can happen; how long it lasts is drawn between the two times, in seconds."""

    name: str
    track: Track
    shortest_s: float = 0.0
    longest_s: float = 0.0


KINDS: Final = (
    Kind("kill_valkey", Track.REDIS, 0.2, 5.0),
    Kind("power_failure", Track.REDIS, 0.2, 3.0),
    Kind("freeze_valkey", Track.REDIS, 0.5, 8.0),
    Kind("cut_connections", Track.REDIS),
    Kind("half_open", Track.REDIS, 1.0, 20.0),
    Kind("black_hole", Track.REDIS, 0.5, 15.0),
    Kind("refuse_connections", Track.REDIS, 0.2, 5.0),
    Kind("out_of_memory", Track.REDIS, 0.5, 6.0),
    Kind("copies", Track.REDIS),
    Kind("stale_copies", Track.REDIS),
    Kind("second_messages", Track.REDIS),
    Kind("kill_worker", Track.AROUND),
    Kind("stop_worker", Track.AROUND),
    Kind("freeze_worker", Track.AROUND, 0.5, 25.0),
    Kind("kill_producer", Track.AROUND),
    Kind("server_errors", Track.AROUND, 0.5, 5.0),
)
"""All of them; faults.py has a function of each name."""


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault at its time, in seconds from the beginning; `seed` decides whom it hits."""

    at_s: float
    name: str
    lasts_s: float
    seed: int

    def __str__(self) -> str:
        lasts = f" for {self.lasts_s:.1f} s" if self.lasts_s else ""
        return f"{self.at_s:7.1f} s  {self.name}{lasts}"


def schedule(
    seed: int, seconds: float, *, longest_s: float = 30.0, kinds: Sequence[Kind] = KINDS
) -> tuple[Strike, ...]:
    """The strikes of a run, in their order.

    Args:
        seed: the same seed gives the same run.
        seconds: no fault begins later, or ends later than `longest_s` after this.
        longest_s: no fault lasts longer.
        kinds: those that may happen; each happens once before one happens again.
    """
    random = Random(seed)
    strikes: list[Strike] = []
    for track in Track:
        mine = [kind for kind in kinds if kind.track is track]
        strikes.extend(_track(random, mine, seconds, longest_s) if mine else ())
    return tuple(sorted(strikes, key=lambda strike: strike.at_s))


def _track(random: Random, kinds: Sequence[Kind], seconds: float, longest_s: float) -> Iterator[Strike]:
    at_s, bag = random.uniform(*GAP_S), list[Kind]()
    while at_s < seconds:
        bag = bag or random.sample(kinds, len(kinds))
        kind = bag.pop()
        lasts_s = min(longest_s, random.uniform(kind.shortest_s, kind.longest_s))
        yield Strike(round(at_s, 2), kind.name, round(lasts_s, 2), random.getrandbits(32))
        at_s += lasts_s + random.uniform(*GAP_S)
