"""A finding: what was looked at, how bad it is, what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Level(StrEnum):
    """How bad it is, the worst first."""

    PROBLEM = "problem"
    """Jobs can be lost, or do not run."""
    WARNING = "warning"
    """It works, until something else happens."""
    NOTE = "note"
    """Good to know, or could not be checked."""
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a checkup.

    Args:
        level: how bad it is.
        what: what was looked at, in a word or two.
        found: one sentence.
        to_do: what to change, literally if possible; a problem and a warning have one.

    Raises:
        ValueError: a problem or a warning that leaves the reader alone.
    """

    level: Level
    what: str
    found: str
    to_do: str = ""

    def __post_init__(self) -> None:
        if self.level in {Level.PROBLEM, Level.WARNING} and not self.to_do:
            raise ValueError(f"{self.what}: a {self.level} needs something to do")


def problem(what: str, found: str, to_do: str) -> Finding:
    """Jobs can be lost, or do not run."""
    return Finding(Level.PROBLEM, what, found, to_do)


def warning(what: str, found: str, to_do: str) -> Finding:
    """It works, until something else happens."""
    return Finding(Level.WARNING, what, found, to_do)


def note(what: str, found: str, to_do: str = "") -> Finding:
    """Good to know, or could not be checked."""
    return Finding(Level.NOTE, what, found, to_do)


def ok(what: str, found: str) -> Finding:
    """As it should be."""
    return Finding(Level.OK, what, found)


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """The findings by how bad they are; those of a level stay in their order."""
    levels = list(Level)
    return sorted(findings, key=lambda finding: levels.index(finding.level))


def healthy(findings: Iterable[Finding]) -> bool:
    """Whether there is no problem among them; warnings are allowed."""
    return all(finding.level is not Level.PROBLEM for finding in findings)
