"""Which queues may be popped now: kombu's `queue_order_strategy`.

A job waits in Redis, not in a worker: while the next slot of an account's lane is further away than the window, its
queue is hidden from BRPOP. What the gate knows it learns from the replies that tasks get anyway: it costs no command.
It is an optimisation: memory stays flat, an urgent job is fetched first, a slow account holds no thread. The exact
limit is the bucket's; a gate that knew nothing would be slow, never wrong.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from worker.jobs import Lane

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from worker.slots import Lines

EARLY_S: Final = 0.13
"""A queue shows when its next slot is this near, if a late slot is a lost one: two ticks of the consumer's loop."""

LATE_S: Final = 0.01
"""And this near if slots may come late, which costs the account nothing: as a rule. Whoever asks at the last moment is
told its slot at once (the bucket reserves 0.125 s ahead), also if several workers do; who asks before is sent away, and
asks again."""

ASKING_S: Final = 0.05
"""Messages under way to the bucket: as many as there are slots in this time, or in the window, and at least one."""

MOST_ASKING: Final = 8
"""And of all accounts together not more: a worker that is busy should finish what it has before it fetches more, or its
threads wait for each other so long that their slots are lost."""

BELIEVE_S: Final = 5.0
"""A long pause is believed so long, then one message may ask again: the pause may have been lifted."""

SAME_S: Final = 1e-5

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
    urgent_at: float = 0.0
    bulk_at: float = 0.0
    fetched_at: deque[float] = field(default_factory=deque)  # of messages that have not asked for a slot yet


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
        self.wake: Callable[[], object] = lambda: None
        """Called by any thread when what was hidden may show again: so many messages are under way no longer."""
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
            known.urgent_at = now + min(lines.urgent_s, longest_s)
            known.bulk_at = now + min(lines.bulk_s, longest_s)

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
                freed = known.fetched_at and self._asking == MOST_ASKING
                if known.fetched_at:
                    known.fetched_at.popleft()
                    self._asking -= 1
            if freed:
                self.wake()

    def shows(self, queue: str) -> bool:
        """Whether `queue` may be popped now."""
        entry = self._queues.get(queue)
        if entry is None:
            return True
        known, lane = entry.account, entry.lane
        now = self._clock()
        with self._lock:
            self._forget(known, now)
            if self._asking >= MOST_ASKING:
                for each in self._accounts.values():
                    self._forget(each, now)
                if self._asking >= MOST_ASKING:
                    return False
            slot_at = known.urgent_at if lane is Lane.URGENT else known.bulk_at
            # A slot that is long free is one slot, not all those that went by while nobody asked.
            ahead_s = max(slot_at - now, 0.0)
            asking_s = len(known.fetched_at) * known.interval_s
            return ahead_s < known.window_s and ahead_s + asking_s < max(known.window_s, ASKING_S)

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
            showing = [queue for queue in queues if queue in self._busy and self._gate.shows(queue)]
        some = bool(showing)
        if not some:
            self._all_at = now
            showing = [queue for queue in queues if self._gate.shows(queue)]
        self._next = sorted(showing, key=lambda queue: self._gate.rank(queue, bulk_first=bulk_first))
        return some

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
