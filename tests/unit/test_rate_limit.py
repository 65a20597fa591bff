"""The rule C + r(T + D) <= N, and what it is for: no server of any kind refuses a single call."""

from __future__ import annotations

import math
import random
from collections import deque
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from worker.errors import SettingsError
from worker.rate_limit import DEFAULT_SPREAD_US, SECOND_US, Limit, Plan, plan_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MINUTE_US = 60 * SECOND_US

amounts = st.integers(1, 5_000)
windows = st.integers(1, 3_600 * SECOND_US)
spreads = st.integers(0, 10 * SECOND_US)


@given(st.data(), st.integers(2, 5_000), windows, spreads)
def test_every_limit_that_can_be_built_keeps_the_rule(
    data: st.DataObject, amount: int, window_us: int, spread_us: int
) -> None:
    burst = data.draw(st.integers(1, amount - 1))
    limit = Limit(amount, window_us, burst, spread_us)
    assert burst + Fraction(window_us + spread_us, limit.interval_us) <= amount
    # the direction of rounding is all that keeps us from the bound
    if limit.interval_us > 1:
        assert burst + Fraction(window_us + spread_us, limit.interval_us - 1) > amount


@given(windows, spreads)
def test_one_call_per_window_keeps_any_two_arrivals_more_than_two_windows_apart(window_us: int, spread_us: int) -> None:
    limit = Limit.of(1, window_us, spread_us)
    assert (limit.burst, limit.tolerance_us) == (1, 0)
    assert limit.interval_us - spread_us > 2 * window_us


@given(amounts, windows, spreads)
def test_the_chosen_burst_always_fits(amount: int, window_us: int, spread_us: int) -> None:
    limit = Limit.of(amount, window_us, spread_us)
    assert 1 <= limit.burst <= min(4, max(1, amount // 100))
    assert limit.tolerance_us == (limit.burst - 1) * limit.interval_us


@pytest.mark.parametrize(
    ("amount", "window_us", "burst", "spread_us", "says"),
    [
        (1000, MINUTE_US, 1000, 0, "a burst of 1000 does not fit below 1000 calls per window"),
        (1000, MINUTE_US, 1001, 0, "does not fit"),
        (1, MINUTE_US, 2, 0, "does not fit"),
        (1000, MINUTE_US, 0, 0, "does not fit"),
        (0, MINUTE_US, 1, 0, "at least 1 call"),
        (-1, MINUTE_US, 1, 0, "at least 1 call"),
        (5, 0, 1, 0, "at least 1 call"),
        (5, MINUTE_US, 1, -1, "cannot be negative"),
    ],
)
def test_a_limit_that_breaks_the_rule_cannot_be_built(
    amount: int, window_us: int, burst: int, spread_us: int, says: str
) -> None:
    with pytest.raises(SettingsError, match=says):
        Limit(amount, window_us, burst, spread_us)


# --- Servers, each written from its textbook definition, in exact integer microseconds.


class Server(Protocol):
    def allows(self, now_us: int) -> bool: ...


class FixedWindow:
    def __init__(self, amount: int, window_us: int, phase_us: int) -> None:
        self.amount, self.window_us, self.phase_us = amount, window_us, phase_us
        self.window, self.count = -1, 0

    def allows(self, now_us: int) -> bool:
        window = (now_us + self.phase_us) // self.window_us
        if window != self.window:
            self.window, self.count = window, 0
        self.count += 1
        return self.count <= self.amount


class SlidingLog:
    def __init__(self, amount: int, window_us: int, _phase_us: int) -> None:
        self.amount, self.window_us = amount, window_us
        self.log: deque[int] = deque()

    def allows(self, now_us: int) -> bool:
        while self.log and self.log[0] <= now_us - self.window_us:
            self.log.popleft()
        self.log.append(now_us)
        return len(self.log) <= self.amount


class SlidingCounter:
    def __init__(self, amount: int, window_us: int, phase_us: int) -> None:
        self.amount, self.window_us, self.phase_us = amount, window_us, phase_us
        self.window, self.before, self.count = -1, 0, 0

    def allows(self, now_us: int) -> bool:
        window, into_us = divmod(now_us + self.phase_us, self.window_us)
        if window != self.window:
            self.before = self.count if window == self.window + 1 else 0
            self.window, self.count = window, 0
        self.count += 1
        weighted = self.before * (self.window_us - into_us) + self.count * self.window_us
        return weighted <= self.amount * self.window_us


class TokenBucket:
    """In units of 1/window of a token, so that it stays exact."""

    def __init__(self, amount: int, window_us: int, _phase_us: int) -> None:
        self.amount, self.window_us = amount, window_us
        self.level, self.at_us = amount * window_us, 0

    def allows(self, now_us: int) -> bool:
        self.level = min(self.amount * self.window_us, self.level + (now_us - self.at_us) * self.amount)
        self.at_us = now_us
        if self.level < self.window_us:
            return False
        self.level -= self.window_us
        return True


SERVERS: list[Callable[[int, int, int], Server]] = [FixedWindow, SlidingLog, SlidingCounter, TokenBucket]


def refusals(server: Server, arrivals_us: Iterable[int]) -> int:
    return sum(not server.allows(now_us) for now_us in arrivals_us)


def greedy(interval_us: int, tolerance_us: int, calls: int, rests: dict[int, int]) -> list[int]:
    """GCRA's slots for a client that always takes the next one at once, but rests before some calls."""
    slots, tat, now_us = [], 0, 0
    for call in range(calls):
        now_us = max(now_us + rests.get(call, 0), tat - tolerance_us)
        slots.append(now_us)
        tat = max(tat, now_us) + interval_us
    return slots


def arrivals(slots: list[int], spread_us: int, seed: int) -> list[int]:
    """Each call arrives up to the spread late; overtaking is allowed, and the ends of the spread are likely."""
    luck = random.Random(seed)
    return sorted(slot + luck.choice([0, spread_us, luck.randint(0, spread_us)]) for slot in slots)


@pytest.mark.parametrize("server", SERVERS)
@settings(max_examples=100)
@given(
    st.integers(1, 40),
    st.integers(1_000, 100_000),
    st.integers(0, 30_000),
    st.integers(1, 40),
    st.dictionaries(st.integers(0, 150), st.integers(0, 300_000), max_size=4),
    st.integers(0, 100_000),
    st.integers(0, 2**32),
)
@example(1, 1_000, 1_000, 1, {}, 0, 0)
@example(2, 100_000, 30_000, 1, {}, 99_999, 1)
def test_no_server_refuses_a_saturated_schedule(
    server: Callable[[int, int, int], Server],
    amount: int,
    window_us: int,
    spread_us: int,
    burst: int,
    rests: dict[int, int],
    phase_us: int,
    seed: int,
) -> None:
    limit = Limit(amount, window_us, max(1, min(burst, amount - 1)), spread_us)
    slots = greedy(limit.interval_us, limit.tolerance_us, 200, rests)
    assert refusals(server(amount, window_us, phase_us), arrivals(slots, spread_us, seed)) == 0


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("rate", ["50/second", "1000/minute", "1/second", "2/second", "1/minute", "7/10second"])
def test_no_server_refuses_what_is_really_configured(server: Callable[[int, int, int], Server], rate: str) -> None:
    (limit,) = plan_of(rate).limits
    slots = greedy(limit.interval_us, limit.tolerance_us, 5_000, {2_000: 3 * limit.window_us})
    for phase_us in (0, limit.window_us // 3, limit.window_us - 1):
        at_us = arrivals(slots, limit.spread_us, phase_us)
        assert refusals(server(limit.amount, limit.window_us, phase_us), at_us) == 0


@pytest.mark.parametrize("server", SERVERS)
def test_a_bucket_as_large_as_the_limit_is_refused(server: Callable[[int, int, int], Server]) -> None:
    naive = greedy(MINUTE_US // 1000, 999 * (MINUTE_US // 1000), 3_000, {})
    if server is TokenBucket:  # its own kind only refuses it when the first burst is late and the rest is not
        naive = sorted(slot + DEFAULT_SPREAD_US * (call < 1000) for call, slot in enumerate(naive))
    assert refusals(server(1000, MINUTE_US, 0), naive) > 0


def test_a_spread_that_is_configured_too_small_is_refused() -> None:
    limit = Limit(20, SECOND_US, 1, 0)
    slots = greedy(limit.interval_us, limit.tolerance_us, 1_000, {})
    assert refusals(SlidingLog(20, SECOND_US, 0), arrivals(slots, 200_000, 1)) > 0


@given(amounts, st.integers(1_000, MINUTE_US), spreads)
def test_slots_in_steady_flow_are_one_interval_apart(amount: int, window_us: int, spread_us: int) -> None:
    limit = Limit.of(amount, window_us, spread_us)
    slots = greedy(limit.interval_us, limit.tolerance_us, 20, {})
    assert slots.count(0) == limit.burst
    steady = slots[limit.burst - 1 :]
    assert {later - earlier for earlier, later in pairwise(steady)} == {limit.interval_us}


# --- Plans


def test_the_default_plan_uses_99_percent_of_what_is_allowed() -> None:
    plan = plan_of("50/second;1000/minute")
    assert [(limit.amount, limit.window_us, limit.burst) for limit in plan.limits] == [
        (50, SECOND_US, 1),
        (1000, MINUTE_US, 4),
    ]
    assert plan.limits[0].spread_us == DEFAULT_SPREAD_US
    assert 0.99 < plan.rate_per_s / plan.allowed_per_s < 1
    assert math.isclose(plan.allowed_per_s, 1000 / 60)
    assert plan.interval_us == plan.limits[1].interval_us
    assert math.isclose(plan.drain_s(1000), plan.interval_us / 1000)
    assert str(plan) == "50/1s;1000/60s"


def test_the_narrowest_limit_sets_the_speed() -> None:
    plan = plan_of("50/second;10/minute", spread_us=0)
    assert plan.interval_us == plan_of("10/minute", spread_us=0).interval_us == -(-MINUTE_US // 9)
    assert plan.rate_per_s == SECOND_US / plan.interval_us


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(100_000, MINUTE_US)), min_size=1, max_size=3), st.floats(0, 10)
)
def test_no_stretch_of_time_holds_more_slots_than_the_plan_says(rates: list[tuple[int, int]], seconds: float) -> None:
    plan = Plan(tuple(Limit.of(amount, window_us) for amount, window_us in rates))
    most = plan.most_within(seconds)
    found = [greedy(limit.interval_us, limit.tolerance_us, most + 1, {}) for limit in plan.limits]
    assert min(sum(slot <= seconds * SECOND_US for slot in slots) for slots in found) in {most - 1, most}


def test_a_crash_puts_the_calls_of_its_last_five_seconds_in_doubt() -> None:
    assert plan_of("50/second;1000/minute").most_within(5) == 4 + 83
    assert plan_of("1/minute").most_within(5) == 2
    assert plan_of("1000/minute").most_within(0) == 4


@pytest.mark.parametrize("rates", ["", "fast", "50", "50/fortnight", "50 per", ";"])
def test_a_text_that_is_no_list_of_rates_says_how_to_write_one(rates: str) -> None:
    with pytest.raises(SettingsError, match="write it like '50/second;1000/minute'"):
        plan_of(rates)


@pytest.mark.parametrize("rates", ["0/second", "50/second;0/minute"])
def test_a_rate_of_nothing_is_refused(rates: str) -> None:
    with pytest.raises(SettingsError, match=f"^'{rates}' allows no call: each rate needs an amount of at least 1"):
        plan_of(rates)


@pytest.mark.parametrize(
    ("rates", "why"),
    [
        ("1/100 year", "has a rate over more than a year"),
        ("5/second;1/1000000000000 year", "has a rate over more than a year"),
        (";".join(f"{n + 1}/second" for n in range(17)), "at most 16 rates, got 17"),
    ],
)
def test_rates_that_redis_or_no_date_could_hold_are_refused(rates: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        plan_of(rates)
    assert plan_of("1/year;" + ";".join(f"{n + 1}/second" for n in range(15))).rate_per_s > 0


def test_an_account_needs_a_rate() -> None:
    with pytest.raises(SettingsError, match="at least one rate"):
        Plan(())
