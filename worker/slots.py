"""Waiting for a slot: ask the bucket, sleep once, and measure whether we woke in time. No clock or sleep of its own."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from worker.clock import elapsed_s
from worker.errors import NoMoreSlots
from worker.health import Health, Level, Sign, sign_of
from worker.telemetry import SILENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.errors import FlashdutyError
    from worker.jobs import Lane
    from worker.records import Claim
    from worker.telemetry import Telemetry

log = logging.getLogger(__name__)

_GOOD: Final = frozenset({Sign.WELL, Sign.ANSWERED})

LATE_IN_A_ROW: Final = 3
"""So many late awakenings for one job are no accident."""

FENCE_S: Final = 4.0
"""A call that has not left this long after its slot came never will: half of the silence after which a worker is dead.

That it came in time is checked when it comes, and guards the limit; this is checked when the first byte leaves and
guards against a process that was stopped in between. Connecting may take its time.
"""

LONGEST_HOLD_S: Final = 10.0
"""A job is held in a worker through no pause longer than this: it goes back to its line and the gate waits for it.

Without a pause it is held, however slow the account: who hands a job back loses its place, and would ask again at once.
"""


@dataclass(frozen=True, slots=True)
class Lines:
    """How long a newcomer would wait in each lane, and how long the account is paused; in seconds.

    Args:
        urgent_s: in the urgent lane.
        bulk_s: in the bulk lane.
        pause_s: what is left of the pause; a day if a person paused it until it is resumed.
        interval_s: between two slots in steady flow; None if the reply did not say.
        held: whether a person paused the account.
    """

    urgent_s: float
    bulk_s: float
    pause_s: float
    interval_s: float | None = None
    held: bool = False


@dataclass(frozen=True, slots=True)
class Reserved:
    """A slot is ours: sleep `wait_s` once, then send. `receipt` gives it back if it is not used."""

    wait_s: float
    receipt: str
    lines: Lines
    level: Level = Level.WELL


@dataclass(frozen=True, slots=True)
class NotYet:
    """No slot within the horizon: come back in `wait_s`, with a ticket."""

    wait_s: float
    lines: Lines
    level: Level = Level.WELL


@dataclass(frozen=True, slots=True)
class Taken:
    """A job in hand, and what the bucket said when its first slot was asked for; None if it was not asked."""

    claim: Claim
    answer: Reserved | NotYet | None


@dataclass(frozen=True, slots=True)
class First:
    """An answer that is there already, and when it was asked for, in monotonic seconds."""

    asked_at: float
    answer: Reserved | NotYet


@dataclass(frozen=True, slots=True)
class Asking:
    """How to ask for a slot: called with whether an answer sent us; `first` is the answer to begin with."""

    ask: Callable[[bool], Reserved | NotYet]
    first: First | None = None


class Bucket(Protocol):
    """The part of TokenBucket that waiting needs."""

    def acquire(self, lane: Lane, *, ticket: bool = False) -> Reserved | NotYet:
        """Asks for the next slot."""

    def refund(self, receipt: str) -> bool:
        """Gives an unused slot back."""

    def penalty(self, retry_after_s: float | None, receipt: str) -> float:
        """Pauses the account."""

    def report(self, sign: Sign, age_s: float, error: FlashdutyError | None) -> Health:
        """Tells how a call ended that went out `age_s` ago."""


@dataclass(frozen=True, slots=True)
class Slot:
    """The right to make one call now.

    Args:
        receipt: gives it back if it is not used.
        waited_s: how long it took to come.
        came_at: when it came, in monotonic seconds.
    """

    receipt: str
    waited_s: float
    came_at: float = field(default=math.inf, compare=False)

    @property
    def fence_at(self) -> float:
        """When the call must not leave any more, in monotonic seconds: its job may have been taken over."""
        return self.came_at + FENCE_S


class Slots:
    """The slots of one account, for the tasks of this process.

    Args:
        bucket: the account's shared bucket.
        spread_s: D in seconds; a worker that wakes later than half of it gives its slot back and asks again.
        sleep: waits so many seconds; True if the worker is stopping.
        learn: told what every reply says about the lines (the gate listens).
        clock: seconds that never go back (worker.clock).
        account: whose slots they are, for `telemetry`.
        telemetry: told how long slots were waited for, and how late the worker was.
    """

    def __init__(
        self,
        bucket: Bucket,
        *,
        spread_s: float,
        sleep: Callable[[float], bool],
        learn: Callable[[Lines], None] = lambda _lines: None,
        clock: Callable[[], float] = elapsed_s,
        account: str = "",
        telemetry: Telemetry = SILENT,
    ) -> None:
        self._bucket = bucket
        self._latest_s = spread_s / 2
        self._sleep = sleep
        self._learn = learn
        self._clock = clock
        self._account = account
        self._telemetry = telemetry
        self._well = True  # what this process knows; while it is so, good ends need not be told

    def now(self) -> float:
        """Monotonic seconds, of the clock by which slots are judged."""
        return self._clock()

    def take(self, lane: Lane, asking: Asking | None = None, asked: Callable[[], None] = lambda: None) -> Slot:
        """Waits until the next call of the account may go out.

        Args:
            lane: the job's line.
            asking: asks in another way than by the bucket alone, and may have an answer already.
            asked: called once the bucket has been asked, before any waiting.

        Raises:
            NoMoreSlots: the worker is stopping, or the account is paused for long.
            QueueUnavailable: Redis is away and the worker does not hold any longer.
        """
        asking = asking or Asking(lambda ticket: self._bucket.acquire(lane, ticket=ticket))
        first = asking.first
        began = self._clock() if first is None else first.asked_at
        ticket, late = False, 0
        while True:
            if first is None:
                asked_at = self._clock()
                reply = asking.ask(ticket)
            else:
                asked_at, reply, first = first.asked_at, first.answer, None
            self._learn(reply.lines)
            self._well = reply.level is Level.WELL
            asked()
            if isinstance(reply, Reserved):
                send_by = asked_at + reply.wait_s + self._latest_s
                if self._woke_by(send_by, reply):
                    now = self._clock()
                    self._telemetry.slot_came(self._account, lane, now - began, now - send_by + self._latest_s)
                    return Slot(reply.receipt, now - began, now)
                late += 1
                self._telemetry.slot_late(self._account)
                self._slow_down(late)
            elif reply.lines.held:
                raise NoMoreSlots("a person has paused the account")
            elif reply.lines.pause_s > LONGEST_HOLD_S:
                raise NoMoreSlots(f"the account is paused for another {reply.lines.pause_s:.0f} s")
            elif self._sleep(reply.wait_s):
                raise NoMoreSlots("this worker is stopping")
            ticket = True

    def give_back(self, slot: Slot) -> None:
        """Returns a slot that was not used."""
        self._bucket.refund(slot.receipt)

    def pause(self, slot: Slot, retry_after_s: float | None) -> float:
        """Pauses the account for every worker after a 429 to this slot's call; the seconds that are left of it."""
        left_s = self._bucket.penalty(retry_after_s, slot.receipt)
        self._learn(Lines(left_s, left_s, left_s))
        return left_s

    def report(self, slot: Slot, error: FlashdutyError | None = None, *, done: bool = True) -> Health:
        """Tells the account's health how the call of this slot ended; what that makes of the account."""
        sign = sign_of(error, done=done)
        if sign is None or (sign in _GOOD and self._well):
            return Health()
        health = self._bucket.report(sign, max(0.0, self._clock() - slot.came_at), error)
        self._well = health.level is Level.WELL
        if health.pause_s or health.changed:
            self._learn(Lines(health.pause_s, health.pause_s, health.pause_s))
        if health.changed:
            _say(self._account, health, error)
        return health

    def _woke_by(self, send_by: float, reserved: Reserved) -> bool:
        # The slot lies between asked + wait and now + wait: sleep by the later, judge by the earlier.
        stopping = self._sleep(reserved.wait_s) if reserved.wait_s > 0 else False
        if not stopping and self._clock() <= send_by:
            return True
        self._bucket.refund(reserved.receipt)
        if stopping:
            raise NoMoreSlots("this worker is stopping")
        return False

    def _slow_down(self, late: int) -> None:
        """A machine that never wakes in time must not spin on the bucket; and somebody should know."""
        if late < LATE_IN_A_ROW:
            return
        if late == LATE_IN_A_ROW:
            log.warning(
                "this machine wakes more than %g s late: too busy, or WARROOMS_SPREAD_S too small", self._latest_s
            )
        if self._sleep(self._latest_s):
            raise NoMoreSlots("this worker is stopping")


def _say(account: str, health: Health, error: FlashdutyError | None) -> None:
    if error is None or health.level < Level.DOWN:
        log.warning("account %s is called again: a probe succeeded", account)
    elif health.level is Level.SUSPENDED:
        to_do = f"; {error.hint}" if error.hint else ""
        waits = "its jobs wait, a probe goes out every minute"
        log.error("account %s is suspended, %s: %s%s", account, waits, error, to_do)
    else:
        waits = "its jobs wait and spend no attempts, probes go on"
        log.error("account %s finds the API down, %s: %s", account, waits, error)
