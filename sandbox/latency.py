"""How long an accepted call takes: a distribution written as one word, drawn from a seeded source."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox.errors import ConfigError

if TYPE_CHECKING:
    from random import Random

CAP_S: Final = 30.0
_COUNTS: Final = {"constant": (1, 1), "uniform": (2, 2), "lognormal": (2, 3), "exponential": (1, 2)}
_FORMS: Final = "constant:S, uniform:LOW:HIGH, lognormal:MEDIAN:SIGMA[:CAP] or exponential:MEAN[:CAP], in seconds"


@dataclass(frozen=True, slots=True)
class Latency:
    """One distribution: `constant`, `uniform`, `lognormal` or `exponential`; the last two are capped.

    Args:
        name: the distribution.
        numbers: its parameters in seconds (sigma has no unit).
    """

    name: str
    numbers: tuple[float, ...]

    @classmethod
    def of(cls, text: str) -> Latency:
        """Read e.g. `uniform:0:2`.

        Raises:
            ConfigError: the text is no distribution.
        """
        name, *rest = text.split(":")
        try:
            numbers = tuple(float(part) for part in rest)
        except ValueError:
            numbers = ()
        fewest, most = _COUNTS.get(name, (1, 0))
        fits = fewest <= len(numbers) <= most and all(math.isfinite(n) and n >= 0 for n in numbers)
        if not fits or (name == "uniform" and numbers[0] > numbers[1]):
            raise ConfigError(f"{text!r} is no latency; write {_FORMS}")
        return cls(name, numbers)

    def draw(self, random: Random) -> float:
        """One latency, in seconds."""
        first, *rest = self.numbers
        if self.name == "constant":
            return first
        if self.name == "uniform":
            return random.uniform(first, rest[0])
        if self.name == "lognormal":
            drawn_s = first * math.exp(random.gauss(0.0, rest[0]))
            return min(drawn_s, rest[1] if len(rest) > 1 else CAP_S)
        # 1 - random() lies in (0, 1], so the logarithm is finite.
        drawn_s = -first * math.log(1.0 - random.random())
        return min(drawn_s, rest[0] if rest else CAP_S)
