"""Both limits as moving windows of `limits` in Redis, for the two contenders that differ in how a job waits."""

from __future__ import annotations

import functools
import os
import time
from typing import Final

from limits import RateLimitItem, RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter

from bench.contenders.war_room import limits_of_account

KEY: Final = "war-rooms"
LEAST_S: Final = 0.02


def wait_s() -> float:
    """0 if a call may go out now, which is then counted; else in how many seconds to ask again.

    `limits` takes one limit at a time. Both are looked at before one is taken: else a minute's slot would be lost
    whenever the second is full. Two workers that look at the same time may still lose one.
    """
    for rate in _rates():
        if not _limiter().test(rate, KEY):
            return _until_free_s(rate)
    for rate in _rates():
        if not _limiter().hit(rate, KEY):
            return _until_free_s(rate)
    return 0.0


def _until_free_s(rate: RateLimitItem) -> float:
    reset_at: float = _limiter().get_window_stats(rate, KEY)[0]
    return max(LEAST_S, reset_at - time.time())


@functools.cache
def _rates() -> tuple[RateLimitItem, ...]:
    account = limits_of_account()
    return (RateLimitItemPerMinute(account.per_minute), RateLimitItemPerSecond(account.per_second))


@functools.cache
def _limiter() -> MovingWindowRateLimiter:
    return MovingWindowRateLimiter(RedisStorage(os.environ["REDIS_URL"]))
