"""What people order, on a clock you set: it holds at once, for everybody, and no window is exceeded on the change."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from worker.jobs import Lane
from worker.orders import Order, Orders
from worker.rate_limit import SECOND_US, plan_of
from worker.slots import NotYet, Reserved
from worker.token_bucket import ORDERS_KEY, Resumed

from .desk import START_US

if TYPE_CHECKING:
    from worker.rate_limit import Plan

    from .desk import Desk, Open

ACCOUNT: Final = plan_of("50/second;1000/minute")
SLOWER: Final = "20/second;500/minute"
START_S: Final = START_US / SECOND_US


def calls(desk: Desk, seconds: float) -> list[int]:
    """When calls go out in so many seconds, if somebody always asks; in us."""
    end, went = desk.now_us + round(seconds * SECOND_US), []
    while desk.now_us < end:
        reply = desk.bucket.acquire(Lane.BULK, ticket=True)
        if isinstance(reply, Reserved):
            went.append(desk.now_us + round(reply.wait_s * SECOND_US))
        desk.now_us += max(1000, min(round(reply.wait_s * SECOND_US), 20_000))
    return went


def most_within(went: list[int], window_us: int) -> int:
    return max((sum(1 for other in went if one <= other < one + window_us) for one in went), default=0)


def test_rates_hold_from_the_next_question_on_and_for_every_caller(open_desk: Open) -> None:
    desk = open_desk(ACCOUNT)
    other = desk.another()
    other.key, other.orders_key = desk.bucket.key, desk.bucket.orders_key
    calls(desk, 5)
    desk.bucket.set_rates(SLOWER, "ann")
    plan = plan_of(SLOWER)
    for bucket in (desk.bucket, other):
        assert bucket.peek().plan == plan
        assert bucket.acquire(Lane.BULK).lines.interval_s == plan.interval_us / SECOND_US
    assert len(calls(desk, 60)) == pytest.approx(60 * plan.rate_per_s, abs=3)


@pytest.mark.parametrize(("first", "then"), [("1000/minute", "500/minute"), ("500/minute", "1000/minute")])
def test_no_window_is_exceeded_on_the_change(open_desk: Open, first: str, then: str) -> None:
    desk = open_desk(ACCOUNT)
    desk.bucket.set_rates(first, "ann")
    before = calls(desk, 90)
    desk.bucket.set_rates(then, "ann")
    after = calls(desk, 90)
    assert most_within(before + after, 60 * SECOND_US) <= 1000
    assert most_within(after, 60 * SECOND_US) <= plan_of(then).limits[0].amount
    assert len(after) >= 0.98 * 90 * plan_of(then).rate_per_s


def test_switching_to_and_fro_gains_nothing(open_desk: Open) -> None:
    desk = open_desk(ACCOUNT)
    went = []
    for turn in range(40):
        desk.bucket.set_rates(("1000/minute", "900/minute", "50/second;1000/minute")[turn % 3], "ann")
        went += calls(desk, 2)
    assert most_within(went, 60 * SECOND_US) <= 1000
    assert most_within(went, SECOND_US) <= 50


def test_rates_end_by_themselves(open_desk: Open) -> None:
    desk = open_desk(ACCOUNT)
    desk.bucket.set_rates(SLOWER, "ann", for_s=10)
    orders = desk.bucket.peek().orders
    assert orders == Orders(SLOWER, Order("ann", START_S, START_S + 10))
    assert orders.next_end == START_S + 10
    desk.now_us += 10 * SECOND_US
    assert (desk.bucket.peek().plan, desk.bucket.peek().orders) == (ACCOUNT, Orders())
    assert len(calls(desk, 60)) == pytest.approx(60 * ACCOUNT.rate_per_s, abs=3)


def test_rates_are_taken_back(open_desk: Open) -> None:
    desk = open_desk(ACCOUNT)
    assert not desk.bucket.unset_rates()
    desk.bucket.set_rates(SLOWER, "ann")
    assert desk.bucket.unset_rates()
    assert desk.bucket.peek().plan == ACCOUNT


def test_a_paused_account_gives_no_slot_until_it_is_resumed(open_desk: Open) -> None:
    desk = open_desk(ACCOUNT)
    calls(desk, 2)
    desk.bucket.hold("ann")
    reply = desk.bucket.acquire(Lane.URGENT)
    assert isinstance(reply, NotYet)
    assert reply.lines.held
    assert calls(desk, 5) == []
    assert not desk.bucket.hit()
    assert desk.bucket.peek().orders == Orders(hold=Order("ann", START_S + 2))
    assert desk.bucket.resume() == Resumed(halted=False, held=True)
    assert not desk.bucket.resume()
    assert len(calls(desk, 1)) >= ACCOUNT.rate_per_s - 1, "nobody keeps a place behind the pause"


def test_a_pause_ends_by_itself(open_desk: Open) -> None:
    desk = open_desk(ACCOUNT)
    calls(desk, 2)
    desk.bucket.hold("ann", for_s=3)
    assert desk.bucket.peek().lines.pause_s == 3
    assert calls(desk, 2.8) == []
    assert len(calls(desk, 1.3)) >= ACCOUNT.rate_per_s - 1
    assert desk.bucket.peek().orders == Orders()


def test_a_pause_of_the_api_outlives_a_resume(open_desk: Open) -> None:
    desk = open_desk(ACCOUNT)
    desk.bucket.penalty(30)
    desk.bucket.hold("ann")
    desk.bucket.resume()
    assert desk.bucket.peek().lines == replace(desk.bucket.peek().lines, pause_s=30, held=False)


def test_orders_outlive_a_bucket_that_is_lost(open_desk: Open) -> None:
    desk = open_desk(ACCOUNT)
    desk.bucket.set_rates(SLOWER, "ann")
    desk.forget()
    assert desk.bucket.peek().plan == plan_of(SLOWER)


def test_whoever_orders_says_so_to_the_workers(open_desk: Open) -> None:
    desk = open_desk(ACCOUNT)
    redis = desk.store.client
    told = {redis.get(ORDERS_KEY)}
    for order in (
        lambda: desk.bucket.set_rates(SLOWER, "ann"),
        lambda: desk.bucket.hold("ann"),
        desk.bucket.unset_rates,
        desk.bucket.resume,
        lambda: redis.delete(ORDERS_KEY),  # an empty Redis
        lambda: desk.bucket.hold("ann"),
    ):
        order()
        told.add(redis.get(ORDERS_KEY))
    assert len(told) == 6, "None, and one for each order"
    assert int(redis.ttl(ORDERS_KEY)) > 0


@pytest.mark.parametrize(
    ("rates", "broken"),
    [
        ("50/second;1000/minute", None),
        ("1000/minute", None),
        ("1/minute", None),
        ("20/second;500/minute", None),
        ("10/second", None),
        ("17/second", None),
        ("20/second", None),
        ("22/second", "1000/60s"),
        ("80/second;900/minute", None),
        ("80/second", "50/1s"),
        ("50/second;1001/minute", "1000/60s"),
        ("60000/hour", "1000/60s"),
    ],
)
def test_rates_that_the_api_may_refuse_are_known(rates: str, broken: str | None) -> None:
    found = plan_of(rates).breaks(ACCOUNT)
    assert (None if found is None else str(found)) == broken


def allows(plan: Plan) -> str | None:
    found = plan.breaks(plan_of("1/minute"))
    return None if found is None else str(found)


def test_one_call_per_window_is_kept_by_slots_far_enough_apart() -> None:
    assert [allows(plan_of(rates)) for rates in ("1/minute", "1/hour", "2/minute")] == [None, None, "1/60s"]


def test_what_somebody_else_wrote_is_obeyed_within_ten_seconds(open_desk: Open) -> None:
    """An earlier version of ours, a backup, or a person with a client of Redis."""
    desk = open_desk(ACCOUNT)
    calls(desk, 5)
    desk.store.client.hset(desk.bucket.orders_key, "hold_until", "resumed")
    assert desk.bucket.peek().lines.held, "at once for who looks"
    desk.now_us += 10 * SECOND_US
    assert isinstance(desk.bucket.acquire(Lane.BULK), NotYet)
    assert desk.bucket.resume().held
