"""What a job and an account cost a worker and a Redis: the numbers that the simulation stands on, from bench.growth.

A worker costs something for each account even when nobody has a job (it beats, recovers, polls), and so does it cost
Redis. What is left of its work is of jobs; of that, too, a part may grow with the accounts that it serves.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Line = dict[str, Any]

BEHIND: Final = 0.9
"""Whose accounts get less than that of what they allow has more to do than it can."""


@dataclass(frozen=True, slots=True)
class Straight:
    """A straight line: `at_zero`, and so much more for each."""

    at_zero: float
    each: float

    def at(self, x: float) -> float:
        """Its height there; never below zero."""
        return max(0.0, self.at_zero + self.each * x)

    @classmethod
    def through(cls, points: Sequence[tuple[float, float, float]]) -> Self:
        """The least squares through points (x, y, weight); level if all have the same x."""
        whole = sum(weight for _, _, weight in points)
        if not whole:
            raise ValueError("no line through no points")
        mean_x = sum(x * weight for x, _, weight in points) / whole
        mean_y = sum(y * weight for _, y, weight in points) / whole
        spread = sum(weight * (x - mean_x) ** 2 for x, _, weight in points)
        if not spread:
            return cls(mean_y, 0.0)
        each = sum(weight * (x - mean_x) * (y - mean_y) for x, y, weight in points) / spread
        return cls(mean_y - each * mean_x, each)


@dataclass(frozen=True, slots=True)
class Curve:
    """Straight from point to point; level before the first one, and on in the last direction behind the last."""

    points: Sequence[tuple[float, float]]

    def at(self, x: float) -> float:
        """Its height there; never below zero."""
        if len(self.points) == 1 or x <= self.points[0][0]:
            return self.points[0][1]
        ends = next((at for at in range(1, len(self.points)) if x <= self.points[at][0]), len(self.points) - 1)
        (left, low), (right, high) = self.points[ends - 1], self.points[ends]
        return max(0.0, low + (high - low) * (x - left) / (right - left))

    @classmethod
    def through(cls, points: Sequence[tuple[float, float, float]]) -> Self:
        """Of points (x, y, weight); those above one another are one, at their mean."""
        by_x: dict[float, list[tuple[float, float]]] = {}
        for x, y, weight in sorted(points):
            by_x.setdefault(x, []).append((y, weight))
        return cls([(x, sum(y * w for y, w in some) / sum(w for _, w in some)) for x, some in by_x.items()])


@dataclass(frozen=True, slots=True)
class Constants:
    """Costs, by the number of accounts that a worker serves; Redis' idle cost by accounts x workers.

    `cpu_most` is the share of a core that a worker uses when it has more to do than it can: the rest it waits for
    Redis, and for its own threads to hand the interpreter over.
    """

    cpu_ms_per_job: Curve
    redis_us_per_job: Curve
    idle_cpu_ms_per_s: Straight
    idle_redis_us_per_s: Straight
    cpu_most: float = 1.0

    @classmethod
    def of(cls, lines: Sequence[Line]) -> Self:
        """Of the lines that `bench.growth --what accounts` prints."""
        cpu, redis_us, idle_cpu, idle_redis = [], [], [], []
        for line in lines:
            accounts, workers, jobs_per_s = line["accounts"], line["workers"], line["jobs_per_s"]
            own_ms = line["cpu_ms_per_job"] - line["idle_cpu_ms_per_s_per_worker"] * workers / jobs_per_s
            of_redis_us = 1000 * (line["redis_cpu_ms_per_job"] - line["idle_redis_ms_per_s"] / jobs_per_s)
            cpu.append((accounts, own_ms, jobs_per_s))
            redis_us.append((accounts, of_redis_us, jobs_per_s))
            idle_cpu.append((accounts, line["idle_cpu_ms_per_s_per_worker"], 1.0))
            idle_redis.append((accounts * workers, 1000 * line["idle_redis_ms_per_s"], 1.0))
        behind = [line["cpu_used_per_worker"] for line in lines if line["share_mean"] < BEHIND]
        return cls(
            Curve.through(cpu),
            Curve.through(redis_us),
            Straight.through(idle_cpu),
            Straight.through(idle_redis),
            max(behind, default=1.0),
        )

    @classmethod
    def read(cls, path: Path) -> Self:
        """Of what `bench.growth --out` wrote, or of constants written as JSON."""
        stored = json.loads(path.read_text())
        if "accounts" in stored:
            return cls.of(stored["accounts"]["lines"])
        return cls(
            Curve(**stored["cpu_ms_per_job"]),
            Curve(**stored["redis_us_per_job"]),
            Straight(**stored["idle_cpu_ms_per_s"]),
            Straight(**stored["idle_redis_us_per_s"]),
            stored["cpu_most"],
        )

    def json(self) -> dict[str, Any]:
        """As JSON has them."""
        return asdict(self)
