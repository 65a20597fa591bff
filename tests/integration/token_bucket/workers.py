"""Simulated workers in virtual time: they ask, come back as told (a little late), use their slots, die."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.errors import OutcomeUnknown
from worker.gate import BELIEVE_S
from worker.health import Level, Sign
from worker.jobs import Lane
from worker.slots import NotYet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .desk import Desk


@dataclass
class Crew:
    """Workers of one kind.

    Args:
        size: how many.
        lane: whose jobs they have, without end.
        busy_us: the time from a slot to the worker's next question.
        late_us: how much later than told a worker comes back, at most.
        spread_us: how much later than its slot a call arrives, at most.
        unused: the share of slots given back instead of used, at a random moment around the slot.
        dies: the chance that a worker dies on being sent away; another takes its place, without the ticket.
    """

    size: int
    lane: Lane = Lane.BULK
    busy_us: int = 50_000
    late_us: int = 5_000
    spread_us: int = 0
    unused: float = 0.0
    dies: float = 0.0
    starts_us: int = 0


@dataclass(frozen=True)
class Call:
    """A slot that was used; times in microseconds of the desk's clock."""

    lane: Lane
    asked_us: int
    slot_us: int
    arrival_us: int


@dataclass
class Log:
    """What happened."""

    calls: list[Call] = field(default_factory=list)
    questions: int = 0
    given_back: int = 0
    taken_back: int = 0
    died: int = 0

    def of(self, lane: Lane) -> list[Call]:
        """The used slots of one lane."""
        return [call for call in self.calls if call.lane is lane]

    @property
    def arrivals(self) -> list[int]:
        """When the calls reached the server, in order."""
        return sorted(call.arrival_us for call in self.calls)

    @property
    def questions_per_call(self) -> float:
        """Scripts run per used slot."""
        return self.questions / len(self.calls)


@dataclass(order=True)
class _Event:
    at_us: int
    number: int
    crew: Crew | None = field(compare=False)
    asked_us: int = field(compare=False, default=0)
    ticket: bool = field(compare=False, default=False)
    receipt: str = field(compare=False, default="")
    ended: Sign | None = field(compare=False, default=None)


class Simulation:
    """Runs crews on a desk; between two `run`s it may be disturbed.

    `ends` is how calls end from now on; None: nobody tells. A worker that meets an account that is down goes away, and
    the gate lets another one ask after five seconds.
    """

    def __init__(self, desk: Desk, crews: Iterable[Crew], seed: int = 1) -> None:
        self.log = Log()
        self.ends: Sign | None = None
        self._desk = desk
        self._random = random.Random(seed)
        self._events: list[_Event] = []
        self._numbers = 0
        for crew in crews:
            for _ in range(crew.size):
                start = desk.now_us + crew.starts_us + self._random.randrange(20_000)
                self._at(start, crew, asked_us=start)

    def run(self, seconds: float) -> Log:
        """Lets that much virtual time pass."""
        end = self._desk.now_us + round(seconds * 1_000_000)
        while self._events and self._events[0].at_us < end:
            event = heapq.heappop(self._events)
            self._desk.now_us = max(self._desk.now_us, event.at_us)
            if event.ended is not None:
                self.tell(event.ended, event.asked_us)
            elif event.crew is None:
                self.log.taken_back += self._desk.bucket.refund(event.receipt)
            else:
                self._ask(event, event.crew)
        self._desk.now_us = end
        return self.log

    def tell(self, sign: Sign, since_us: int) -> None:
        """A call ended that went out at `since_us`."""
        error = None if sign in {Sign.WELL, Sign.ANSWERED} else OutcomeUnknown("no", code=sign.value)
        self._desk.bucket.report(sign, max(0, self._desk.now_us - since_us) / 1_000_000, error)

    def rest(self, seconds: float) -> None:
        """Nobody asks for that long, then all who wanted to ask at once."""
        self._desk.now_us += round(seconds * 1_000_000)

    def _at(self, at_us: int, crew: Crew | None, **what: object) -> None:
        self._numbers += 1
        heapq.heappush(self._events, _Event(at_us, self._numbers, crew, **what))  # type: ignore[arg-type]

    def _ask(self, event: _Event, crew: Crew) -> None:
        now = self._desk.now_us
        self.log.questions += 1
        reply = self._desk.bucket.acquire(crew.lane, ticket=event.ticket)
        until = now + round(reply.wait_s * 1_000_000)
        if isinstance(reply, NotYet) and reply.level >= Level.DOWN and reply.wait_s > BELIEVE_S:
            self._at(now + round(BELIEVE_S * 1_000_000), crew, asked_us=event.asked_us)
        elif isinstance(reply, NotYet):
            back = until + self._random.randint(0, crew.late_us)
            if self._random.random() < crew.dies:
                self.log.died += 1
                self._at(back, crew, asked_us=event.asked_us)
            else:
                self._at(back, crew, asked_us=event.asked_us, ticket=True)
        elif self._random.random() < crew.unused:
            self.log.given_back += 1
            moment = now + self._random.randint(0, 2 * (until - now) + 60_000)
            self._at(moment, None, receipt=reply.receipt)
            self._at(moment + 1, crew, asked_us=event.asked_us)
        else:
            arrival = until + self._random.choice((0, crew.spread_us, self._random.randint(0, crew.spread_us)))
            self.log.calls.append(Call(crew.lane, event.asked_us, until, arrival))
            again = until + crew.busy_us
            if self.ends is not None:
                self._at(again - 1, None, asked_us=until, ended=self.ends)
            self._at(again, crew, asked_us=again)
