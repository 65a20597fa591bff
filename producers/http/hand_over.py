"""Hands events over to Redis within a bounded time; holds them in memory, bounded too, while Redis is away.

Flashduty waits two seconds for a 200, and does not send a refused event again. So an event that Redis has not taken in
time is held here and tried again until Redis takes it. Its sender is told the truth, that it is not recorded yet: if
this process dies before Redis is back, the event is lost, and Flashduty's own history shows which ones were not 200.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import structlog
from anyio import CapacityLimiter, to_thread

from worker.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

E = TypeVar("E")
A = TypeVar("A")

MOST: Final = 1000
"""Events that are held; an account gets fewer in an hour."""

WAIT_S: Final = 1.0
"""How long a sender waits for Redis, in seconds; the two seconds that Flashduty allows are also for the way."""

KEPT_S: Final = 3600.0
"""How long an event is held, in seconds; later a room is no help, or was opened by a person."""

FINISH_S: Final = 5.0
"""How long the end of the process may take to record the events that are held, in seconds."""

SLOWEST_S: Final = 5.0
"""The longest pause between two tries, in seconds."""


class NoRoom(Exception):
    """As many events are held as may be."""


@dataclass(slots=True)
class _Held(Generic[E, A]):
    event: E
    since_s: float
    answer: asyncio.Future[A | None]
    late: bool = False


class HandOver(Generic[E, A]):
    """One event after the other, in their order. Belongs to one event loop, in which `run` runs.

    Args:
        deliver: records an event; raises QueueUnavailable if Redis is away. Called in a thread.
        most: events that are held.
        wait_s: how long `offer` waits, in seconds.
        sleep: waits between two tries.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        deliver: Callable[[E], A],
        *,
        most: int = MOST,
        wait_s: float = WAIT_S,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._deliver = deliver
        self._most = most
        self._wait_s = wait_s
        self._sleep = sleep
        self._clock = clock
        self._held: deque[_Held[E, A]] = deque()
        self._thread = CapacityLimiter(1)  # its own: others may hold all the usual ones while Redis hangs
        self._wake = asyncio.Event()
        self._log = structlog.get_logger("warrooms.web")

    def __len__(self) -> int:
        return len(self._held)

    async def offer(self, event: E) -> A | None:
        """Hands an event over; what `deliver` says, or None if it is only held yet.

        Raises:
            NoRoom: it is not even held.
        """
        if len(self._held) >= self._most:
            self._log.error("webhook.lost", why="too many events are held already", **_named(event))
            raise NoRoom
        answer: asyncio.Future[A | None] = asyncio.get_running_loop().create_future()
        held = _Held(event, self._clock(), answer)
        self._held.append(held)
        self._wake.set()
        await asyncio.wait({answer}, timeout=self._wait_s)
        if answer.done():
            return answer.result()
        self._is_late(held, "Redis is slow")
        return None

    async def run(self) -> None:
        """Delivers for ever."""
        pause_s = 0.5
        while True:
            await self._wake.wait()
            if not self._held:
                self._wake.clear()
                continue
            error = await self._try_first()
            if error is None:
                pause_s = 0.5
                continue
            self._tell_all(error)
            self._drop_old()
            await self._sleep(pause_s)
            pause_s = min(2 * pause_s, SLOWEST_S)

    async def finish(self, within_s: float = FINISH_S) -> None:
        """The process ends: tries once more; what cannot be recorded in time is lost, and said one by one."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._held and await self._try_first() is None:
                    pass
        for held in self._held:
            self._log.error("webhook.lost", why="this process ends and Redis is away", **_named(held.event))
        self._held.clear()

    async def _try_first(self) -> QueueUnavailable | None:
        first = self._held[0]
        try:
            answer = await to_thread.run_sync(self._deliver, first.event, limiter=self._thread)
        except QueueUnavailable as error:
            return error
        except Exception as error:  # noqa: BLE001 - one strange event must not stop the others
            self._log.exception("webhook.defect", **_named(first.event))
            if not first.answer.done():
                first.answer.set_exception(error)
        else:
            if first.late or first.answer.done():
                self._log.info("webhook.recorded_late", **_named(first.event))
            if not first.answer.done():
                first.answer.set_result(answer)
        self._held.popleft()
        return None

    def _tell_all(self, error: QueueUnavailable) -> None:
        """Nobody waits for a Redis that is known to be away."""
        for held in self._held:
            self._is_late(held, str(error))
            if not held.answer.done():
                held.answer.set_result(None)

    def _is_late(self, held: _Held[E, A], why: str) -> None:
        if not held.late:
            held.late = True
            self._log.warning("webhook.held", held=len(self._held), why=why, **_named(held.event))

    def _drop_old(self) -> None:
        while self._held and self._clock() - self._held[0].since_s > KEPT_S:
            self._log.error("webhook.lost", why="Redis was away for too long", **_named(self._held.popleft().event))


def _named(event: object) -> dict[str, str]:
    """What a person needs to open the room by hand."""
    return {"what": str(event)}
