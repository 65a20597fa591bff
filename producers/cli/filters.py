"""The filters of Flashduty's incident list, as a person writes them. Pure."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from producers.bad_input import BadInput
from producers.parsing import shown
from worker.jobs import INT64_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

SEVERITIES: Final = ("Critical", "Warning", "Info")
PROGRESS: Final = ("Triggered", "Processing", "Closed")


def names(option: str, text: str | None, known: Sequence[str]) -> tuple[str, ...]:
    """The names in a list with commas, in any case; none if it is absent.

    Raises:
        BadInput: one of them is not known, or there is none in it.
    """
    by_fold = {name.casefold(): name for name in known}
    found = dict[str, None]()
    for part in _parts(option, text):
        name = by_fold.get(part.casefold())
        if name is None:
            close = get_close_matches(part.casefold(), by_fold, n=1)
            hint = f"; did you mean {by_fold[close[0]]}?" if close else ""
            raise BadInput(f"{option} is a list of {', '.join(known)}, got {shown(part)}{hint}")
        found[name] = None
    return tuple(found)


def numbers(option: str, text: str | None) -> tuple[int, ...]:
    """The whole numbers in a list with commas; none if it is absent.

    Raises:
        BadInput: one of them is no number that the API has, or there is none in it.
    """
    found = dict[int, None]()
    for part in _parts(option, text):
        if not re.fullmatch("[0-9]{1,19}", part, re.ASCII) or int(part) > INT64_MAX:
            raise BadInput(f"{option} is a list of whole numbers like 12,13, got {shown(part)}")
        found[int(part)] = None
    return tuple(found)


def _parts(option: str, text: str | None) -> list[str]:
    """The parts; an empty list is a variable that nobody has set, and no wish for everything."""
    if text is None:
        return []
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise BadInput(f"{option} is empty: name something, or leave it out")
    return parts
