"""Follows what people order: a thread of the worker that wakes who waits, opens the gate, and says by whom.

The bucket itself obeys at once, since the orders are where it is decided whether a call may go out. But a job may be
waiting in this process for a slot that comes sooner now, and the gate may believe in a pause that was lifted.
"""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Final, cast

from worker.orders import NO_ORDERS
from worker.rounds import Rounds, going_on
from worker.token_bucket import ORDERS_KEY

if TYPE_CHECKING:
    from worker.bootstrap import AccountDesk, Runtime
    from worker.orders import Order, Orders

log = logging.getLogger(__name__)

EVERY_S: Final = 0.35
"""How often it asks whether something was ordered: one round trip."""


class Steering:
    """What it knows of the orders.

    Args:
        runtime: the worker's belongings.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._told: str | None = None
        self._known: dict[str, Orders] = {}
        self._next_end = -math.inf

    def start(self) -> None:
        """Starts following, in a thread of its own."""
        Rounds("steering", EVERY_S, self._runtime.stopping, self._round).start()

    def _round(self) -> None:
        with going_on(log, "see what was ordered"):
            self.look()

    def look(self) -> None:
        """Asks whether something was ordered, or has ended by itself, and follows it."""
        told, now_s = self._runtime.store.held(self._read)
        if told == self._told and now_s < self._next_end:
            return
        for name, desk in self._runtime.desks.items():
            self._follow(name, desk)
        self._told = told
        ends = [end for orders in self._known.values() if (end := orders.next_end) is not None]
        self._next_end = min(ends, default=math.inf)

    def _read(self) -> tuple[str | None, float]:
        """The last order's mark, and the time on the clock by which orders end: this machine's may be another."""
        client = self._runtime.store.client
        if self._next_end == math.inf:  # nothing will end, so what time it is does not count
            return cast("str | None", client.get(ORDERS_KEY)), 0.0
        pipe = client.pipeline(transaction=False)
        pipe.get(ORDERS_KEY)
        pipe.time()
        told, (seconds, micros) = pipe.execute()
        return told, seconds + micros / 1e6

    def _follow(self, name: str, desk: AccountDesk) -> None:
        level = desk.bucket.peek()
        before = self._known.get(name, NO_ORDERS)
        self._known[name] = level.orders
        if level.orders == before:
            return
        self._runtime.gate.learn(name, level.lines)
        desk.nap.wake()
        for line in said(name, before, level.orders, str(level.plan)):
            log.warning("%s", line)


def said(account: str, before: Orders, now: Orders, plan: str) -> list[str]:
    """What changed, for the log."""
    lines = []
    if now.hold != before.hold:
        lines.append(
            f"account {account} is paused{_by(now.hold)}" if now.hold else f"account {account} is called again"
        )
    if (now.rates, now.set) != (before.rates, before.set):
        whose = _by(now.set) if now.set else ", as configured"
        lines.append(f"the limits of account {account} are {plan}{whose}")
    return lines


def _by(order: Order) -> str:
    until = (
        "" if order.until is None else f" until {time.strftime('%Y-%m-%d %H:%M:%S %z', time.localtime(order.until))}"
    )
    return f"{until}, ordered by {order.by}"
