"""A truth table: rows of clock, command and reply, played on a bucket whose interval is exactly 100 ms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.errors import OutcomeUnknown
from worker.health import Sign
from worker.jobs import Lane
from worker.rate_limit import SECOND_US, Limit, Plan
from worker.slots import Reserved

from .desk import START_US, Desk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .desk import Open

STEADY: Final = Plan((Limit(104, 9_750_000, 4, 250_000),))
"""Four tokens, one more every 100 ms."""

TWO_LIMITS: Final = Plan((Limit(41, 750_000, 1, 250_000), Limit(104, 9_750_000, 4, 250_000)))
"""25 ms apart at least, and four tokens, one more every 100 ms."""

HORIZON_US: Final = 100_000

Row = tuple[int, str, str]


def play(open_desk: Open, rows: Sequence[Row], plan: Plan = STEADY) -> None:
    """Plays rows of (clock in ms, command, reply and levels) and fails at the first that differs.

    Commands: `bulk`, `urgent` (`+` behind it: with a ticket), `hit`, `refund N` (the N-th slot of the table, from 1),
    `429`, `429 after S`, `429 to N` (to the call of the N-th slot), `forget`, `restart`, `peek`; how calls end: `well`,
    `answered`, `unwell`, `denied`, `refused` (`from T` behind it: the call went out at T ms); `resume`.
    Replies, in ms from now: `slot in W`, `back in W`; then the tokens, unless the row leaves them out.
    """
    assert STEADY.interval_us == TWO_LIMITS.interval_us == HORIZON_US
    desk = open_desk(plan, horizon_us=HORIZON_US)
    receipts: list[str] = []
    for number, (clock_ms, command, expected) in enumerate(rows, 1):
        desk.now_us = START_US + clock_ms * 1000
        reply = _answer(desk, command, receipts)
        tokens = " ".join(f"{level:g}" for level in desk.bucket.peek().tokens)
        found = f"{reply} | {tokens}".strip() if "|" in expected else reply
        assert found == expected, f"row {number}: at {clock_ms} ms {command!r}: {found!r} is not {expected!r}"


def _health(desk: Desk, sign: Sign, since_ms: int | None) -> str:
    age_us = 0 if since_ms is None else desk.now_us - START_US - since_ms * 1000
    error = None if sign in {Sign.WELL, Sign.ANSWERED} else OutcomeUnknown("no", code=sign.value)
    health = desk.bucket.report(sign, age_us / SECOND_US, error)
    words = [health.level.name.lower()]
    if health.pause_s:
        words.append(f"{health.pause_s:g} s")
    words += ["common"] * health.common + ["changed"] * health.changed
    return " ".join(words)


def _answer(desk: Desk, command: str, receipts: list[str]) -> str:  # noqa: C901, PLR0911 - one per command
    match command.rstrip("+").split():
        case ["bulk" | "urgent" as lane]:
            reply = desk.bucket.acquire(Lane(lane), ticket=command.endswith("+"))
            wait_ms = round(reply.wait_s * SECOND_US) / 1000
            if isinstance(reply, Reserved):
                receipts.append(reply.receipt)
                return f"slot in {wait_ms:g}"
            return f"back in {wait_ms:g}"
        case ["hit"]:
            return "yes" if desk.bucket.hit() else "no"
        case ["refund", slot]:
            return "yes" if desk.bucket.refund(receipts[int(slot) - 1]) else "no"
        case ["429"]:
            return f"pause {desk.bucket.penalty(None):g} s"
        case ["429", "after", seconds]:
            return f"pause {desk.bucket.penalty(float(seconds)):g} s"
        case ["429", "to", slot]:
            return f"pause {desk.bucket.penalty(None, receipts[int(slot) - 1]):g} s"
        case ["well" | "answered" | "unwell" | "denied" | "refused" as sign, *since]:
            return _health(desk, Sign(sign), int(since[1]) if since else None)
        case ["resume"]:
            return "yes" if desk.bucket.resume() else "no"
        case ["forget" | "restart" as what]:
            desk.forget() if what == "forget" else desk.restart()
            return ""
        case ["peek"]:
            return f"slot in {desk.bucket.peek().next_slot_s * 1000:g}"
    raise ValueError(command)
