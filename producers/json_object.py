"""Text -> the JSON object in it, more strictly than json does: each name once, no NaN, no endless depth."""

from __future__ import annotations

import json
from typing import Final, NoReturn

from producers.parsing import shown
from worker.errors import InvalidJob


def json_object(
    text: str, expected: str = "the body is one object", example: str = '{"incident_id": "…"}'
) -> dict[str, object]:
    """The object.

    Args:
        text: JSON.
        expected: what a person is told who sent something that is no JSON.
        example: what a person is shown who sent something else than an object.

    Raises:
        InvalidJob: it is no JSON, or something else than an object.
    """
    try:
        record = _JSON.decode(text)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if error.lineno > 1 else ""
        why = f"is not JSON: {error.msg} ({line}column {error.colno}); {expected}"
    except RecursionError:
        why = f"is nested too deep; send a flat object like {example}"
    except ValueError:  # int() refuses more than sys.get_int_max_str_digits()
        why = "has a number with thousands of digits"
    else:
        if isinstance(record, dict):
            return record
        why = f"must be an object like {example}, got {shown(record)}"
    raise InvalidJob(why)


def tolerant_object(body: bytes) -> dict[str, object]:
    """The object in a body of somebody else's making: what nobody reads in it may be as strange as it likes.

    Raises:
        InvalidJob: it is no JSON, or something else than an object.
    """
    try:
        record = json.loads(body.decode("utf-8-sig", "replace"), parse_int=_any_number)
    except json.JSONDecodeError as error:
        why = f"is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
    except RecursionError:
        why = "is nested too deep"
    else:
        if isinstance(record, dict):
            return record
        why = f"must be an object, got {shown(record)}"
    raise InvalidJob(why)


def _any_number(text: str) -> float:
    return int(text) if len(text) <= _LONGEST_DIGITS else float(text)


_LONGEST_DIGITS: Final = 100


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        seen = set[str]()
        for name, _ in pairs:
            if name in seen:
                raise InvalidJob(f"{shown(name)} stands twice in the object")
            seen.add(name)
    return fields


def _no_constant(name: str) -> NoReturn:
    raise InvalidJob(f"is not JSON: {name} is no JSON number")


def _number(text: str) -> float:
    """JSON knows numbers, not integers: 7.0 and 7e0 are the whole number 7."""
    number = float(text)
    return int(number) if number.is_integer() and abs(number) <= _EXACT else number


_EXACT: Final = 2.0**53

_JSON: Final = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_number)
