from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from sandbox import ConfigError, FaultRule, Kind, Sandbox, SandboxConfig
from sandbox.errors import CODES
from sandbox.faults import Faults

if TYPE_CHECKING:
    from collections.abc import Iterator

CREATE = "/incident/war-room/create"
LIST = "/incident/war-room/list"
CREATION = {"incident_id": "a" * 24, "integration_id": 1}


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    with Sandbox(SandboxConfig(rates="100000/second")) as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(shared: Sandbox) -> Sandbox:
    shared.reset()
    return shared


def create(sandbox: Sandbox, timeout_s: float = 5.0) -> httpx.Response:
    url = f"{sandbox.url}{CREATE}?app_key=sandbox-key"
    return httpx.post(url, json=CREATION, timeout=timeout_s, trust_env=False)


def fail(sandbox: Sandbox, kind: str, **rule: object) -> httpx.Response:
    sandbox.add_fault({"kind": kind, "calls": 1} | rule)
    return create(sandbox)


def rooms(sandbox: Sandbox) -> object:
    return sandbox.stats()["rooms"]


def test_a_429_comes_without_retry_after_unless_asked(sandbox: Sandbox) -> None:
    plain = fail(sandbox, "too-frequent")
    assert (plain.status_code, plain.json()["error"]["code"]) == (429, "RequestTooFrequently")
    assert "Retry-After" not in plain.headers
    assert fail(sandbox, "too-frequent", retry_after_s=2.5).headers["Retry-After"] == "3"
    dated = fail(sandbox, "too-frequent", retry_after_s=60, http_date=True).headers["Retry-After"]
    assert timedelta(seconds=50) < parsedate_to_datetime(dated) - datetime.now(UTC) < timedelta(seconds=62)
    assert rooms(sandbox) == 0
    assert create(sandbox).status_code == 200


@pytest.mark.parametrize("code", sorted(CODES.keys() - {"OK"}))
def test_every_documented_code_comes_with_its_status(sandbox: Sandbox, code: str) -> None:
    answer = fail(sandbox, "error", code=code)
    assert (answer.status_code, answer.json()["error"]["code"]) == (CODES[code][0], code)
    assert answer.json()["error"]["message"]
    assert rooms(sandbox) == 0


def test_an_error_can_come_after_the_room_was_made(sandbox: Sandbox) -> None:
    assert fail(sandbox, "error", when="after").status_code == 500
    assert rooms(sandbox) == 1


def test_an_error_can_come_with_status_200_and_a_message_of_ones_own(sandbox: Sandbox) -> None:
    answer = fail(sandbox, "error", code="NoLicense", status=200, message="no")
    assert (answer.status_code, answer.json()["error"]) == (200, {"code": "NoLicense", "message": "no"})


def test_an_error_can_echo_the_url_with_the_key(sandbox: Sandbox) -> None:
    assert "app_key=sandbox-key" in fail(sandbox, "echo").json()["error"]["message"]


def test_a_gateway_answers_html_and_may_echo_the_key(sandbox: Sandbox) -> None:
    page = fail(sandbox, "html")
    assert (page.status_code, page.headers["Content-Type"]) == (504, "text/html")
    assert "app_key" not in page.text
    assert "Flashcat-Request-Id" not in page.headers
    assert "app_key=sandbox-key" in fail(sandbox, "html", status=502, echo_key=True).text
    assert rooms(sandbox) == 0


@pytest.mark.parametrize(("reset", "error"), [(True, httpx.ReadError), (False, httpx.RemoteProtocolError)])
@pytest.mark.parametrize(("when", "made"), [("before", 0), ("after", 1)])
def test_the_connection_is_cut_before_or_after_the_room_is_made(
    sandbox: Sandbox, when: str, made: int, *, reset: bool, error: type[Exception]
) -> None:
    sandbox.add_fault({"kind": "cut", "when": when, "reset": reset})
    with pytest.raises(error):
        create(sandbox)
    stats = sandbox.stats()
    assert (stats["rooms"], stats["by_status"], stats["in_flight"]) == (made, {"cut": 1}, 0)


@pytest.mark.parametrize(("when", "made"), [("before", 0), ("after", 1)])
def test_the_server_hangs_before_or_after_the_room_is_made(sandbox: Sandbox, when: str, made: int) -> None:
    sandbox.add_fault({"kind": "hang", "when": when})
    with pytest.raises(httpx.ReadTimeout):
        create(sandbox, timeout_s=0.1)
    assert (rooms(sandbox), sandbox.stats()["by_status"]) == (made, {"hung": 1})


def test_garbage_comes_after_the_room_was_made_unless_told_otherwise(sandbox: Sandbox) -> None:
    answer = fail(sandbox, "garbage")
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    assert (answer.status_code, rooms(sandbox)) == (200, 1)
    fail(sandbox, "garbage", when="before")
    assert rooms(sandbox) == 1


@pytest.mark.parametrize(
    ("kind", "bent", "made"),
    [
        ("empty-data", {"data": {}}, 0),
        ("null-data", {"data": None}, 1),
        ("no-data", {}, 1),
    ],
)
def test_a_success_can_have_no_room_in_it(sandbox: Sandbox, kind: str, bent: dict[str, Any], made: int) -> None:
    answer = fail(sandbox, kind)
    envelope = answer.json()
    assert envelope.pop("request_id") == answer.headers["Flashcat-Request-Id"]
    assert (answer.status_code, envelope, rooms(sandbox)) == (200, bent, made)


def test_a_success_can_carry_the_code_ok(sandbox: Sandbox) -> None:
    envelope = fail(sandbox, "ok-code").json()
    assert envelope["error"] == {"code": "OK", "message": ""}
    assert envelope["data"]["chat_id"]


def test_a_body_can_be_longer_than_10_mb(sandbox: Sandbox) -> None:
    assert len(fail(sandbox, "over-long").content) > 10 * 1024 * 1024


def test_a_call_that_fails_on_its_own_keeps_its_error(sandbox: Sandbox) -> None:
    sandbox.add_fault({"kind": "null-data"})
    answer = httpx.post(f"{sandbox.url}{CREATE}?app_key=sandbox-key", json={})
    assert answer.json()["error"]["code"] == "InvalidParameter"


def picks(rule: FaultRule, calls: int = 6, *, seed: int = 1, path: str = CREATE, incident: str = "") -> str:
    faults = Faults((rule,), seed)
    return "".join("x" if faults.pick("sandbox", path, incident) else "." for _ in range(calls))


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, "xxxxxx"),
        ({"calls": 2}, "xx...."),
        ({"calls": 2, "skip": 3}, "...xx."),
        ({"probability": 0}, "......"),
        ({"endpoints": CREATE}, "xxxxxx"),
        ({"endpoints": [LIST]}, "......"),
        ({"incident_id": "A" * 24}, "xxxxxx"),
        ({"incident_id": "b" * 24}, "......"),
        ({"account": "sandbox"}, "xxxxxx"),
        ({"account": "other"}, "......"),
    ],
)
def test_a_rule_hits_the_calls_it_names(rule: dict[str, object], expected: str) -> None:
    assert picks(FaultRule.of({"kind": "cut"} | rule), incident="a" * 24) == expected


def test_a_probability_is_seeded() -> None:
    rule = FaultRule(kind=Kind.CUT, probability=0.3)
    first = picks(rule, 2000)
    assert first == picks(rule, 2000) != picks(rule, 2000, seed=2)
    assert 500 < first.count("x") < 700


def test_the_first_rule_that_hits_decides_and_the_next_takes_over(sandbox: Sandbox) -> None:
    sandbox.add_fault({"kind": "error", "code": "NoLicense", "calls": 1}, {"kind": "too-frequent"})
    assert [create(sandbox).status_code for _ in range(3)] == [400, 429, 429]
    assert sandbox.stats()["faults"] == [
        {"kind": "error", "code": "NoLicense", "calls": 1, "fired": 1},
        {"kind": "too-frequent", "fired": 2},
    ]
    sandbox.clear_faults()
    assert create(sandbox).status_code == 200


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("cut", "JSON object"),
        ({}, "kind is one of"),
        ({"kind": "explode"}, "kind is one of"),
        ({"kind": "cut", "often": 1}, "no field often"),
        ({"kind": "cut", "when": "later"}, "when is"),
        ({"kind": "ok-code", "when": "before"}, "needs a real answer"),
        ({"kind": "cut", "endpoints": ["/x"]}, "no endpoint /x"),
        ({"kind": "cut", "endpoints": 7}, "list of paths"),
        ({"kind": "cut", "endpoints": [7]}, "endpoints has the wrong type"),
        ({"kind": "cut", "calls": 0}, "calls is at least 1"),
        ({"kind": "cut", "calls": "1"}, "calls has the wrong type"),
        ({"kind": "cut", "calls": True}, "calls has the wrong type"),
        ({"kind": "cut", "skip": -1}, "skip is not negative"),
        ({"kind": "cut", "probability": 1.5}, "probability lies"),
        ({"kind": "error", "code": "Oops"}, "no documented error code"),
        ({"kind": "error", "status": 99}, "status lies"),
        ({"kind": "cut", "delay_s": -1}, "times are finite"),
        ({"kind": "too-frequent", "retry_after_s": float("inf")}, "times are finite"),
        ({"kind": "too-frequent", "retry_after_s": float("nan")}, "times are finite"),
        ({"kind": "limit-pause"}, "how long the pause is"),
    ],
)
def test_a_wrong_rule_is_refused_in_one_sentence(rule: object, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        FaultRule.of(rule)
