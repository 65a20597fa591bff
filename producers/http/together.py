"""Jobs of requests that come at the same time go to Redis together: one thread, one script for all of them.

Measured (docs/http.md): a thread and three round trips for each request cost 1 ms of a core; together they are three
times as fast, and a request never waits for more than the one step that is under way.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from anyio import CapacityLimiter, to_thread

from producers.queue import CHUNK

if TYPE_CHECKING:
    from producers.http.intake import Full, Intake
    from producers.receipt import Receipt
    from worker.jobs import WarRoomJob

    Answer = asyncio.Future[Receipt | Full]


class Together:
    """Gathers jobs while others are being queued. Belongs to one event loop.

    Args:
        intake: where they go.
    """

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._thread = CapacityLimiter(1)  # its own: others may hold all the usual ones while Redis hangs
        self._waiting: list[tuple[WarRoomJob, Answer]] = []
        self._task: asyncio.Task[None] | None = None

    async def enqueue(self, job: WarRoomJob) -> Receipt | Full:
        """Queues one job with whatever else is asked for now.

        Raises:
            QueueUnavailable: Redis does not answer or refuses; enqueueing again does no harm.
        """
        answer: Answer = asyncio.get_running_loop().create_future()
        self._waiting.append((job, answer))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return await answer

    async def _run(self) -> None:
        while self._waiting:
            now, self._waiting = self._waiting[:CHUNK], self._waiting[CHUNK:]
            try:
                answers = await to_thread.run_sync(self._intake.take, [job for job, _ in now], limiter=self._thread)
            except Exception as error:  # noqa: BLE001 - each of those who wait raises it
                for _, waiting in now:
                    if not waiting.done():
                        waiting.set_exception(error)
                continue
            for (_, waiting), answer in zip(now, answers, strict=True):
                if not waiting.done():  # its request was given up
                    waiting.set_result(answer)
