"""Stormy histories, and what must hold over all of them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from worker.health import Sign
from worker.jobs import Lane
from worker.rate_limit import SECOND_US, Limit, Plan, plan_of
from worker.slots import Reserved

from .servers import refusals_by_model, slots_that_break_the_bucket
from .workers import Crew, Log, Simulation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .desk import Desk, Open

ACCOUNT: Final = plan_of("50/second;1000/minute")
BURSTY: Final = Plan((Limit(12, SECOND_US, 4, 100_000), Limit(60, 10 * SECOND_US, 10, 100_000)))
TROUBLES: Final = ("rest", "rest", "penalty", "blind penalty", "forget", "step back", "nothing")
OUTAGES: Final = (*TROUBLES, *("well",) * 5, "unwell", "refused", "denied", "restart", "restart", "resume")

SINGLE: Final = Plan((Limit(1, SECOND_US, 1, 100_000),))


def storm(desk: Desk, *, seconds: float, seed: int, spread_us: int, troubles: Sequence[str] | None = TROUBLES) -> Log:
    """Workers of both lanes give slots back, die, rest and return at once, under penalties, loss and clock steps."""
    dice = random.Random(seed)
    crews = (
        Crew(9, busy_us=40_000, late_us=30_000, spread_us=spread_us, unused=0.15, dies=0.02),
        Crew(3, lane=Lane.URGENT, busy_us=150_000, spread_us=spread_us, unused=0.3),
    )
    simulation = Simulation(desk, crews, seed)
    end = desk.now_us + round(seconds * SECOND_US)
    while desk.now_us < end:
        simulation.run(dice.uniform(0.2, 9))
        if troubles:
            _trouble(dice, desk, simulation, dice.choice(troubles))
    return simulation.log


def no_server_refuses_a_used_slot(
    open_desk: Open, *, seconds: float = 60, seeds: int = 2, troubles: Sequence[str] = TROUBLES, used: float = 0.2
) -> None:
    """Fails if any model of a server refuses an arrival, or a fresh bucket a used slot."""
    for plan, spread_us in ((ACCOUNT, 250_000), (BURSTY, 100_000), (SINGLE, 100_000)):
        for seed in range(seeds):
            log = storm(open_desk(plan), seconds=seconds, seed=seed, spread_us=spread_us, troubles=troubles)
            assert len(log.calls) > used * seconds * plan.rate_per_s
            assert log.taken_back > 0
            found = refusals_by_model(plan.limits, log.arrivals)
            assert not any(found.values()), f"{plan}, seed {seed}: {found}"
            slots = [call.slot_us for call in log.calls]
            assert slots_that_break_the_bucket(plan, slots) == 0, f"{plan}, seed {seed}"


def every_answer_to_a_refund_is_safe(open_desk: Open, *, rounds: int = 60) -> None:
    """Short dense histories in which half the slots are given back, some twice, all in random order."""
    plan = Plan((Limit(9, SECOND_US, 3, 100_000),))
    desk = open_desk(plan)
    for seed in range(rounds):
        dice = random.Random(seed)
        desk.bucket = desk.another()
        held: list[tuple[int, str]] = []
        for _ in range(40):
            desk.now_us += dice.choice((0, 30_000, plan.interval_us, 300_000))
            reply = desk.bucket.acquire(Lane.BULK, ticket=True)
            if isinstance(reply, Reserved):
                held.append((desk.now_us + round(reply.wait_s * SECOND_US), reply.receipt))
            if held and dice.random() < 0.5:
                given_back = dice.choice(held[-4:])
                held.remove(given_back)
                for _ in range(dice.choice((1, 2))):
                    desk.bucket.refund(given_back[1])
        assert slots_that_break_the_bucket(plan, [slot for slot, _ in held]) == 0, f"seed {seed}"


def a_lost_bucket_gives_no_more(open_desk: Open, *, rounds: int = 30) -> None:
    """The state is lost while the bucket is full, spent, and while slots lie ahead; everybody asks all the time."""
    plan = Plan((Limit(9, SECOND_US, 3, 100_000),))
    for seed in range(rounds):
        dice = random.Random(seed)
        desk = open_desk(plan)
        slots: list[int] = []
        for _ in range(3):
            desk.now_us += dice.choice((SECOND_US, plan.interval_us))
            for _ in range(12):
                desk.now_us += dice.choice((0, 0, 20_000, 60_000))
                reply = desk.bucket.acquire(Lane.BULK, ticket=True)
                if isinstance(reply, Reserved):
                    slots.append(desk.now_us + round(reply.wait_s * SECOND_US))
            desk.forget()
            desk.bucket.hit()
        assert slots_that_break_the_bucket(plan, slots) == 0, f"seed {seed}"


def a_bucket_that_was_rolled_back_gives_no_more(open_desk: Open, *, rounds: int = 60) -> None:
    """Redis restarts with a state of up to 2 s ago, over and over, amid refunds and penalties; everybody asks."""
    plan = Plan((Limit(9, SECOND_US, 3, 100_000),))
    for seed in range(rounds):
        dice = random.Random(seed)
        desk = open_desk(plan)
        held: list[tuple[int, str]] = []
        for _ in range(4):
            snapshot, crash_us = desk.on_disk(), desk.now_us + dice.randint(0, 2 * SECOND_US)
            while desk.now_us < crash_us:
                _ask_or_give_back(dice, desk, held)
                desk.now_us += dice.choice((0, 0, 20_000, 60_000, 300_000))
            desk.roll_back(snapshot)
            for _ in range(dice.randint(0, 12)):
                _ask_or_give_back(dice, desk, held)
                desk.now_us += dice.choice((0, 0, 20_000, 60_000))
        assert slots_that_break_the_bucket(plan, [slot for slot, _ in held]) == 0, f"seed {seed}"


def _ask_or_give_back(dice: random.Random, desk: Desk, held: list[tuple[int, str]]) -> None:
    reply = desk.bucket.acquire(Lane.BULK, ticket=True)
    if isinstance(reply, Reserved):
        held.append((desk.now_us + round(reply.wait_s * SECOND_US), reply.receipt))
    if held and dice.random() < 0.3:
        given_back = dice.choice(held[-4:])
        held.remove(given_back)
        desk.bucket.refund(given_back[1])
    if dice.random() < 0.02:
        desk.bucket.penalty(dice.choice((0, 0.3, 1)))


def _trouble(dice: random.Random, desk: Desk, simulation: Simulation, trouble: str) -> None:
    match trouble:
        case "rest":
            simulation.rest(dice.uniform(0.1, 3))
        case "penalty":
            desk.bucket.penalty(dice.uniform(0, 4))
        case "blind penalty":
            desk.bucket.penalty(None)
        case "forget":
            desk.forget()
        case "step back":
            desk.skew_us -= dice.randint(1, 20 * SECOND_US)
        case "restart":
            snapshot = desk.on_disk()
            simulation.run(dice.uniform(0, 2))
            desk.roll_back(snapshot)
        case "resume":
            desk.bucket.resume()
        case "well" | "unwell" | "refused" | "denied":
            simulation.ends = Sign(trouble)
