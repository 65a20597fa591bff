"""Does Redis answer? Asked once for all who want to know now, in a thread that nobody else waits for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from anyio import CapacityLimiter, to_thread

if TYPE_CHECKING:
    from collections.abc import Callable


class Probe:
    """One question at a time: however often it is asked while Redis hangs, it costs one thread. In one event loop.

    Args:
        ping: asks Redis; raises QueueUnavailable if it does not answer. Called in a thread.
        close: closes what it asks with.
    """

    def __init__(self, ping: Callable[[], object], close: Callable[[], object] = lambda: None) -> None:
        self._ping = ping
        self.close = close
        self._thread = CapacityLimiter(1)
        self._task: asyncio.Task[object] | None = None

    async def ask(self) -> None:
        """Waits for the answer, at most as long as `ping` does.

        Raises:
            QueueUnavailable: Redis does not answer or refuses.
        """
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(to_thread.run_sync(self._ping, limiter=self._thread))
        await asyncio.shield(self._task)  # who goes away takes the answer from nobody
