"""Whatever way the server counts: it refuses none of our calls. And it would refuse those of a naive bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from worker.rate_limit import SECOND_US, Limit, Plan

from .safety import (
    ACCOUNT,
    OUTAGES,
    a_bucket_that_was_rolled_back_gives_no_more,
    a_lost_bucket_gives_no_more,
    every_answer_to_a_refund_is_safe,
    no_server_refuses_a_used_slot,
    storm,
)
from .servers import FixedWindow, refusals, refusals_by_model
from .workers import Crew, Simulation

if TYPE_CHECKING:
    from .desk import Open


def test_no_server_refuses_a_used_slot_through_storms(open_desk: Open) -> None:
    no_server_refuses_a_used_slot(open_desk)


def test_used_slots_conform_to_a_fresh_bucket_whatever_is_given_back(open_desk: Open) -> None:
    every_answer_to_a_refund_is_safe(open_desk)


def test_used_slots_conform_to_a_fresh_bucket_whenever_the_state_is_lost(open_desk: Open) -> None:
    a_lost_bucket_gives_no_more(open_desk)


def test_no_server_refuses_a_used_slot_through_outages_suspensions_and_restarts(open_desk: Open) -> None:
    no_server_refuses_a_used_slot(open_desk, troubles=OUTAGES, used=0.1)


def test_used_slots_conform_to_a_fresh_bucket_however_often_it_is_rolled_back(open_desk: Open) -> None:
    a_bucket_that_was_rolled_back_gives_no_more(open_desk)


def test_every_server_refuses_a_bucket_of_capacity_n(open_desk: Open) -> None:
    """The test of the test: the usual bucket, C = N and r = N/T, here 100 per 10 s."""
    naive = Limit(200, 10 * SECOND_US, 100, 0)
    assert naive.interval_us * 100 == 10 * SECOND_US
    desk = open_desk(Plan((naive,)))
    desk.bucket.acquire(lane=Crew(0).lane)
    desk.now_us += 20 * SECOND_US
    log = Simulation(desk, [Crew(40, busy_us=1000)]).run(30)

    found = refusals_by_model([Limit(100, 10 * SECOND_US, 1)], log.arrivals)
    assert found["FixedWindow"] > 50
    assert found["SlidingLog"] > 50
    assert found["SlidingCounter"] > 50


def test_a_spread_larger_than_the_configured_one_is_refused(open_desk: Open) -> None:
    """The bound is tight: calls of one second held back, then let go at a window's start."""
    desk = open_desk(Plan((Limit.of(100, 10 * SECOND_US, spread_us=0),)))
    log = Simulation(desk, [Crew(12)]).run(60)
    window = FixedWindow(100, 10 * SECOND_US)
    start = (desk.now_us // window.window_us - 3) * window.window_us
    held_back = sorted(max(at, start) if start - SECOND_US < at else at for at in log.arrivals)
    assert refusals(FixedWindow(100, 10 * SECOND_US), log.arrivals) == 0
    assert refusals(window, held_back) > 0


def test_twelve_workers_use_at_least_98_5_percent_of_every_minute_from_the_first_on(open_desk: Open) -> None:
    desk = open_desk(ACCOUNT)
    start = desk.now_us
    log = Simulation(desk, [Crew(12)]).run(300)
    for minute in range(5):
        first = start + minute * 60 * SECOND_US
        assert sum(first <= call.slot_us < first + 60 * SECOND_US for call in log.calls) >= 985


def test_dead_workers_and_refunds_cost_only_what_no_limit_could_take_back(open_desk: Open) -> None:
    log = storm(open_desk(ACCOUNT), seconds=60, seed=3, spread_us=0, troubles=None)
    lost = log.given_back - log.taken_back
    assert log.died > 10
    assert log.given_back > 100
    assert lost < 0.25 * log.given_back
    assert (len(log.calls) + lost) / 60 >= 0.985 * ACCOUNT.allowed_per_s
