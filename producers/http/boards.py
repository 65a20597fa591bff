"""The board as the page shows it: looked at once every two seconds, however many people look on."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from anyio import CapacityLimiter, Lock, to_thread

from producers.board import Board
from producers.glance import BATCHES, glance
from worker.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from producers.desk import Desk
    from producers.glance import Glance

FRESH_S: Final = 2.0
"""What was seen is shown for so long, in seconds."""


@dataclass(frozen=True, slots=True)
class _Look:
    began_s: float
    seen: Sequence[Glance] | QueueUnavailable


class Boards:
    """The accounts' board. Belongs to one event loop; it looks in a thread of its own, one look at a time.

    Args:
        desks: all accounts.
        clock: seconds of any clock that only goes forward.
    """

    def __init__(self, desks: Sequence[Desk], clock: Callable[[], float] = time.monotonic) -> None:
        self._desks = desks
        self._clock = clock
        self._lock = Lock()
        self._thread = CapacityLimiter(1)
        self._last: _Look | None = None
        self._changed_s = -math.inf

    async def see(self, accounts: Collection[str] | None) -> Board:
        """The board of these accounts; None means all.

        Raises:
            QueueUnavailable: Redis did not answer, within the last two seconds.
        """
        async with self._lock:
            last, now_s = self._last, self._clock()
            if last is None or now_s - last.began_s >= FRESH_S or last.began_s <= self._changed_s:
                last = self._last = _Look(now_s, await to_thread.run_sync(self._look, limiter=self._thread))
        seen = last.seen
        if isinstance(seen, QueueUnavailable):
            raise QueueUnavailable(str(seen), passing=seen.passing)
        return Board.of([one for one in seen if accounts is None or one.account.name in accounts], BATCHES)

    def forget(self) -> None:
        """Something was changed: who looks next looks anew."""
        self._changed_s = self._clock()

    def _look(self) -> Sequence[Glance] | QueueUnavailable:
        try:
            return [glance(desk) for desk in self._desks]
        except QueueUnavailable as error:
            return error
