"""Limits, pauses and latencies with a clock that the test sets."""

from __future__ import annotations

import json

import pytest

from sandbox import FaultRule, Kind, SandboxConfig
from sandbox.api import CREATE
from sandbox.envelope import Reply
from sandbox.gateway import Gateway
from sandbox.models import MODELS
from sandbox.state import State

S = 1_000_000
BODY = json.dumps({"incident_id": "a" * 24, "integration_id": 1}).encode()


class Desk:
    """A gateway with a clock one can set."""

    def __init__(self, config: SandboxConfig) -> None:
        self.clock_us = 50 * S
        self.state = State(config, lambda: self.clock_us)
        self.gateway = Gateway(self.state)

    def call(self, key: str = "sandbox-key", path: str = CREATE) -> Reply:
        call = self.gateway.arrive("POST", f"{path}?app_key={key}", "application/json")
        reply = self.gateway.decide(call, BODY).carry_out()
        assert isinstance(reply, Reply)
        call.settle(reply)
        call.leave()
        return reply


@pytest.mark.parametrize("model", list(MODELS))
def test_every_model_lets_the_amount_through_and_refuses_the_next(model: str) -> None:
    desk = Desk(SandboxConfig(model=model, rates="3/second"))
    assert [desk.call().status for _ in range(5)] == [200, 200, 200, 429, 429]
    desk.clock_us += 10 * S
    assert desk.call().status == 200


def test_all_keys_of_an_account_share_its_limit_and_other_accounts_have_their_own() -> None:
    desk = Desk(SandboxConfig(app_keys={"k1": "a", "k2": "a", "k3": "b"}, rates="2/second"))
    assert [desk.call(key).status for key in ("k1", "k2", "k1", "k3")] == [200, 200, 429, 200]
    accounts = desk.state.stats()["accounts"]
    assert isinstance(accounts, dict)
    assert {name: one["refusals"] for name, one in accounts.items()} == {"a": 1, "b": 0}


def test_an_account_sees_its_own_rooms_only() -> None:
    desk = Desk(SandboxConfig(app_keys={"k1": "a", "k2": "b"}))
    chat_id = json.loads(desk.call("k1").body)["data"]["chat_id"]
    assert json.loads(desk.call("k2", "/incident/war-room/list").body)["data"] == {"items": []}
    assert desk.state.backend.rooms.in_chat("a", chat_id) is not None
    assert desk.state.backend.rooms.in_chat("b", chat_id) is None
    assert desk.state.stats()["duplicates"] == 0


def test_every_endpoint_spends_from_the_same_limit() -> None:
    desk = Desk(SandboxConfig(rates="2/second"))
    paths = [CREATE, "/incident/war-room/list", "/datasource/im/war-room-enabled/list"]
    assert [desk.call(path=path).status for path in paths] == [200, 200, 429]


def test_calls_turned_away_by_route_or_key_spend_nothing() -> None:
    desk = Desk(SandboxConfig(rates="1/second"))
    assert desk.call(path="/nowhere").status == 404
    assert desk.call(key="wrong").status == 401
    assert desk.call().status == 200


@pytest.mark.parametrize(("form", "header"), [("none", None), ("seconds", "1")])
def test_a_refusal_says_how_long_to_wait_only_if_asked(form: str, header: str | None) -> None:
    desk = Desk(SandboxConfig(rates="1/second", retry_after=form))
    desk.call()
    assert dict(desk.call().headers).get("Retry-After") == header


def test_a_pause_refuses_every_call_until_it_is_over_and_counts_them() -> None:
    desk = Desk(SandboxConfig(app_keys={"k1": "a", "k2": "b"}))
    desk.state.pause(3, "a")
    desk.clock_us += 3 * S - 1
    paused = desk.call("k1")
    assert (paused.status, dict(paused.headers)) == (429, {"Retry-After": "1"})
    assert desk.call("k2").status == 200
    desk.clock_us += 1
    assert desk.call("k1").status == 200
    assert desk.state.stats()["arrivals_in_pause"] == 1
    assert desk.state.stats()["refusals"] == 0


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    desk = Desk(SandboxConfig())
    desk.state.pause(10)
    desk.state.pause(1)
    desk.clock_us += 9 * S
    assert desk.call().status == 429


def test_a_limit_pause_fault_begins_a_pause_which_does_not_count_its_own_trigger() -> None:
    desk = Desk(SandboxConfig(faults=(FaultRule(kind=Kind.LIMIT_PAUSE, calls=1, skip=1, retry_after_s=5),)))
    replies = [desk.call() for _ in range(4)]
    assert [reply.status for reply in replies] == [200, 429, 429, 429]
    assert [dict(reply.headers).get("Retry-After") for reply in replies] == [None, "5", "5", "5"]
    assert desk.state.stats()["arrivals_in_pause"] == 2
    desk.clock_us += 5 * S
    assert desk.call().status == 200


def test_latency_is_for_accepted_calls_only() -> None:
    desk = Desk(SandboxConfig(rates="1/second", latency="constant:2"))
    delays = []
    for target in (f"{CREATE}?app_key=sandbox-key", f"{CREATE}?app_key=sandbox-key", CREATE):
        call = desk.gateway.arrive("POST", target, "application/json")
        delays.append(desk.gateway.decide(call, BODY).delay_s)
    assert delays == [2.0, 0.0, 0.0]


def test_a_call_does_not_show_its_key() -> None:
    desk = Desk(SandboxConfig())
    call = desk.gateway.arrive("POST", f"{CREATE}?app_key=sandbox-key", "application/json")
    assert "sandbox-key" not in repr(desk.gateway.decide(call, BODY))


def test_a_reset_begins_again() -> None:
    desk = Desk(SandboxConfig(rates="1/second"))
    desk.call()
    desk.state.change_keys(revoke=["sandbox-key"])
    desk.state.pause(100)
    desk.state.reset()
    assert desk.call().status == 200
    stats = desk.state.stats()
    assert (stats["arrivals"], stats["rooms"]) == (1, 1)


def test_a_call_that_a_reset_overtakes_stays_in_the_old_books() -> None:
    desk = Desk(SandboxConfig())
    call = desk.gateway.arrive("POST", f"{CREATE}?app_key=sandbox-key", "application/json")
    deed = desk.gateway.decide(call, BODY)
    desk.state.reset()
    deed.carry_out()
    call.leave()
    stats = desk.state.stats()
    assert (stats["arrivals"], stats["rooms"], stats["in_flight"]) == (0, 0, 0)
