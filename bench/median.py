"""Medians over the rounds of a measurement."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


def medians_of(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of each number, and of the numbers within a dictionary; what some line does not have is left out."""
    found: dict[str, Any] = {}
    for name, value in lines[0].items():
        values: list[Any] = [line.get(name) for line in lines]
        if isinstance(value, dict):
            found[name] = medians_of([line.get(name, {}) for line in lines])
        elif all(isinstance(one, int | float) for one in values):
            found[name] = round(statistics.median(values), 4)
    return found
