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

    `limits` takes one limit at a time, so what was taken from the first is lost if the second is full. So the minute's
    slot is taken last: a second's slot is back in a second. The other way round, 100 threads that wait lost 40 % of the
    minute, even though both limits were looked at before.
    """
    per_second, per_minute = _rates()
    if not _limiter().test(per_minute, KEY):
        return _until_free_s(per_minute)
    for rate in (per_second, per_minute):
        if not _limiter().hit(rate, KEY):
            return _until_free_s(rate)
    return 0.0


def _until_free_s(rate: RateLimitItem) -> float:
    reset_at: float = _limiter().get_window_stats(rate, KEY)[0]
    return max(LEAST_S, reset_at - time.time())


@functools.cache
def _rates() -> tuple[RateLimitItem, RateLimitItem]:
    account = limits_of_account()
    return RateLimitItemPerSecond(account.per_second), RateLimitItemPerMinute(account.per_minute)


@functools.cache
def _limiter() -> MovingWindowRateLimiter:
    return MovingWindowRateLimiter(RedisStorage(os.environ["REDIS_URL"]))
