"""Untrusted input -> WarRoomJob: one parser and one set of messages for all doors. No I/O.

A message is read in the middle of an outage: it names the field, says what is wrong and what to do, and shows
at most 40 characters of the value, escaped, so that no input can write to the terminal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, Protocol, Self

from pydantic import ValidationError

from worker.errors import InvalidJob
from worker.jobs import INT64_MAX, Lane, WarRoomJob

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic_core import ErrorDetails

FIELDS: Final = ("incident_id", "integration_id", "member_ids", "add_observers", "account", "batch", "urgent")
"""The names a job's fields have outside, in JSON, in a CSV header and in a Celery message."""

Problem = tuple[str, str]
"""A field, as a person would write its path (`member_ids[2]`), and the sentence that says what is wrong with it."""

_KNOWN: Final = frozenset(FIELDS)
_SHOWN_CHARACTERS: Final = 40
_SHOWN_ITEMS: Final = 8


class HasIntegration(Protocol):
    """What a default needs to know of an account; `worker.settings.Account` is one."""

    @property
    def integration_id(self) -> int | None:
        """The account's default IM integration; None if it has none."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a record that does not say otherwise gets.

    Args:
        account: the account of a record that names none.
        integration_ids: the default IM integration by account name.
        known_accounts: the accounts that exist; None means that nobody checks.
        lane: the lane of a record without `urgent`.
        batch: the batch of a record that names none.
        why_none: why an account has no integration, by account; read when `integration_ids` has none.
    """

    account: str = "default"
    integration_ids: Mapping[str, int] = field(default_factory=dict)
    known_accounts: frozenset[str] | None = None
    lane: Lane = Lane.BULK
    batch: str | None = None
    why_none: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, accounts: Mapping[str, HasIntegration]) -> Self:
        """The defaults of the configured accounts: `default` unless there is only one, of another name."""
        only = next(iter(accounts)) if len(accounts) == 1 else "default"
        own = {name: account.integration_id for name, account in accounts.items()}
        return cls(
            account=only,
            integration_ids={name: number for name, number in own.items() if number is not None},
            known_accounts=frozenset(accounts),
        )


def parse_job(fields: Mapping[str, object], defaults: Defaults) -> WarRoomJob:
    """The job that a record of native JSON values describes; null means absent.

    Raises:
        InvalidJob: names each field that is wrong, and how.
    """
    problems = _unknown_fields(fields)
    given = {name: value for name, value in fields.items() if value is not None and name in _KNOWN}
    return _job(given, problems, defaults)


def parse_text_job(fields: Mapping[str, str], defaults: Defaults) -> WarRoomJob:
    """The job that a record of text cells describes (CSV, the command line); an empty cell means absent.

    Raises:
        InvalidJob: names each field that is wrong, and how.
    """
    problems = _unknown_fields(fields)
    given: dict[str, object] = {}
    for name, cell in fields.items():
        text = cell.strip()
        if not text or name not in _KNOWN:
            continue
        try:
            given[name] = _FROM_TEXT[name](text) if name in _FROM_TEXT else text
        except ValueError as error:
            problems.append((name, f"{name} {error}"))
            # It was given, though wrong: nobody should also read that it is missing.
            given |= {name: 1} if name == "integration_id" else {}
    return _job(given, problems, defaults)


def unknown_field(name: object) -> str:
    """The sentence for a field that no job has, with the name that was probably meant."""
    text = str(name)[:_SHOWN_CHARACTERS].strip().lower()
    close = ["urgent"] if text == "lane" else get_close_matches(text, FIELDS, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"the fields are {', '.join(FIELDS)}"
    return f"{shown(name)} is not a field of a job; {hint}"


def shown(value: object) -> str:
    """At most 40 characters of a value, escaped; a list or an object only by its kind."""
    match value:
        case str():
            cut = len(value) > _SHOWN_CHARACTERS
            return repr(value[: _SHOWN_CHARACTERS - 1] + "…" if cut else value)
        case bool() | None:
            return {True: "true", False: "false", None: "null"}[value]
        case int() if value.bit_length() > 128:  # noqa: PLR2004 - Python refuses to print much longer ones
            return "a far larger number"
        case int() | float():
            return repr(value)
        case list() | tuple():
            return "a list"
    return "an object"


def _job(given: dict[str, object], problems: list[Problem], defaults: Defaults) -> WarRoomJob:
    """Fill in the defaults and let the model judge, so that one message has every problem."""
    given.setdefault("batch", defaults.batch)
    given["lane"] = _lane(given.pop("urgent", None), problems, defaults)
    _settle_account(given, problems, defaults)
    job = None
    try:
        job = WarRoomJob.model_validate(given)
    except ValidationError as error:
        problems += map(_problem, error.errors(include_url=False, include_context=False))
    if job is None or problems:
        shown_first = tuple(problems[:_SHOWN_ITEMS])
        more = len(problems) - len(shown_first)
        text = "; ".join(sentence for _, sentence in shown_first)
        raise InvalidJob(text + (f"; and {more} more" if more else ""), shown_first)
    return job


def _lane(urgent: object, problems: list[Problem], defaults: Defaults) -> Lane:
    if urgent is None:
        return defaults.lane
    if not isinstance(urgent, bool):
        problems.append(("urgent", f"urgent must be true or false, got {shown(urgent)}"))
    return Lane.URGENT if urgent is True else Lane.BULK


def _settle_account(given: dict[str, object], problems: list[Problem], defaults: Defaults) -> None:
    """Fill in the account and its integration. What depends on a wrong account is no problem of its own."""
    account = given.setdefault("account", defaults.account)
    if not isinstance(account, str):
        given.setdefault("integration_id", 1)
        return
    known = defaults.known_accounts
    if known is not None and account not in known:
        names = sorted(known)
        more = f" and {len(names) - _SHOWN_ITEMS} more" if len(names) > _SHOWN_ITEMS else ""
        listed = ", ".join(names[:_SHOWN_ITEMS]) + more or "none"
        problems.append(("account", f"account {shown(account)} is not known; known accounts: {listed}"))
        given["account"] = "default"
        given.setdefault("integration_id", 1)
    elif "integration_id" not in given:
        default = defaults.integration_ids.get(account)
        if default is None:
            sentence = (
                f"integration_id is missing and account {shown(account)} has no default; "
                "set FLASHDUTY_INTEGRATION_ID or give --integration"
            )
            why = defaults.why_none.get(account)
            sentence += f"; {why}" if why else ""
            problems.append(("integration_id", sentence))
        given["integration_id"] = 1 if default is None else default


_RANGE: Final = f"must be from 1 to {INT64_MAX}"

_MUST_BE: Final = {
    "int_type": "must be a whole number",
    "greater_than": _RANGE,
    "less_than_equal": _RANGE,
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "string_unicode": "must be text without broken characters",
    "tuple_type": "must be a list of whole numbers",
}

_NAME_RULES: Final = {
    "account": "must be 1 to 63 letters, digits, '-' or '_', the first a letter or a digit",
    "batch": "must be 1 to 100 letters, digits, '.', '-' or '_', the first a letter or a digit",
}


def _problem(detail: ErrorDetails) -> Problem:
    """The field and our sentence for one of pydantic's errors."""
    name = "".join(f"[{part}]" if isinstance(part, int) else part for part in detail["loc"])
    return name, _sentence(name, detail)


def _sentence(name: str, detail: ErrorDetails) -> str:
    kind, message = detail["type"], detail["msg"]
    if kind == "missing":
        return f"{name} is missing"
    if kind == "value_error":
        return f"{name} {message.removeprefix('Value error, ')}"
    must = _NAME_RULES.get(name) if kind == "string_pattern_mismatch" else _MUST_BE.get(kind)
    return f"{name} {must or message}, got {shown(detail['input'])}"


def _unknown_fields(fields: Mapping[str, object]) -> list[Problem]:
    if fields.keys() <= _KNOWN:
        return []
    unknown = [name for name in fields if name not in _KNOWN]
    # Looking for the name that was meant is slow: not for a million of them.
    sentences = [*map(unknown_field, unknown[:_SHOWN_ITEMS]), *unknown[_SHOWN_ITEMS:]]
    return [(str(name)[:_SHOWN_CHARACTERS], sentence) for name, sentence in zip(unknown, sentences, strict=True)]


_DIGITS: Final = re.compile(r"[0-9]{1,19}", re.ASCII)


def _whole_number(text: str) -> int:
    # int() alone would take '1_000', '+5' and the digits of every script.
    if not _DIGITS.fullmatch(text):
        raise ValueError(f"must be a whole number in at most 19 decimal digits, got {shown(text)}")
    return int(text)


def _whole_numbers(text: str) -> list[int]:
    items = [item for item in re.split(r"[;,\s]+", text) if item]
    for item in items:
        if not _DIGITS.fullmatch(item):
            raise ValueError(f"must be whole numbers in at most 19 decimal digits, with ';' between, got {shown(item)}")
    return list(map(int, items))


def _flag(text: str) -> bool:
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in known:
        raise ValueError(f"must be true or false (or yes, no, 1, 0), got {shown(text)}")
    return known[text.lower()]


_FROM_TEXT: Final[dict[str, Callable[[str], object]]] = {
    "integration_id": _whole_number,
    "member_ids": _whole_numbers,
    "add_observers": _flag,
    "urgent": _flag,
}
