"""The board as the page shows it: looked at once every two seconds and drawn once, however many people look on."""

from __future__ import annotations

import gzip
import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from anyio import CapacityLimiter, Lock, to_thread

from producers.board import Board
from producers.glance import BATCHES, glance
from worker.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from producers.desk import Desk
    from producers.glance import Glance

FRESH_S: Final = 2.0
"""What was seen is shown for so long, in seconds."""


@dataclass(frozen=True, slots=True)
class Eyes:
    """Whose board it is: people with the same rights see the same.

    Args:
        accounts: those that exist for them; None means all.
        operates: whether they may replay.
    """

    accounts: frozenset[str] | None
    operates: bool


@dataclass(frozen=True, slots=True)
class Drawn:
    """A board as HTML, and the same packed with gzip."""

    html: str
    packed: bytes


@dataclass(frozen=True, slots=True)
class _Look:
    began_s: float
    seen: Sequence[Glance] | QueueUnavailable
    drawn: dict[Eyes, Drawn] = field(default_factory=dict)


class Boards:
    """The accounts' board. Belongs to one event loop; it looks and draws in a thread of its own, one at a time.

    Args:
        desks: all accounts.
        draw: the board as HTML, for these eyes.
        clock: seconds of any clock that only goes forward.
    """

    def __init__(
        self, desks: Sequence[Desk], draw: Callable[[Board, Eyes], str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._desks = desks
        self._draw = draw
        self._clock = clock
        self._lock = Lock()
        self._thread = CapacityLimiter(1)
        self._last: _Look | None = None
        self._changed_s = -math.inf

    async def see(self, eyes: Eyes) -> Drawn:
        """The board as these eyes see it.

        Raises:
            QueueUnavailable: Redis did not answer, within the last two seconds.
        """
        async with self._lock:
            last, now_s = self._last, self._clock()
            if last is None or now_s - last.began_s >= FRESH_S or last.began_s <= self._changed_s:
                last = self._last = _Look(now_s, await to_thread.run_sync(self._look, limiter=self._thread))
            if isinstance(last.seen, QueueUnavailable):
                raise QueueUnavailable(str(last.seen), passing=last.seen.passing)
            if eyes not in last.drawn:
                seen = [one for one in last.seen if eyes.accounts is None or one.account.name in eyes.accounts]
                last.drawn[eyes] = await to_thread.run_sync(self._drawn, seen, eyes, limiter=self._thread)
            return last.drawn[eyes]

    def forget(self) -> None:
        """Something was changed: who looks next looks anew."""
        self._changed_s = self._clock()

    def _look(self) -> Sequence[Glance] | QueueUnavailable:
        try:
            return [glance(desk) for desk in self._desks]
        except QueueUnavailable as error:
            return error

    def _drawn(self, seen: Sequence[Glance], eyes: Eyes) -> Drawn:
        html = self._draw(Board.of(seen, BATCHES), eyes)
        return Drawn(html, gzip.compress(html.encode(), compresslevel=1))
