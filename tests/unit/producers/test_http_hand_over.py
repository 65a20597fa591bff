"""Events are handed over in their order, held while Redis is away, and never silently lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import structlog

from producers.http.hand_over import KEPT_S, HandOver, NoRoom
from worker.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Redis:
    """Takes events, unless it is away."""

    def __init__(self, *, away: bool = False) -> None:
        self.away = away
        self.taken: list[str] = []

    def __call__(self, event: str) -> str:
        if self.away:
            raise QueueUnavailable("away")
        if event == "strange":
            raise ValueError(event)
        self.taken.append(event)
        return f"{event} taken"


def in_a_loop(
    story: Callable[[HandOver[str, str]], Awaitable[None]],
    redis: Redis,
    *,
    most: int = 3,
    clock: Callable[[], float] = lambda: 0.0,
) -> None:
    async def tell() -> None:
        async def sleep(_s: float) -> None:
            await asyncio.sleep(0)

        hand_over = HandOver(redis, most=most, wait_s=10, sleep=sleep, clock=clock)
        running = asyncio.create_task(hand_over.run())
        try:
            await story(hand_over)
        finally:
            running.cancel()

    asyncio.run(tell())


def test_an_event_is_taken_at_once() -> None:
    redis = Redis()

    async def story(hand_over: HandOver[str, str]) -> None:
        assert [await hand_over.offer("a"), await hand_over.offer("b")] == ["a taken", "b taken"]

    in_a_loop(story, redis)
    assert redis.taken == ["a", "b"]


def test_an_event_is_held_while_redis_is_away_and_recorded_afterwards_in_order() -> None:
    redis = Redis(away=True)

    async def story(hand_over: HandOver[str, str]) -> None:
        assert [await hand_over.offer("a"), await hand_over.offer("b")] == [None, None]
        assert len(hand_over) == 2
        redis.away = False
        assert await hand_over.offer("c") == "c taken"

    with structlog.testing.capture_logs() as logs:
        in_a_loop(story, redis)
    assert redis.taken == ["a", "b", "c"]
    assert [log["event"] for log in logs] == ["webhook.held"] * 2 + ["webhook.recorded_late"] * 2


def test_what_is_held_is_bounded() -> None:
    redis = Redis(away=True)

    async def story(hand_over: HandOver[str, str]) -> None:
        assert [await hand_over.offer(event) for event in "abc"] == [None] * 3
        with pytest.raises(NoRoom):
            await hand_over.offer("d")

    in_a_loop(story, redis)


def test_an_event_that_was_held_too_long_is_given_up_aloud() -> None:
    redis, now = Redis(away=True), [0.0]

    async def story(hand_over: HandOver[str, str]) -> None:
        assert await hand_over.offer("a") is None
        now[0] = KEPT_S + 1
        while len(hand_over):  # noqa: ASYNC110 - it tells nobody, it only goes on
            await asyncio.sleep(0)

    with structlog.testing.capture_logs() as logs:
        in_a_loop(story, redis, clock=lambda: now[0])
    assert logs[-1]["event"] == "webhook.lost"


def test_a_strange_event_does_not_stop_the_others() -> None:
    redis = Redis()

    async def story(hand_over: HandOver[str, str]) -> None:
        with pytest.raises(ValueError, match="strange"):
            await hand_over.offer("strange")
        assert await hand_over.offer("a") == "a taken"

    in_a_loop(story, redis)


def test_the_end_of_the_process_tries_once_more_and_names_what_is_lost() -> None:
    redis = Redis(away=True)

    async def story(hand_over: HandOver[str, str]) -> None:
        assert await hand_over.offer("a") is None
        await hand_over.finish()
        assert len(hand_over) == 0

    with structlog.testing.capture_logs() as logs:
        in_a_loop(story, redis)
    assert (logs[-1]["event"], logs[-1]["log_level"]) == ("webhook.lost", "error")
