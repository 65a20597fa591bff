"""One HTTP answer -> data or error: a truth table."""

from __future__ import annotations

import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import (
    API_CODES,
    AccessDenied,
    AccountRefused,
    ApiCode,
    FlashdutyError,
    OutcomeUnknown,
    RateLimited,
    RequestRefused,
    hint_for,
)
from worker.flashduty import Flashduty
from worker.flashduty.envelope import retry_after_s
from worker.jobs import WarRoomJob

JOB = WarRoomJob(incident_id="69da451ef77b1b51f40e83ee", integration_id=1)
ROOM = {"chat_id": "oc_a"}
HTML = "<html>504 Gateway Time-out /incident/war-room/create?app_key=k-123</html>"


def outcome(
    status: int, body: object = None, headers: dict[str, str] | None = None, *, max_body_bytes: int = 10_000
) -> object:
    """What `create` makes of this answer: the room's chat_id, or the error."""
    content = body if isinstance(body, str | bytes) else json.dumps(body)
    duty = Flashduty(
        base_url="https://api.test",
        app_key=lambda: "k-123",
        transport=lambda: httpx.MockTransport(lambda _: httpx.Response(status, content=content, headers=headers)),
        max_body_bytes=max_body_bytes,
    )
    try:
        return duty.create(JOB).value.chat_id
    except FlashdutyError as error:
        return error


def failure(
    status: int, body: object = None, headers: dict[str, str] | None = None, max_body_bytes: int = 10_000
) -> FlashdutyError:
    error = outcome(status, body, headers, max_body_bytes=max_body_bytes)
    assert isinstance(error, FlashdutyError)
    return error


@pytest.mark.parametrize(
    "error",
    [None, {}, {"code": ""}, {"code": "0"}, {"code": 0}, {"code": "OK"}, {"code": "ok"}, {"code": None}],
)
@pytest.mark.parametrize("status", [200, 201, 299])
def test_success_is_a_2xx_without_a_failing_code(status: int, error: object) -> None:
    assert outcome(status, {"request_id": "R", "data": ROOM, "error": error}) == "oc_a"


@pytest.mark.parametrize("body", [{"data": ROOM}, {"request_id": "R", "data": ROOM, "new": [1]}])
def test_a_success_needs_neither_error_nor_request_id(body: object) -> None:
    assert outcome(200, body) == "oc_a"


@pytest.mark.parametrize(("code", "row"), [(code, row) for code, row in API_CODES.items() if row.error])
@pytest.mark.parametrize("status", [200, None])
def test_the_code_decides_whatever_the_status(code: str, row: ApiCode, status: int | None) -> None:
    error = failure(status or row.status, {"request_id": "R", "error": {"code": code, "message": "No."}, "data": ROOM})
    assert type(error) is row.error
    assert (error.code, error.message, error.request_id) == (code, "No.", "R")
    assert error.hint == hint_for(code) or isinstance(error, RateLimited)


@pytest.mark.parametrize(
    ("status", "body", "leaf", "code"),
    [
        (200, {"error": {"code": "Brandnew"}}, OutcomeUnknown, "Brandnew"),
        (400, {"error": {"code": "Brandnew"}}, RequestRefused, "Brandnew"),
        (401, {"error": {"code": "Brandnew"}}, AccountRefused, "Brandnew"),
        (500, {"error": {"code": "OK"}, "data": ROOM}, OutcomeUnknown, "NoCode"),
        (403, {"request_id": "R"}, AccessDenied, "NoCode"),
        (405, {"request_id": "R"}, AccountRefused, "NoCode"),
        (423, {"error": {"code": "RequestLocked"}}, AccountRefused, "RequestLocked"),
        (502, {"data": None}, OutcomeUnknown, "NoCode"),
        (200, {"error": {"code": ["x"]}}, OutcomeUnknown, "?"),
        (403, {"message": "Forbidden"}, OutcomeUnknown, "NotJson"),
        (200, {"chat_id": "oc_a"}, OutcomeUnknown, "NotJson"),
        (200, {}, OutcomeUnknown, "NotJson"),
        (200, {"data": ROOM, "error": "boom"}, OutcomeUnknown, "NotJson"),
        (200, {"data": ROOM, "error": ["boom"]}, OutcomeUnknown, "NotJson"),
        (200, [ROOM], OutcomeUnknown, "NotJson"),
        (200, "ok", OutcomeUnknown, "NotJson"),
        (200, "", OutcomeUnknown, "NotJson"),
        (204, "", OutcomeUnknown, "NotJson"),
        (401, HTML, OutcomeUnknown, "NotJson"),
        (504, HTML, OutcomeUnknown, "NotJson"),
        (200, b"\xff\xfe\x00", OutcomeUnknown, "NotJson"),
        (200, "[" * 5000, OutcomeUnknown, "NotJson"),
        (200, '{"data": ' * 900 + "1" + "}" * 900, OutcomeUnknown, "NotJson"),
        (429, HTML, RateLimited, "TooManyRequests"),
        (429, "", RateLimited, "TooManyRequests"),
        (429, {"error": {"code": "OK"}}, RateLimited, "TooManyRequests"),
        (429, {"error": {"code": "InternalError"}}, RateLimited, "InternalError"),
        (429, "x" * 10_001, RateLimited, "TooManyRequests"),
        (301, "", AccountRefused, "Redirected"),
        (307, {"data": ROOM}, AccountRefused, "Redirected"),
        (308, HTML, AccountRefused, "Redirected"),
        (200, "x" * 10_001, OutcomeUnknown, "BodyTooLarge"),
        (500, "x" * 10_001, OutcomeUnknown, "BodyTooLarge"),
    ],
)
def test_every_other_answer_has_its_leaf(status: int, body: object, leaf: type[FlashdutyError], code: str) -> None:
    error = failure(status, body)
    assert (type(error), error.code, error.status) == (leaf, code, status)
    assert "app_key" not in str(error) + error.hint


def test_a_body_of_exactly_the_limit_is_read() -> None:
    body = json.dumps({"data": ROOM}).ljust(100)
    assert outcome(200, body, max_body_bytes=100) == "oc_a"
    assert failure(200, body, max_body_bytes=99).code == "BodyTooLarge"


def test_the_limit_holds_for_what_a_compressed_body_becomes() -> None:
    import gzip  # noqa: PLC0415

    error = failure(200, gzip.compress(b" " * 20_000), {"Content-Encoding": "gzip"})
    assert error.code == "BodyTooLarge"


def test_a_redirect_is_not_followed_and_its_target_not_shown() -> None:
    error = failure(302, "", {"Location": "https://evil.test/"})
    assert "evil" not in str(error)
    assert "FLASHDUTY_BASE_URL" in error.hint


@pytest.mark.parametrize(
    ("body", "header", "request_id"),
    [
        ({"request_id": "BODY", "error": {"code": "BadRequest"}}, "HEADER", "BODY"),
        ({"error": {"code": "BadRequest"}}, "HEADER", "HEADER"),
        (HTML, "HEADER", "HEADER"),
        ({"request_id": "x\nINFO forged", "error": {}}, "", "x INFO forged"),
        ({"request_id": "x" * 200, "error": {}}, "", "x" * 99 + "…"),
        ({"request_id": {"a": 1}, "error": {}}, "", "?"),
    ],
)
def test_the_request_id_comes_from_the_body_else_from_the_header(body: object, header: str, request_id: str) -> None:
    assert failure(500, body, {"Flashcat-Request-Id": header} if header else {}).request_id == request_id


def test_a_message_is_one_short_line() -> None:
    error = failure(400, {"error": {"code": "BadRequest", "message": "a\r\n\x1b[31mb " + "c" * 1000}})
    assert error.message.startswith("a [31mb ccc")
    assert len(error.message) == 300


def test_half_a_surrogate_pair_cannot_break_what_stores_the_text() -> None:
    error = failure(400, '{"error": {"code": "BadRequest", "message": "\\ud800"}}')
    assert error.message.encode() == b"?"


DATE = "Wed, 21 Oct 2015 07:28:00 GMT"
NOW = 1445412480.0  # that date


@pytest.mark.parametrize(
    ("text", "date", "seconds"),
    [
        ("30", None, 30.0),
        ("0", None, 0.0),
        ("1.5", None, 1.5),
        (" 7 ", None, 7.0),
        ("3601", None, 3600.0),
        ("9" * 400, None, 3600.0),
        ("-1", None, None),
        ("+1", None, None),
        ("1e3", None, None),
        ("inf", None, None),
        ("nan", None, None),
        ("soon", None, None),
        ("", None, None),
        ("1, 2", None, None),
        ("٣", None, None),
        ("Wed, 21 Oct 2015 07:28:20 GMT", None, 20.0),
        ("Wed, 21 Oct 2015 07:27:20 GMT", None, None),
        ("Wed, 21 Oct 2015 09:28:20 GMT", None, 3600.0),
        ("Wed, 21 Oct 2015 07:28:20 GMT", "Wed, 21 Oct 2015 07:28:15 GMT", 5.0),
        ("Wed, 21 Oct 2015 07:28:20 GMT", "yesterday", 20.0),
        (DATE, DATE, 0.0),
        ("Wed, 99 Oct 2015 07:28:20 GMT", None, None),
        ("Wed, 21 Oct 99999 07:28:20 GMT", None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_at_most_an_hour(
    text: str, date: str | None, seconds: float | None
) -> None:
    headers = {"Retry-After": text} | ({"Date": date} if date else {})
    assert retry_after_s(headers, NOW) == seconds


def test_no_retry_after_is_none() -> None:
    assert retry_after_s(httpx.Headers(), NOW) is None


@given(st.text(max_size=40))
def test_any_retry_after_is_understood_or_ignored(text: str) -> None:
    seconds = retry_after_s({"Retry-After": text}, NOW)
    assert seconds is None or 0 <= seconds <= 3600


@pytest.mark.parametrize("status", [429, 503, 504])
def test_an_error_carries_what_the_server_asked_to_wait(status: int) -> None:
    assert failure(status, HTML, {"Retry-After": "12"}).retry_after_s == 12.0


@given(st.integers(200, 599), st.binary(max_size=60))
def test_any_status_and_body_end_in_a_leaf(status: int, body: bytes) -> None:
    assert isinstance(outcome(status, body), FlashdutyError)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just(ROOM),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "error", "code", "message", "request_id", "items", "chat_id"]), inner
        )
    ),
    max_leaves=8,
)


@given(st.sampled_from([200, 400, 429, 500]), JSON)
def test_any_json_ends_in_a_room_or_a_leaf(status: int, body: object) -> None:
    assert isinstance(outcome(status, json.dumps(body)), str | FlashdutyError)
