"""Histories: lists of commands that are given to the bucket and to its twin, reply by reply."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from worker.errors import OutcomeUnknown
from worker.health import Sign
from worker.jobs import Lane
from worker.orders import Orders
from worker.rate_limit import SECOND_US, Limit, Plan, plan_of
from worker.slots import Reserved
from worker.token_bucket import URGENT_IN_A_ROW

from .desk import START_US, Desk
from .twin import Twin

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .desk import Open

PLANS: Final = (
    plan_of("50/second;1000/minute"),
    Plan((Limit(10, SECOND_US, 3, 100_000), Limit(40, 10 * SECOND_US, 5, 100_000))),
    Plan((Limit(1, SECOND_US, 1),)),
    Plan((Limit(30, 3 * SECOND_US, 1), Limit(7, SECOND_US, 3), Limit(1000, 60 * SECOND_US, 4))),
)

COMMANDS: Final = ("wait", "acquire", "hit", "refund", "penalty", "forget", "step back")
HEALTH: Final = (*Sign, "resume", "restart")
ORDERS: Final = ("set", "unset", "hold", "resume")
ORDERED: Final = 10_000
RATES: Final = ("20/second;500/minute", "5/second", "1/second", "100/second;2000/minute")


@dataclass(frozen=True)
class Command:
    """One command.

    Args:
        what: one of COMMANDS, HEALTH or ORDERS.
        us: how long to wait or to step back; the Retry-After, 0 if the server did not say; how long a call took; how
            long an order holds, 0 if for good.
        lane: of an acquire.
        ticket: of an acquire.
        which: which of the receipts to give back, or was answered by 429, counted from the newest; which of RATES.
    """

    what: str
    us: int = 0
    lane: Lane = Lane.BULK
    ticket: bool = False
    which: int = 0


def random_history(seed: int, length: int) -> list[Command]:
    """Mostly crowded, sometimes at rest, rarely struck by a penalty, a loss or a stepping clock.

    Every other one has an API that fails and an account that is refused; from ORDERED on a person gives orders.
    """
    dice = random.Random(seed)
    return [_next_command(dice, seed) for _ in range(length)]


def _next_command(dice: random.Random, seed: int) -> Command:
    if seed >= ORDERED and dice.random() < 0.05:
        us = dice.choice((0, dice.randint(1, 4 * SECOND_US), dice.randint(1, 60 * SECOND_US)))
        return Command(dice.choice(ORDERS), us, which=dice.randrange(len(RATES)))
    return _sick_command(dice) if seed % 2 and dice.random() < 0.4 else _random_command(dice)


def disagreement(desk: Desk, history: Iterable[Command]) -> str | None:
    """The first reply or level in which bucket and twin differ."""
    twin = Twin(desk.plan, desk.horizon_us, URGENT_IN_A_ROW)
    receipts: list[tuple[str, str]] = []
    for number, command in enumerate(history):
        reply, expected = _play(desk, twin, command, receipts)
        if reply != expected:
            return f"{number}: {command}: bucket {reply}, twin {expected}"
        level, expected_level = replace(desk.bucket.peek(), orders=Orders()), twin.peek(desk.now_us)
        if level != expected_level:
            return f"{number}: after {command}: bucket {level}, twin {expected_level}"
        why = desk.bucket.trouble()
        trouble = why and (why.level, why.code, why.probes)
        if trouble != twin.trouble():
            return f"{number}: after {command}: bucket {trouble}, twin {twin.trouble()}"
    return None


def bucket_and_twin_agree(open_desk: Open, *, seeds: int, length: int) -> None:
    """Fails at the first difference over random histories of every plan."""
    for number, plan in enumerate(PLANS):
        first = 100 * number
        for seed in (*range(first, first + seeds), *range(ORDERED + first, ORDERED + first + seeds)):
            found = disagreement(open_desk(plan), random_history(seed, length))
            assert found is None, f"plan {plan}, seed {seed}, {found}"


def _sick_command(dice: random.Random) -> Command:
    what = dice.choices((*HEALTH, "wait"), (24, 5, 50, 10, 2, 1, 1, 20))[0]
    us = dice.choice((0, dice.randint(0, 300_000), dice.randint(0, 3 * SECOND_US)))
    return Command(what, us * (20 if dice.random() < 0.1 else 1))


def _random_command(dice: random.Random) -> Command:
    what = dice.choices(COMMANDS, (30, 45, 10, 12, 2, 0.3, 0.7))[0]
    us = dice.choice((dice.randint(0, 100_000), dice.randint(0, 400_000), dice.randint(0, 20_000), 60_493))
    if what == "penalty":
        us = dice.choice((0, 0, 10_000, 700_000, 3 * SECOND_US))
    elif dice.random() < 0.03:
        us *= 20
    lane = dice.choice((Lane.BULK, Lane.URGENT, Lane.URGENT))
    return Command(what, us, lane, dice.random() < 0.6, min(int(dice.expovariate(1)), 5))


def _play(desk: Desk, twin: Twin, command: Command, receipts: list[tuple[str, str]]) -> tuple[object, object]:
    bucket = desk.bucket
    match command.what:
        case "acquire":
            reply = bucket.acquire(command.lane, ticket=command.ticket)
            expected = twin.acquire(desk.now_us, command.lane, ticket=command.ticket)
            if isinstance(reply, Reserved) and isinstance(expected, Reserved):
                receipts.append((reply.receipt, expected.receipt))
                reply, expected = replace(reply, receipt=""), replace(expected, receipt="")
            return reply, expected
        case "hit":
            return bucket.hit(), twin.hit(desk.now_us)
        case "refund" if command.which < len(receipts):
            receipt, expected_receipt = receipts[-1 - command.which]
            return bucket.refund(receipt), twin.refund(desk.now_us, expected_receipt)
        case "penalty":
            receipt, expected_receipt = receipts[-1 - command.which] if command.which < len(receipts) else ("", "")
            asked_s = command.us / SECOND_US
            return bucket.penalty(asked_s, receipt), twin.penalty(desk.now_us, command.us, expected_receipt)
        case "forget":
            desk.forget()
            twin.forget()
        case "wait":
            desk.now_us += command.us
        case "step back":
            desk.now_us = max(START_US, desk.now_us - command.us)
        case _:
            return _play_health(desk, twin, command)
    return None, None


def _play_health(desk: Desk, twin: Twin, command: Command) -> tuple[object, object]:
    match command.what:
        case Sign() as sign:
            error = OutcomeUnknown("no", code=f"after {command.us}")
            health = desk.bucket.report(sign, command.us / SECOND_US, error)
            return health, twin.report(desk.now_us, sign, command.us, error.code)
        case "set":
            rates, for_us = RATES[command.which % len(RATES)], command.us or None
            plan = plan_of(rates, desk.plan.limits[0].spread_us)
            desk.bucket.set_rates(rates, "somebody", for_us and for_us / SECOND_US)
            twin.set_rates(desk.now_us, plan, for_us)
        case "unset":
            return desk.bucket.unset_rates(), twin.unset_rates(desk.now_us)
        case "hold":
            desk.bucket.hold("somebody", command.us / SECOND_US if command.us else None)
            twin.hold(desk.now_us, command.us or None)
        case "resume":
            return desk.bucket.resume(), twin.resume(desk.now_us)
        case "restart":
            desk.restart()
            twin.restart()
    return None, None
