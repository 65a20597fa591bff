"""What a job and an account cost a worker and a Redis: the numbers that the simulation stands on, from bench.growth.

A worker costs something for each account even when nobody has a job (it beats, recovers, polls), and so does it cost
Redis. What is left of its work is of jobs; of that, too, a part may grow with the accounts that it serves.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Line = dict[str, Any]


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
class Constants:
    """Costs, by the number of accounts that a worker serves; Redis' idle cost by accounts x workers."""

    cpu_ms_per_job: Straight
    redis_us_per_job: Straight
    idle_cpu_ms_per_s: Straight
    idle_redis_us_per_s: Straight

    @classmethod
    def of(cls, lines: Sequence[Line]) -> Self:
        """Of the lines that `bench.growth --what accounts` prints."""
        cpu, redis_us, idle_cpu, idle_redis = [], [], [], []
        for line in lines:
            accounts, workers, jobs_per_s = line["accounts"], line["workers"], line["jobs_per_s"]
            own_ms = line["cpu_ms_per_job"] - line["idle_cpu_ms_per_s_per_worker"] * workers / jobs_per_s
            of_redis_us = 1000 * (line["redis_cpu_ms_per_job"] - line["idle_redis_ms_per_s"] / jobs_per_s)
            # A busy worker says more about what a job costs: of an idle one the cost is mostly that it waits.
            cpu.append((accounts, own_ms, jobs_per_s))
            redis_us.append((accounts, of_redis_us, jobs_per_s))
            idle_cpu.append((accounts, line["idle_cpu_ms_per_s_per_worker"], 1.0))
            idle_redis.append((accounts * workers, 1000 * line["idle_redis_ms_per_s"], 1.0))
        return cls(*(Straight.through(points) for points in (cpu, redis_us, idle_cpu, idle_redis)))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Of what `bench.growth --out` wrote, or of constants written as JSON."""
        stored = json.loads(path.read_text())
        if "accounts" in stored:
            return cls.of(stored["accounts"]["lines"])
        return cls(**{name: Straight(**line) for name, line in stored.items()})

    def json(self) -> dict[str, Any]:
        """As JSON has them."""
        return asdict(self)
