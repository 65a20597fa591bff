"""The table of the API's codes and the tree of errors: complete, and each leaf says what to do."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker import errors
from worker.errors import (
    API_CODES,
    OWN_CODES,
    SUCCESS_CODES,
    AccessDenied,
    AccountRefused,
    FlashdutyError,
    NextStep,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    RequestRefused,
    RoomGone,
    WarroomsError,
    error_for,
    hint_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

# Flashduty's OpenAPI, `ErrorCode`, with the HTTP status it documents for each.
CODES = {
    "OK": 200,
    "InvalidParameter": 400,
    "BadRequest": 400,
    "InvalidContentType": 400,
    "ResourceNotFound": 400,
    "NoLicense": 400,
    "ReferenceExist": 400,
    "Unauthorized": 401,
    "BalanceNotEnough": 402,
    "AccessDenied": 403,
    "RouteNotFound": 404,
    "MethodNotAllowed": 405,
    "UndonedOrderExist": 409,
    "EntityTooLarge": 413,
    "RequestLocked": 423,
    "RequestVerifyRequired": 428,
    "DangerousOperation": 428,
    "RequestTooFrequently": 429,
    "InternalError": 500,
    "ServiceUnavailable": 503,
}


def family(error: type[WarroomsError]) -> Iterator[type[WarroomsError]]:
    yield error
    for child in error.__subclasses__():
        yield from family(child)


LEAVES = [leaf for leaf in family(FlashdutyError) if not leaf.__subclasses__()]


def test_the_table_has_exactly_the_20_codes_of_the_api() -> None:
    assert len(CODES) == 20
    assert {code: row.status for code, row in API_CODES.items()} == CODES


def test_the_codes_of_our_own_are_those_in_the_sources() -> None:
    worker = Path(errors.__file__).parent
    python = "\n".join(file.read_text(encoding="utf-8") for file in worker.rglob("*.py"))
    lua = "\n".join(file.read_text(encoding="utf-8") for file in worker.rglob("*.lua"))
    found = re.findall(r'code="(\w+)"|fail\.code or "(\w+)"|fail\.of\(\w+, "(\w+)"', python)
    codes = {name for names in found for name in names if name} | set(re.findall(r"'code', '([A-Z]\w+)'", lua))
    assert codes == OWN_CODES
    assert not codes & API_CODES.keys()


def test_only_ok_is_no_error() -> None:
    assert [code for code, row in API_CODES.items() if row.error is None] == ["OK"]
    assert {"", "0", "ok"} == SUCCESS_CODES


@pytest.mark.parametrize("code", [*CODES, "", "Brandnew"])
def test_every_code_with_every_status_has_a_leaf(code: str) -> None:
    for status in range(100, 600):
        assert error_for(code, status) in LEAVES


@pytest.mark.parametrize("code", [code for code in CODES if code != "OK"])
def test_a_documented_code_decides_whatever_the_status(code: str) -> None:
    assert {error_for(code, status) for status in range(100, 600)} == {API_CODES[code].error}


@pytest.mark.parametrize(
    ("code", "leaf"),
    [
        ("Unauthorized", AccountRefused),
        ("BalanceNotEnough", AccountRefused),
        ("NoLicense", AccountRefused),
        ("RouteNotFound", AccountRefused),
        ("MethodNotAllowed", AccountRefused),
        ("RequestLocked", AccountRefused),
        ("AccessDenied", AccessDenied),
        ("ResourceNotFound", RequestRefused),
        ("RequestTooFrequently", RateLimited),
        ("InternalError", OutcomeUnknown),
        ("ServiceUnavailable", OutcomeUnknown),
    ],
)
def test_what_no_job_can_help_suspends_and_what_a_job_can_help_does_not(code: str, leaf: type[FlashdutyError]) -> None:
    assert error_for(code, API_CODES[code].status) is leaf


def test_whatever_suspends_the_account_says_what_a_person_can_do() -> None:
    suspends = [code for code, row in API_CODES.items() if row.error in {AccountRefused, AccessDenied}]
    assert all(hint_for(code) for code in suspends)


@given(st.text(max_size=20), st.integers())
def test_any_code_with_any_status_has_a_leaf(code: str, status: int) -> None:
    assert error_for(code, status) in LEAVES
    assert isinstance(hint_for(code), str)


@pytest.mark.parametrize(
    ("status", "leaf"),
    [
        (200, OutcomeUnknown),
        (302, RequestRefused),
        (400, RequestRefused),
        (401, AccountRefused),
        (402, AccountRefused),
        (403, AccessDenied),
        (404, RequestRefused),
        (405, AccountRefused),
        (408, OutcomeUnknown),
        (409, RequestRefused),
        (423, RequestRefused),
        (428, RequestRefused),
        (429, RateLimited),
        (499, RequestRefused),
        (500, OutcomeUnknown),
        (502, OutcomeUnknown),
        (503, OutcomeUnknown),
        (504, OutcomeUnknown),
        (599, OutcomeUnknown),
    ],
)
def test_without_a_known_code_the_status_decides(status: int, leaf: type[FlashdutyError]) -> None:
    assert error_for("Brandnew", status) is leaf
    assert error_for("", status) is leaf


@pytest.mark.parametrize(
    ("leaf", "step"),
    [
        (RateLimited, NextStep.WAIT),
        (NotSent, NextStep.RETRY),
        (OutcomeUnknown, NextStep.LOOK_FIRST),
        (RequestRefused, NextStep.GIVE_UP),
        (AccessDenied, NextStep.RETRY_FEW),
        (AccountRefused, NextStep.SUSPEND),
        (RoomGone, NextStep.GIVE_UP),
    ],
)
def test_each_leaf_says_what_to_do_next(leaf: type[FlashdutyError], step: NextStep) -> None:
    assert leaf.next_step is step
    assert leaf in LEAVES


def test_the_drawn_tree_is_the_tree() -> None:
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__ or ""))
    ours = {error for error in family(WarroomsError) if error.__module__ == errors.__name__}
    assert drawn == {error.__name__ for error in ours} - {"WarroomsError"}


def an_error(leaf: type[FlashdutyError]) -> FlashdutyError:
    return leaf("no", code="C", status=400, request_id="R", retry_after_s=1.5, hint="h")


def test_an_error_reads_as_one_sentence() -> None:
    assert str(an_error(RequestRefused)) == "C (HTTP 400): no"
    assert str(NotSent("no route", code="NotConnected")) == "NotConnected: no route"


@pytest.mark.parametrize("leaf", LEAVES)
def test_an_error_survives_pickling_and_copying(leaf: type[FlashdutyError]) -> None:
    error = an_error(leaf)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own bytes
        assert type(twin) is leaf
        assert vars(twin) == vars(error)
        assert str(twin) == str(error)
