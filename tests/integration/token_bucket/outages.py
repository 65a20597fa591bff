"""Accounts that are down or suspended, and what must hold while they are and after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.errors import AccountRefused, OutcomeUnknown
from worker.health import Health, Level, Sign
from worker.jobs import Lane
from worker.rate_limit import SECOND_US, plan_of
from worker.slots import Reserved

from .safety import ACCOUNT, BURSTY, SINGLE
from .servers import slots_that_break_the_bucket
from .workers import Crew, Simulation

if TYPE_CHECKING:
    from .desk import Desk, Open

FAILURES: Final = 5
RAMP_S: Final = 10
SLOW: Final = plan_of("10/minute")

TIMEOUT: Final = OutcomeUnknown("no answer", code="Timeout", hint="is the API up?", request_id="r1")
NO_KEY: Final = AccountRefused("who are you?", code="Unauthorized", status=401, hint="check the key", request_id="r2")


def goes_down(desk: Desk) -> Health:
    """Calls fail until the API counts as down."""
    return [desk.bucket.report(Sign.UNWELL, 1, TIMEOUT) for _ in range(FAILURES)][-1]


def is_suspended(desk: Desk) -> Health:
    """A call is refused."""
    return desk.bucket.report(Sign.REFUSED, 1, NO_KEY)


def probe(desk: Desk) -> str:
    """Waits for the next probe's time and takes its slot; the receipt."""
    desk.now_us += round(desk.bucket.peek().next_slot_s * SECOND_US)
    reply = desk.bucket.acquire(Lane.BULK)
    assert isinstance(reply, Reserved)
    assert reply.level >= Level.DOWN
    desk.now_us += round(reply.wait_s * SECOND_US)
    return reply.receipt


def recovers(desk: Desk) -> None:
    """The next probe succeeds."""
    probe(desk)
    desk.now_us += SECOND_US // 2
    assert desk.bucket.report(Sign.WELL, 0.5, None).level is Level.WELL


def traffic_comes_back_on_a_ramp(open_desk: Open) -> None:
    """Never faster than at other times, slowly at first, at full speed after ten seconds."""
    for plan in (ACCOUNT, BURSTY, SINGLE, SLOW):
        desk = open_desk(plan)
        desk.bucket.hit()
        desk.now_us += 60 * SECOND_US
        goes_down(desk)
        recovers(desk)
        back_us = desk.now_us
        slots = [call.slot_us for call in Simulation(desk, [Crew(12)]).run(70).calls]
        assert slots_that_break_the_bucket(plan, slots) == 0

        def calls_between(start_s: float, end_s: float, slots: list[int] = slots, back_us: int = back_us) -> int:
            return sum(back_us + start_s * SECOND_US <= slot < back_us + end_s * SECOND_US for slot in slots)

        ramp, full = RAMP_S * plan.rate_per_s, 60 * plan.rate_per_s
        assert calls_between(0, RAMP_S) <= 0.35 * ramp + 1
        assert calls_between(0, RAMP_S / 2) <= 0.5 * calls_between(0, RAMP_S) + 1
        assert calls_between(RAMP_S, RAMP_S + 60) >= 0.985 * full - 1


def a_well_bucket_is_small(open_desk: Open) -> None:
    """What an outage or a suspension wrote is removed when it is over."""
    for trouble in (goes_down, is_suspended):
        desk = open_desk(ACCOUNT)
        desk.bucket.acquire(Lane.BULK)
        fields = set(desk.state())
        trouble(desk)
        assert fields < set(desk.state())
        recovers(desk)
        desk.now_us += RAMP_S * SECOND_US
        desk.bucket.acquire(Lane.BULK)
        assert set(desk.state()) <= fields | {"w", "v", "z", "e", "x"}, "what went out is counted"
        assert 0 < (desk.store.client.memory_usage(desk.bucket.key) or 0) <= 400
