"""Nobody starves, nothing is asked too often, and dead workers stop nobody: simulated workers in virtual time."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from worker.jobs import Lane
from worker.rate_limit import SECOND_US
from worker.slots import NotYet

from .safety import ACCOUNT
from .workers import Crew, Simulation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .desk import Open
    from .workers import Call

SLOT_S = ACCOUNT.interval_us / SECOND_US


def waits_s(calls: Sequence[Call]) -> list[float]:
    """How long each used slot was waited for, sorted."""
    return sorted((call.slot_us - call.asked_us) / SECOND_US for call in calls)


def p99(values: Sequence[float]) -> float:
    return values[int(len(values) * 0.99)]


def longest_gap_s(calls: Sequence[Call]) -> float:
    return max(later.slot_us - earlier.slot_us for earlier, later in pairwise(calls)) / SECOND_US


def saturated(calls: Sequence[Call], seconds: float) -> bool:
    return len(calls) / seconds >= 0.985 * ACCOUNT.allowed_per_s


def test_twelve_waiting_workers_ask_about_twice_per_call_and_are_served_in_turn(open_desk: Open) -> None:
    log = Simulation(open_desk(ACCOUNT), [Crew(12)]).run(120)
    assert saturated(log.calls, 120)
    assert log.questions_per_call <= 2.2
    assert waits_s(log.calls)[-1] <= 14 * SLOT_S
    asked = [call.asked_us for call in sorted(log.calls, key=lambda call: call.slot_us)]
    overtaken = sum(later < earlier for earlier, later in pairwise(asked))
    assert overtaken <= 0.01 * len(asked)


def test_late_workers_lose_nothing(open_desk: Open) -> None:
    log = Simulation(open_desk(ACCOUNT), [Crew(12, late_us=60_000)]).run(60)
    assert saturated(log.calls, 60)
    assert log.questions_per_call <= 2.2


def test_workers_that_die_with_a_ticket_cost_next_to_nothing(open_desk: Open) -> None:
    log = Simulation(open_desk(ACCOUNT), [Crew(12, dies=0.1)]).run(60)
    assert log.died > 80
    assert saturated(log.calls, 60)


def test_dead_lines_cost_no_more_than_fifteen_seconds(open_desk: Open) -> None:
    desk = open_desk(ACCOUNT)
    for lane in Lane:
        for _ in range(500):
            desk.bucket.acquire(lane)
    log = Simulation(desk, [Crew(6, lane=Lane.URGENT), Crew(6)]).run(90)
    lost_s = 90 - len(log.calls) / (0.985 * ACCOUNT.allowed_per_s)
    assert lost_s <= 15
    assert waits_s(log.of(Lane.URGENT))[-1] <= 17


def test_a_dead_bulk_line_does_not_delay_urgent(open_desk: Open) -> None:
    desk = open_desk(ACCOUNT)
    for _ in range(500):
        desk.bucket.acquire(Lane.BULK)
    log = Simulation(desk, [Crew(12, lane=Lane.URGENT)]).run(60)
    assert len(log.calls) / 60 >= 0.96 * ACCOUNT.allowed_per_s
    assert waits_s(log.calls)[-1] < 2


def test_an_urgent_job_waits_a_few_slots_behind_a_saturated_bulk_line(open_desk: Open) -> None:
    crews = [Crew(64), Crew(1, lane=Lane.URGENT, busy_us=700_000)]
    log = Simulation(open_desk(ACCOUNT), crews).run(120)
    assert saturated(log.calls, 120)
    assert p99(waits_s(log.of(Lane.URGENT))) <= 0.25
    assert log.questions_per_call <= 2.2


def test_an_urgent_flood_leaves_bulk_a_tenth(open_desk: Open) -> None:
    for bulk, urgent in ((12, 12), (1, 12), (2, 60)):
        log = Simulation(open_desk(ACCOUNT), [Crew(bulk), Crew(urgent, lane=Lane.URGENT)]).run(60)
        assert saturated(log.calls, 60)
        assert 0.09 <= len(log.of(Lane.BULK)) / len(log.calls) <= 0.11
        assert longest_gap_s(log.of(Lane.BULK)) <= 13 * SLOT_S
        assert longest_gap_s(log.of(Lane.URGENT)) <= 2.2 * SLOT_S


def test_everybody_resumes_after_a_pause_and_nobody_during_it(open_desk: Open) -> None:
    desk = open_desk(ACCOUNT)
    simulation = Simulation(desk, [Crew(12), Crew(3, lane=Lane.URGENT, busy_us=400_000)])
    simulation.run(20)
    paused_us = desk.now_us
    desk.bucket.penalty(30)
    log = simulation.run(60)
    escaped = [call for call in log.calls if paused_us <= call.slot_us < paused_us + 30 * SECOND_US]
    after = [call for call in log.calls if call.slot_us >= paused_us + 30 * SECOND_US]
    assert len(escaped) <= 3
    assert after[0].slot_us - paused_us == 30 * SECOND_US + ACCOUNT.interval_us
    assert saturated(after, 30)


def test_whoever_is_sent_away_is_never_sent_away_for_less_than_a_millisecond(open_desk: Open) -> None:
    desk = open_desk(ACCOUNT)
    for step in range(300):
        desk.now_us += step * 37
        reply = desk.bucket.acquire(Lane.URGENT if step % 3 else Lane.BULK, ticket=step % 2 == 0)
        if isinstance(reply, NotYet):
            assert reply.wait_s >= 0.001
