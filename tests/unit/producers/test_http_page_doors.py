"""Who gets through the status page's doors: wrong tokens by address, forms by their origin."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from producers.http.attempts import AT_ONCE, EVERY_S, MOST, Attempts
from producers.http.form import is_ours


@dataclass
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def attempts(clock: Clock) -> Attempts:
    return Attempts(clock)


def test_a_few_wrong_tokens_cost_no_wait_then_each_costs_its_time(attempts: Attempts, clock: Clock) -> None:
    for _ in range(AT_ONCE):
        assert attempts.wait_s("10.0.0.1") == 0
        attempts.wrong("10.0.0.1")
    assert attempts.wait_s("10.0.0.1") == EVERY_S
    clock.now_s += EVERY_S
    assert attempts.wait_s("10.0.0.1") == 0
    attempts.wrong("10.0.0.1")
    assert attempts.wait_s("10.0.0.1") == EVERY_S


def test_nobody_else_waits(attempts: Attempts) -> None:
    for _ in range(100):
        attempts.wrong("10.0.0.1")
    assert attempts.wait_s("10.0.0.2") == 0
    assert attempts.wait_s("::ffff:10.0.0.2") == 0
    assert attempts.wait_s("2001:db8::1") == 0


def test_an_ipv6_network_is_one_address(attempts: Attempts) -> None:
    for number in range(AT_ONCE):
        attempts.wrong(f"2001:db8::{number}")
    assert attempts.wait_s("2001:db8::ffff") == EVERY_S
    assert attempts.wait_s("2001:db8:0:1::1") == 0


def test_it_remembers_no_more_addresses_than_it_may(attempts: Attempts) -> None:
    for number in range(MOST + 10):
        attempts.wrong(f"host-{number}")
    assert len(attempts._paid_s) == MOST


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({}, True),
        ({"sec-fetch-site": "same-origin", "origin": "null", "host": "a"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "same-site", "origin": "http://a", "host": "a"}, False),
        ({"sec-fetch-site": "cross-site", "origin": "null"}, False),
        ({"origin": "https://a.example:8443", "host": "a.example:8443"}, True),
        ({"origin": "https://b.example", "host": "a.example"}, False),
        ({"origin": "null", "host": "a"}, True),
    ],
)
def test_a_form_of_another_site_is_none_of_ours(headers: dict[str, str], *, ours: bool) -> None:
    assert is_ours(headers) is ours
