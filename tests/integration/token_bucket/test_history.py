"""What went out, counted where it is decided: compared with a count over the calls themselves."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import pytest

from worker.history import Most
from worker.jobs import Lane
from worker.rate_limit import SECOND_US, plan_of
from worker.slots import Reserved

from .desk import START_US

if TYPE_CHECKING:
    from .desk import Desk, Open

ACCOUNT: Final = plan_of("50/second;1000/minute")
MINUTE_US: Final = 60 * SECOND_US
HOUR_US: Final = 60 * MINUTE_US


def asks(desk: Desk) -> int | None:
    """When a call goes out, if one does."""
    reply = desk.bucket.acquire(Lane.BULK, ticket=True)
    return desk.now_us + round(reply.wait_s * SECOND_US) if isinstance(reply, Reserved) else None


def history(desk: Desk) -> tuple[Most, Most, int]:
    """The worst second, the worst minute and the number of calls, as told at the desk's time."""
    kept = desk.bucket.history(desk.now_us / SECOND_US)
    return kept.second, kept.minute, kept.calls


def ending(went: list[int], window_us: int) -> int:
    return max(sum(1 for other in went if one - window_us < other <= one) for one in went)


def test_the_worst_second_and_minute_are_those_of_the_calls(open_desk: Open) -> None:
    for seed in range(3):
        desk, dice, went = open_desk(ACCOUNT), random.Random(seed), []
        for _ in range(1500):
            at = asks(desk)
            went += [] if at is None else [at]
            crowded = dice.random() < 0.9
            desk.now_us += dice.randrange(60_000) if crowded else dice.randrange(5 * SECOND_US)
        second, minute, calls = history(desk)
        assert (second.calls, minute.calls, calls) == (ending(went, SECOND_US), ending(went, MINUTE_US), len(went))


def test_a_slot_that_was_given_back_went_not_out(open_desk: Open) -> None:
    desk = open_desk(ACCOUNT)
    desk.now_us += SECOND_US
    asks(desk)
    desk.now_us += SECOND_US
    for _ in range(2):
        reply = desk.bucket.acquire(Lane.BULK, ticket=True)
        desk.now_us += SECOND_US
    assert isinstance(reply, Reserved)
    before = history(desk)[2]
    desk.bucket.refund(reply.receipt)
    assert history(desk)[2] == before - 1


def test_hours_are_kept_for_a_day(open_desk: Open) -> None:
    desk = open_desk(ACCOUNT)
    for _ in range(30):
        asks(desk)
        desk.now_us += HOUR_US
        asks(desk)
    kept = desk.bucket.history(desk.now_us / SECOND_US)
    assert len(kept.hours) == 25, "a day is 24 hours that are over, and the one that is not"
    assert [hour.began_at for hour in kept.hours] == sorted(hour.began_at for hour in kept.hours)
    assert kept.hours[-1].began_at <= desk.now_us / SECOND_US < kept.hours[-1].began_at + 3600
    assert desk.bucket.history(START_US / SECOND_US + 3 * 86_400).calls == 0


def test_what_went_out_in_the_last_ten_minutes_is_kept_in_tens_of_seconds(open_desk: Open) -> None:
    desk, went = open_desk(ACCOUNT), []
    for _ in range(800):
        at = asks(desk)
        went += [] if at is None else [at]
        desk.now_us += SECOND_US
    ten_us = 10 * SECOND_US
    last = desk.now_us // ten_us
    expected = [sum(1 for at in went if at // ten_us == number) for number in range(last - 59, last + 1)]
    assert list(desk.bucket.history(desk.now_us / SECOND_US).tens) == expected


A_MINUTE_AND_TEN_SECONDS: Final = 1000 + 170


def test_memory_is_bounded_by_the_limits(open_desk: Open) -> None:
    desk = open_desk(ACCOUNT)
    for _ in range(3000):
        asks(desk)
        desk.now_us += 61_000
    base = desk.bucket.key.removesuffix("bucket")
    assert desk.store.client.llen(base + "calls") <= A_MINUTE_AND_TEN_SECONDS
    assert 0 < (desk.store.client.memory_usage(base + "calls") or 0) <= 20_000
    assert 0 < (desk.store.client.memory_usage(base + "history") or 0) <= 4_000
    for name in ("calls", "history"):
        assert int(desk.store.client.pttl(base + name)) > 0


def test_an_account_that_made_no_call_has_no_history(open_desk: Open) -> None:
    assert history(open_desk(ACCOUNT)) == (Most(), Most(), 0)


def begin(desk: Desk, minutes: int) -> int:
    """So many minutes of calls that always ask, from ten minutes past a full hour on; how many went out."""
    desk.now_us = (desk.now_us // HOUR_US + 1) * HOUR_US + 10 * MINUTE_US
    return goes_on(desk, minutes * MINUTE_US)


def goes_on(desk: Desk, for_us: int) -> int:
    end, calls = desk.now_us + for_us, 0
    while desk.now_us < end:
        calls += asks(desk) is not None
        desk.now_us += 61_000
    return calls


def test_a_clock_that_steps_back_makes_no_minute_worse_than_it_was(open_desk: Open) -> None:
    """As a failover to a server whose clock is an hour behind does."""
    desk = open_desk(ACCOUNT)
    calls = begin(desk, 2)
    before = desk.bucket.history(desk.now_us / SECOND_US)
    desk.now_us -= HOUR_US
    desk.bucket.acquire(Lane.BULK)
    calls += goes_on(desk, 3 * MINUTE_US) + 1
    after = desk.bucket.history(desk.now_us / SECOND_US)
    assert after.minute.calls == before.minute.calls
    assert after.second.calls <= before.second.calls + 4
    assert after.calls == pytest.approx(calls, abs=3)
    assert desk.store.client.llen(desk.bucket.key.removesuffix("bucket") + "calls") <= A_MINUTE_AND_TEN_SECONDS


def test_an_hour_that_begins_twice_is_one(open_desk: Open) -> None:
    """A second is enough to step back over its beginning."""
    desk = open_desk(ACCOUNT)
    calls = begin(desk, 1)
    calls += goes_on(desk, HOUR_US - desk.now_us % HOUR_US + SECOND_US // 2)
    desk.now_us -= SECOND_US
    calls += goes_on(desk, 5 * SECOND_US)
    kept = desk.bucket.history(desk.now_us / SECOND_US)
    assert kept.calls == calls
    assert sum(kept.tens) == pytest.approx(595 * ACCOUNT.rate_per_s, abs=6 * ACCOUNT.rate_per_s)
    assert kept.minute.calls >= 60 * ACCOUNT.rate_per_s - 10


def test_a_bucket_that_begins_anew_forgets_nothing_that_went_out(open_desk: Open) -> None:
    desk = open_desk(ACCOUNT)
    calls = begin(desk, 1)
    desk.bucket.clear()
    assert history(desk)[2] == calls
    assert not desk.bucket.hit(), "it is empty all the same"
