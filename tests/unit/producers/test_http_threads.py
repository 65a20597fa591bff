"""While Redis hangs, what must not wait for bulk requests and readers has threads of its own."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest
from anyio import to_thread

from producers.http.hand_over import HandOver
from producers.http.probe import Probe
from producers.http.together import Together
from worker.errors import QueueUnavailable
from worker.jobs import WarRoomJob

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from producers.http.intake import Intake

JOB = WarRoomJob(incident_id="69da451ef77b1b51f40e83ee", integration_id=7)


class Taking:
    """An intake that takes everything."""

    def take(self, jobs: list[WarRoomJob]) -> list[Any]:
        return [job.id for job in jobs]


def while_every_usual_thread_hangs(story: Callable[[], Awaitable[object]]) -> None:
    async def tell() -> None:
        frozen = threading.Event()
        usual = to_thread.current_default_thread_limiter()
        hanging = [asyncio.create_task(to_thread.run_sync(frozen.wait)) for _ in range(int(usual.total_tokens))]
        while usual.available_tokens:  # noqa: ASYNC110 - it tells nobody, it only goes on
            await asyncio.sleep(0)
        try:
            async with asyncio.timeout(30):
                await story()
            assert not usual.available_tokens
        finally:
            frozen.set()
            await asyncio.gather(*hanging)

    asyncio.run(tell())


def test_redis_is_asked() -> None:
    while_every_usual_thread_hangs(Probe(lambda: None).ask)


def test_a_job_is_queued() -> None:
    async def story() -> None:
        together = Together(cast("Intake", Taking()))
        assert cast("str", await together.enqueue(JOB)) == JOB.id

    while_every_usual_thread_hangs(story)


def test_an_event_is_handed_over() -> None:
    async def story() -> None:
        hand_over = HandOver(str.upper, wait_s=30)
        running = asyncio.create_task(hand_over.run())
        assert await hand_over.offer("a") == "A"
        running.cancel()

    while_every_usual_thread_hangs(story)


def test_who_asks_while_another_asks_gets_the_same_answer() -> None:
    asked, answer = [0], threading.Event()

    def ping() -> None:
        asked[0] += 1
        answer.wait()
        raise QueueUnavailable("away")

    async def story() -> None:
        probe = Probe(ping)
        given_up, *others = [asyncio.create_task(probe.ask()) for _ in range(100)]
        await asyncio.sleep(0)
        given_up.cancel()
        answer.set()
        for other in others:
            with pytest.raises(QueueUnavailable):
                await other
        with pytest.raises(QueueUnavailable):
            await probe.ask()
        assert asked == [2]

    asyncio.run(story())
