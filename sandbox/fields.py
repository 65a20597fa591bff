"""Reading a request body's fields; each reader raises InvalidParameter with the field's name."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from sandbox.errors import invalid

if TYPE_CHECKING:
    from sandbox.envelope import JsonObject

INT64_MAX: Final = 2**63 - 1
_OBJECT_ID: Final = re.compile(r"[0-9a-fA-F]{24}")


def json_value(body: bytes) -> object:
    """The body's JSON; nothing at all counts as `{}`, which official clients send for empty requests.

    Raises:
        ApiError: InvalidParameter, the body is no JSON.
    """
    if not body:
        return {}
    try:
        value: object = json.loads(body)
    except (ValueError, RecursionError):
        raise invalid("body") from None
    return value


def json_object(body: bytes) -> JsonObject:
    """The body as a JSON object.

    Raises:
        ApiError: InvalidParameter, the body is no JSON object.
    """
    value = json_value(body)
    if not isinstance(value, dict):
        raise invalid("body")
    return value


def object_id(body: JsonObject, name: str) -> str:
    """A required MongoDB ObjectID: 24 hexadecimal digits."""
    value = body.get(name)
    if not isinstance(value, str) or not _OBJECT_ID.fullmatch(value):
        raise invalid(name)
    return value


def integer(body: JsonObject, name: str, *, default: int | None = None, least: int = 0, most: int = INT64_MAX) -> int:
    """An int64 between two bounds; required unless there is a default. A JSON `true` or `1.0` is none."""
    value = body.get(name)
    if value is None and default is not None:
        return default
    if type(value) is not int or not least <= value <= most:
        raise invalid(name)
    return value


def integers(body: JsonObject, name: str, *, required: bool = False) -> tuple[int, ...]:
    """A list of int64; empty if absent and not required."""
    value = body.get(name)
    if value is None and not required:
        return ()
    if not isinstance(value, list) or (required and not value):
        raise invalid(name)
    if any(type(item) is not int or not 0 <= item <= INT64_MAX for item in value):
        raise invalid(name)
    return tuple(value)


def texts(body: JsonObject, name: str) -> tuple[str, ...]:
    """A list of strings; empty if absent."""
    value = body.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or any(not isinstance(item, str) for item in value):
        raise invalid(name)
    return tuple(value)


def text(body: JsonObject, name: str, *, required: bool = False) -> str:
    """A string; empty if absent and not required."""
    value = body.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or (required and not value):
        raise invalid(name)
    return value


def flag(body: JsonObject, name: str) -> bool:
    """A boolean; false if absent."""
    value = body.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise invalid(name)
    return value


def choices(body: JsonObject, name: str, allowed: frozenset[str]) -> frozenset[str]:
    """A comma-separated string of allowed words; empty if absent, which means no filter."""
    words = frozenset(word.strip() for word in text(body, name).split(",") if word.strip())
    if not words <= allowed:
        raise invalid(name)
    return words
