"""When a job's turn comes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from producers.forecast import CALLS_OF_A_RETRY, USUAL_S, Forecast
from worker.jobs import JobState, Lane
from worker.rate_limit import Plan, plan_of
from worker.records import Progress, Standing
from worker.slots import Lines
from worker.token_bucket import BucketLevel

PLAN: Final = plan_of("50/second;1000/minute")
MINUTE: Final = plan_of("1000/minute")
INTERVAL_S: Final = PLAN.interval_us / 1e6
AT: Final = datetime(2026, 11, 26, tzinfo=UTC)
NOBODY: Final = Standing(urgent=0, bulk=0, retrying=0, took_s=None)
EMPTY: Final = (0.0, 0.0)


def forecast(
    standing: Standing = NOBODY, tokens: tuple[float, ...] = EMPTY, pause_s: float = 0.0, plan: Plan = PLAN
) -> Forecast:
    return Forecast(BucketLevel(0.0, Lines(pause_s, pause_s, pause_s), tokens, plan), standing, AT)


def waits_s(forecast: Forecast, rank: int, lane: Lane = Lane.BULK) -> float:
    starts_at = forecast.starts_at(lane, rank)
    assert starts_at is not None
    return (starts_at - AT).total_seconds()


@pytest.mark.parametrize(
    ("lane", "rank", "urgent", "bulk", "in_front"),
    [
        (Lane.BULK, 0, 0, 0, 0),
        (Lane.BULK, 7, 0, 100, 7),
        (Lane.BULK, 0, 3, 1, 3),
        (Lane.BULK, 0, 100, 1, 9),  # a tenth is bulk's
        (Lane.BULK, 4, 100, 50, 4 + 45),
        (Lane.BULK, 50, 100, 60, 150),
        (Lane.URGENT, 0, 1, 100, 0),
        (Lane.URGENT, 8, 20, 100, 8),
        (Lane.URGENT, 9, 20, 100, 10),
        (Lane.URGENT, 90, 100, 100, 100),
        (Lane.URGENT, 90, 100, 2, 92),
    ],
)
def test_who_goes_first(lane: Lane, rank: int, urgent: int, bulk: int, in_front: int) -> None:
    assert forecast(Standing(urgent, bulk, 0, None)).in_front(lane, rank) == in_front


def test_what_stands_ready_goes_at_once_and_the_rest_at_the_steady_pace() -> None:
    ready = MINUTE.limits[0].burst
    told = forecast(tokens=(float(ready),), plan=MINUTE)
    waits = [waits_s(told, rank) for rank in range(ready + 3)]
    assert waits[:ready] == [0.0] * ready
    assert waits[ready:] == pytest.approx([INTERVAL_S, 2 * INTERVAL_S, 3 * INTERVAL_S])


def test_a_minutes_worth_takes_a_minute() -> None:
    assert waits_s(forecast(), 999) == pytest.approx(1000 * INTERVAL_S)


def test_the_narrowest_limit_decides_at_each_place() -> None:
    """At first the second, which is empty; then the minute."""
    level = (0.0, 4.0)
    second, minute = (limit.interval_us / 1e6 for limit in PLAN.limits)
    assert waits_s(forecast(tokens=level), 0) == pytest.approx(second)
    assert waits_s(forecast(tokens=level), 99) == pytest.approx(96 * minute)


def test_a_pause_is_waited_for_and_fills_the_bucket() -> None:
    told = forecast(tokens=(0.0,), pause_s=30, plan=MINUTE)
    assert waits_s(told, 0) == 30
    assert waits_s(told, MINUTE.limits[0].burst) == pytest.approx(30 + INTERVAL_S)


def test_retries_go_first_as_far_as_they_are_due_before_and_cost_two_calls() -> None:
    many = replace(NOBODY, retrying=100, last_retry_s=60.0)
    assert waits_s(forecast(many), 0) == pytest.approx(INTERVAL_S), "hardly one is due by then"
    assert waits_s(forecast(many), 999) == pytest.approx((1000 + 100 * CALLS_OF_A_RETRY) * INTERVAL_S)
    half = waits_s(forecast(many), 499)
    assert half == pytest.approx((500 + 50 * CALLS_OF_A_RETRY) * INTERVAL_S, rel=0.02)


def test_a_room_is_there_after_the_call() -> None:
    for took_s, expected_s in ((None, USUAL_S), (0.4, 0.4)):
        told = forecast(replace(NOBODY, took_s=took_s))
        starts_at = told.starts_at(Lane.URGENT, 5)
        assert starts_at is not None
        assert told.done_by(Lane.URGENT, 5) == starts_at + timedelta(seconds=expected_s)


def test_all_calls_that_wait_count_for_the_end() -> None:
    told = forecast(Standing(urgent=10, bulk=80, retrying=5, took_s=0.5))
    assert told.empty_in_s() == pytest.approx(100 * INTERVAL_S + 0.5)
    assert forecast().empty_in_s() == 0


def test_the_end_is_not_before_the_last_retry_nor_before_the_last_attempt() -> None:
    assert forecast(Standing(0, 1, 1, 0.5, last_retry_s=40)).empty_in_s() == 40.5
    assert forecast(Standing(0, 0, 0, 0.5, opening=1)).empty_in_s() == 0.5


def test_messages_that_nobody_has_read_take_turns_as_one_more_row() -> None:
    told = forecast(Standing(urgent=3, bulk=100, retrying=0, took_s=0.5, unread_urgent=4, unread_bulk=20))
    assert [told.in_front(Lane.BULK, rank) for rank in (0, 9, 50)] == [1 + 7, 9 + 10 + 7, 50 + 20 + 7]
    assert [told.in_front(Lane.URGENT, rank) for rank in (0, 2, 4)] == [1, 5, 8]
    assert told.empty_in_s() == pytest.approx(127 * INTERVAL_S + 0.5)


def test_retries_that_all_come_soon_are_all_in_front() -> None:
    soon = Standing(0, 1000, 100, 0.5, last_retry_s=3)
    assert waits_s(forecast(soon), 499) == pytest.approx((500 + 100 * CALLS_OF_A_RETRY) * INTERVAL_S)


def progress(**states: int) -> Progress:
    return Progress({state: states.get(state.value, 0) for state in JobState})


def test_a_batch_ends_with_its_last_job() -> None:
    told = forecast(Standing(urgent=1, bulk=100, retrying=1, took_s=0.5, last_retry_s=30, opening=1))
    last = {Lane.URGENT: 0, Lane.BULK: 49}
    by_line = told.done_by(Lane.BULK, 49)
    assert by_line is not None
    assert told.ends_in_s(progress(queued=10), last) == pytest.approx((by_line - AT).total_seconds())
    assert told.ends_in_s(progress(retrying=1), last) == 30.5
    assert told.ends_in_s(progress(opening=1), last) == 0.5
    assert told.ends_in_s(progress(opened=1), last) == 0
    assert replace(told, halted=True).ends_in_s(progress(queued=1), last) is None
    assert replace(told, halted=True).ends_in_s(progress(opened=1), last) == 0


def test_a_retry_goes_out_when_it_is_due_and_the_bucket_has_a_slot() -> None:
    assert forecast().retried_at(AT + timedelta(seconds=9)) == AT + timedelta(seconds=9)
    assert forecast(pause_s=20).retried_at(AT + timedelta(seconds=9)) == AT + timedelta(seconds=20)


def test_nobody_knows_while_the_account_is_not_called() -> None:
    told = replace(forecast(Standing(1, 1, 1, None)), halted=True)
    assert (told.starts_at(Lane.BULK, 0), told.done_by(Lane.BULK, 0), told.empty_in_s()) == (None, None, None)
    assert told.in_front(Lane.BULK, 0) == 1


def test_what_lies_a_century_ahead_is_not_told() -> None:
    """At one call a day; the line of it ends at no date that a computer can hold."""
    told = forecast(Standing(0, 5_000_000, 1, None), plan=plan_of("2/day"), tokens=(0.0,))
    far = 5_000_000
    assert (told.starts_at(Lane.BULK, far), told.done_by(Lane.BULK, far), told.empty_in_s()) == (None, None, None)
    assert told.ends_in_s(progress(queued=1), {Lane.BULK: far}) is None
    assert told.starts_at(Lane.BULK, 0) == AT + timedelta(seconds=told.plan.interval_us * 3 / 1e6)


def test_rates_that_end_by_themselves_are_counted_until_then() -> None:
    slow = plan_of("60/minute")
    for_ten_minutes = replace(forecast(plan=slow, tokens=(0.0,)), later=PLAN, later_in_s=600.0)
    until_then = int(600 * slow.rate_per_s)
    assert waits_s(for_ten_minutes, 99) == waits_s(replace(for_ten_minutes, later=None), 99)
    assert waits_s(for_ten_minutes, 9_999) == pytest.approx(600 + (10_000 - until_then) * INTERVAL_S)
    assert for_ten_minutes.at_limits(slow).empty_in_s() == 0
    assert waits_s(for_ten_minutes.at_limits(slow), 9_999) == pytest.approx(10_000 / slow.rate_per_s)


def test_a_pause_may_outlast_rates_that_end_by_themselves() -> None:
    told = replace(forecast(plan=plan_of("1/hour"), tokens=(0.0,), pause_s=700.0), later=PLAN, later_in_s=600.0)
    assert waits_s(told, 0) == pytest.approx(700 + INTERVAL_S)
