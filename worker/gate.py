"""Which queues may be popped now: kombu's `queue_order_strategy`.

A job waits in Redis, not in a worker: while the next slot of an account's lane is further away than the window, its
queue is hidden from BRPOP. What the gate knows it learns from the replies that tasks get anyway: it costs no command.
It is an optimisation: memory stays flat, an urgent job is fetched first, a slow account holds no thread. The exact
limit is the bucket's; a gate that knew nothing would be slow, never wrong.
"""

from __future__ import annotations

import _thread
import math
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from worker.jobs import Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from worker.slots import Lines

EARLY_S: Final = 0.13
"""A queue shows when its next slot is this near, if a late slot is a lost one: as far ahead as the bucket reserves."""

LATE_S: Final = 0.002
"""And this near if slots may come late, which costs the account nothing: as a rule. The fetch and the question take so
long, so who asks is told a slot that is there. To ask sooner and sleep until then would be one more burst of work, with
caches that have gone cold meanwhile: with 0.01 a job at 1,000 a minute cost a quarter more CPU."""

TURN_GAIN: Final = 0.25
MOST_TURN_S: Final = 0.5
"""Several workers know of the same next slot, and would all fetch for it: all but one are told another, or sent away.
So who was told a slot further ahead than it asked for comes later the next time, by a quarter of it, at most so much:
after some jobs each comes in its turn. Who finds a slot that was free already halves it, for somebody else has gone.
Only where slots may come late. tests/unit/test_gate_turns.py has the model."""

ASKING_S: Final = 0.05
"""Messages under way to the bucket: as many as there are slots in this time, or in the window, and at least one."""

MOST_ASKING: Final = 8
"""And of all accounts together not more: a worker that is busy should finish what it has before it fetches more, or its
threads wait for each other so long that their slots are lost."""

BELIEVE_S: Final = 5.0
"""A long pause is believed so long, then one message may ask again: the pause may have been lifted."""

SAME_S: Final = 1e-5

GRAIN_S: Final = 0.001
"""The loop looks again so much after a queue began to show: it wakes on whole milliseconds."""

NEAR_S: Final = 0.01
"""To wake the loop for less is not worth what it costs: a slot that may not come late shows long before, and one that
may is not lost by it."""

FORGET_S: Final = 0.5
"""A fetched message that has not asked by then counts no longer: it never will, or it is slow; others are not."""

MANY: Final = 16
ALL_EVERY_S: Final = 0.1
"""Of more queues than that, all are looked into so often; a BRPOP takes as long if nothing comes."""

BULK_FIRST_EVERY: Final = 10
"""Every tenth fetch takes bulk first, or a flood of urgent jobs would keep bulk in its queue."""


@dataclass(slots=True)
class _Account:
    interval_s: float
    window_s: float
    turn_s: float = 0.0  # this worker comes so much later, since others come, too
    urgent_at: float = 0.0
    bulk_at: float = 0.0
    fetched_at: deque[float] = field(default_factory=deque)  # of messages that have not asked for a slot yet

    def slot_at(self, lane: Lane) -> float:
        """When the next slot of the lane is free."""
        return self.urgent_at if lane is Lane.URGENT else self.bulk_at

    def shows_at(self, lane: Lane, now: float) -> float:
        """When its queue will show, if nothing more becomes known; in the past if it does."""
        at = self.slot_at(lane) - self.window_s
        if not self.fetched_at:
            return at
        # A slot that is long free is one slot, not all those that went by while nobody asked.
        spare_s = max(self.window_s, ASKING_S) - len(self.fetched_at) * self.interval_s
        if spare_s > 0:
            return max(at, self.slot_at(lane) - spare_s)
        # A fetched message asks before long, and then the next slot is an interval further; else it is forgotten.
        asks = self.fetched_at[0] + max(self.interval_s + self.turn_s, ASKING_S)
        forgotten = self.fetched_at[0] + FORGET_S
        return max(at, asks if now < asks < forgotten else forgotten)

    def takes_turns(self, lines: Lines) -> None:
        """Whoever asked was told these lines, and a slot in front of them."""
        slot_s = min(lines.urgent_s, lines.bulk_s) - self.interval_s
        too_early_s = slot_s - LATE_S - self.interval_s / 2
        if lines.pause_s > 0 or self.window_s > LATE_S or too_early_s > MOST_TURN_S:
            self.turn_s = 0.0  # that is not what workers do to each other
        elif slot_s <= 0:
            self.turn_s /= 2  # nobody else came
        else:
            self.turn_s = min(max(0.0, self.turn_s + TURN_GAIN * too_early_s), MOST_TURN_S)


@dataclass(frozen=True, slots=True)
class _Queue:
    account: _Account
    lane: Lane
    rank: int


class Gate:
    """What this process believes about the next slots. Written by task threads, read by the consumer's.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._asking = 0
        self._hidden: Sequence[str] = ()  # all that the loop waits for; nothing while it waits for Redis
        self._wakes_at = -math.inf  # then it wakes by itself
        self.wake: Callable[[], object] = lambda: None
        """Wakes the consumer's loop; for any thread."""
        self.wake_in: Callable[[float], object] = lambda _seconds: None
        """Has the loop wake up by itself in so many seconds; for the loop's own thread."""
        self._accounts: dict[str, _Account] = {}
        self._queues: dict[str, _Queue] = {}
        self._last = ""

    def now(self) -> float:
        """Monotonic seconds."""
        return self._clock()

    def add(self, account: str, interval_s: float, queues: Iterable[tuple[str, Lane]], slack_s: float = 0.0) -> None:
        """Makes an account and its queues known; unknown ones always show.

        Args:
            account: its name.
            interval_s: the time between two slots in steady flow.
            queues: with their lanes, in the order in which they are popped.
            slack_s: so late may a slot be used without one being lost.
        """
        known = _Account(interval_s, max(LATE_S, EARLY_S - slack_s))
        self._accounts[account] = known
        self._queues.update({queue: _Queue(known, lane, rank) for rank, (queue, lane) in enumerate(queues)})

    def learn(self, account: str, lines: Lines) -> None:
        """A task asked for a slot, and this is what the bucket said."""
        known = self._accounts.get(account)
        if known is None:
            return
        # A pause may be lifted; the slots of a slow account come when they come, and who asks holds a thread till then.
        longest_s = BELIEVE_S if lines.pause_s > 0 else max(BELIEVE_S, known.interval_s)
        with self._lock:
            now = self._clock()
            if lines.interval_s is not None and abs(lines.interval_s - known.interval_s) > SAME_S:
                known.interval_s, known.window_s = lines.interval_s, EARLY_S  # a person's rates: with what slack?
            known.takes_turns(lines)
            known.urgent_at = now + min(lines.urgent_s, longest_s) + known.turn_s
            known.bulk_at = now + min(lines.bulk_s, longest_s) + known.turn_s
            sooner = self._shows_sooner(known, now)
        if sooner:
            self.wake()

    def fetched(self, queue: str) -> None:
        """A message left `queue`; it will ask for a slot in a moment."""
        self._last = queue
        known = self._account_of(queue)
        if known is not None:
            with self._lock:
                known.fetched_at.append(self._clock())
                self._asking += 1

    def dropped(self) -> str:
        """What was fetched last was no message: it will not ask. The queue that it came from."""
        self.asked(self._last)
        return self._last

    @property
    def last(self) -> str:
        """The queue that the last message came from, whatever the message says."""
        return self._last

    def asked(self, queue: str) -> None:
        """The message has asked for its slot, or needs none."""
        known = self._account_of(queue)
        if known is not None:
            with self._lock:
                now = self._clock()
                others_may = self._asking == MOST_ASKING and bool(known.fetched_at)
                if known.fetched_at:
                    known.fetched_at.popleft()
                    self._asking -= 1
                sooner = self._shows_sooner(known, now, others_may=others_may)
            if sooner:
                self.wake()

    def shows(self, queue: str) -> bool:
        """Whether `queue` may be popped now."""
        return any(self.showing([queue]))

    def showing(self, queues: Iterable[str]) -> Iterator[str]:
        """Those of the queues that may be popped now."""
        with self._lock:
            full = self._is_full(self._clock())
        for queue in queues:
            entry = self._queues.get(queue)
            if entry is None or (not full and self._shows(entry)):
                yield queue

    def _shows(self, entry: _Queue) -> bool:
        now = self._clock()
        with self._lock:
            self._forget(entry.account, now)
            return entry.account.shows_at(entry.lane, now) < now

    def _is_full(self, now: float) -> bool:
        """Whether as many messages are under way as there may be."""
        if self._asking >= MOST_ASKING:
            for each in self._accounts.values():
                self._forget(each, now)
        return self._asking >= MOST_ASKING

    def fetches(self) -> None:
        """Something shows: the consumer asks Redis, and has its answer soon."""
        self._hidden = ()

    def rests(self, queues: Sequence[str]) -> None:
        """None of these shows, so nothing but the gate wakes the consumer's loop, which knows how long it sleeps."""
        self._hidden = queues
        if self._plan():
            _thread.start_new_thread(self.wake, ())  # it wakes itself for others only

    def look(self, queues: Sequence[str] = ()) -> None:
        """Sees to it that the loop wakes when the first queue shows; for its own thread, before it knows how long.

        Args:
            queues: what it fetches from; none are those that it rested for, if it rests.
        """
        queues = queues or self._hidden
        if queues and not any(self.showing(queues)):
            self._hidden = queues
            self._plan()

    def forgets_to_wake(self) -> None:
        """Whatever was said to `wake_in` will not happen."""
        self._wakes_at = -math.inf

    def _plan(self) -> bool:
        """Whether the loop had to be told when to wake."""
        now = self._clock()
        with self._lock:
            known = [entry for queue in self._hidden if (entry := self._queues.get(queue)) is not None]
            # With as many under way as there may be, the first of them asks, or is forgotten.
            shows_at = (entry.account.shows_at(entry.lane, now) for entry in known)
            at = self._forgotten_at() or min(shows_at, default=now + FORGET_S)
            if now < self._wakes_at <= at + NEAR_S:
                return False
            self._wakes_at = at
        self.wake_in(max(0.0, at - now) + GRAIN_S)
        return True

    def _shows_sooner(self, known: _Account, now: float, *, others_may: bool = False) -> bool:
        """Whether the loop sleeps longer than it should, after what became known of an account; true only once."""
        if not self._hidden:
            return False
        at = now if others_may else self._forgotten_at() or min(known.shows_at(lane, now) for lane in Lane)
        sooner = max(now, at) + NEAR_S < self._wakes_at
        if sooner:
            self._wakes_at = now
        return sooner

    def _forgotten_at(self) -> float | None:
        """When there is room for another message at the latest; None if there is."""
        if self._asking < MOST_ASKING:
            return None
        return min(each.fetched_at[0] for each in self._accounts.values() if each.fetched_at) + FORGET_S

    def rank(self, queue: str, *, bulk_first: bool) -> tuple[bool, int]:
        """Where `queue` stands among those that show: the smallest is popped first."""
        entry = self._queues.get(queue)
        if entry is None:
            return bulk_first, 0
        return (entry.lane is Lane.BULK) != bulk_first, entry.rank

    def _forget(self, known: _Account, now: float) -> None:
        while known.fetched_at and known.fetched_at[0] <= now - FORGET_S:
            known.fetched_at.popleft()
            self._asking -= 1

    def _account_of(self, queue: str) -> _Account | None:
        entry = self._queues.get(queue)
        return None if entry is None else entry.account


GATE: Final = Gate()
"""The gate of this process: kombu builds the cycle below by its name, so they meet here."""


class GatedCycle:
    """The order in which a channel's queues are popped; kombu's contract (kombu/utils/scheduling.py).

    Urgent lines first, then what was in line before, then bulk, each in turn; hidden ones not at all.

    With many accounts a BRPOP of all their queues would be most of a job's cost. So it names those that are not known
    to be empty. It names all of them when these are, as long as that brings up new ones, and ten times a second. A
    BRPOP says of each queue in front of the one that it popped that it was empty.
    """

    def __init__(self, it: Iterable[str] | None = None, gate: Gate = GATE) -> None:
        self._gate = gate
        self._turn = 0
        self._busy: set[str] = set()  # gave a message when they were last looked into
        self._asked: list[str] = []
        self._all_at = -math.inf
        self._next: list[str] | None = None
        self.items: list[str] = list(it or ())

    def update(self, it: Iterable[str]) -> None:
        """The channel consumes from these queues now; what is known keeps its turn."""
        wanted = list(it)
        self.items = [q for q in self.items if q in wanted] + [q for q in wanted if q not in self.items]

    def looks_at_some(self, n: int) -> bool:
        """Decides what `consume` answers next: whether it leaves queues out that may have messages.

        Such a BRPOP must come back at once if it finds nothing, or the others would wait for it.
        """
        self._turn += 1
        bulk_first = self._turn % BULK_FIRST_EVERY == 0
        self._busy.difference_update(self._asked)  # nothing was popped, or `rotate` would know
        now, queues = self._gate.now(), self.items[:n]
        showing: list[str] = []
        if len(queues) > MANY and now < self._all_at + ALL_EVERY_S:
            showing = list(self._gate.showing(queue for queue in queues if queue in self._busy))
        some = bool(showing)
        if not some:
            self._all_at = now
            showing = list(self._gate.showing(queues))
        if showing:
            self._gate.fetches()
        else:
            self._gate.rests(queues)
        self._next = sorted(showing, key=lambda queue: self._gate.rank(queue, bulk_first=bulk_first))
        return some

    def answered(self) -> None:
        """A BRPOP came back, with a message or without."""
        self._gate.look(self.items)

    def consume(self, n: int) -> list[str]:
        """The queues for the next BRPOP, the first ones first; none means no BRPOP now."""
        if self._next is None:
            self.looks_at_some(n)
        self._asked, self._next = self._next or [], None
        return self._asked

    def rotate(self, last_used: str) -> str:
        """A message came from `last_used`: it goes to the end of its kind."""
        self._gate.fetched(last_used)
        if last_used in self._asked:
            self._busy.difference_update(self._asked[: self._asked.index(last_used)])
            if last_used not in self._busy:
                self._all_at = -math.inf  # there may be more that nobody knows of: each gets its turn
            self._busy.add(last_used)
        self._asked = []
        if last_used in self.items:
            self.items.remove(last_used)
            self.items.append(last_used)
        return last_used
