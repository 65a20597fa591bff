"""The account's bucket as a strategy of the `limits` library, for programs that are written against `limits`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from limits import WindowStats
from limits.strategies import RateLimiter

from worker.rate_limit import DEFAULT_RATES, DEFAULT_SPREAD_US, SECOND_US, plan_of
from worker.redis_store import RedisStore
from worker.token_bucket import TokenBucket

if TYPE_CHECKING:
    from limits import RateLimitItem
    from limits.storage import RedisStorage


class TokenBucketRateLimiter(RateLimiter):
    """Spends from the same bucket as our workers: `hit(item, account)` takes one call of that account.

    The bucket belongs to the account, not to the item: one hit spends from **all** the account's rates in one atomic
    step. `item` only says which of them `get_window_stats` tells about; call `hit` once, not once per item.

    Of `limits` we use the vocabulary (RateLimitItem, parse_many, WindowStats, the RateLimiter interface) and the client
    of its RedisStorage. Not its storage operations: they know one item at a time, no waits, no lanes and no pause.

    Args:
        storage: `limits`' RedisStorage or a kind of it, on the Redis the workers use.
        rates: the account's rates, as the workers have them.
        spread_us: D, as the workers have it.

    Every method raises ValueError if the item is none of the rates or the identifiers are not one account, and
    QueueUnavailable if Redis does not answer.
    """

    def __init__(self, storage: RedisStorage, rates: str = DEFAULT_RATES, spread_us: int = DEFAULT_SPREAD_US) -> None:
        super().__init__(storage)
        self._plan = plan_of(rates, spread_us)
        self._store = _StoreOfLimits(storage)

    def hit(self, item: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:
        """Takes a slot if one is free this moment and nobody waits for it."""
        return self._bucket(item, identifiers, cost)[0].hit()

    def test(self, item: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:
        """Whether a hit would be granted now; a bucket that nobody has used yet is empty."""
        return self._bucket(item, identifiers, cost)[0].peek().lines.bulk_s == 0

    def get_window_stats(self, item: RateLimitItem, *identifiers: str) -> WindowStats:
        """When the next try is worth it (seconds since the epoch on this machine's clock), and the item's tokens."""
        bucket, index = self._bucket(item, identifiers, 1)
        level = bucket.peek()
        if level.plan != self._plan:  # a person ordered other rates: what every one of them leaves
            return WindowStats(time.time() + level.lines.bulk_s, max(int(min(level.tokens)), 0))
        return WindowStats(time.time() + level.lines.bulk_s, max(int(level.tokens[index]), 0))

    def clear(self, item: RateLimitItem, *identifiers: str) -> None:
        """Forgets the account's state, pause and lines included: the bucket starts again, empty."""
        self._bucket(item, identifiers, 1)[0].clear()

    def _bucket(self, item: RateLimitItem, identifiers: tuple[str, ...], cost: int) -> tuple[TokenBucket, int]:
        rate = (item.amount, item.get_expiry() * SECOND_US)
        rates = [(limit.amount, limit.window_us) for limit in self._plan.limits]
        if rate not in rates:
            raise ValueError(f"{item} is none of the account's rates, {self._plan}")
        if len(identifiers) != 1 or cost != 1:
            raise ValueError("a hit takes one call of one account: hit(item, account), cost 1")
        return TokenBucket(self._store, identifiers[0], self._plan), rates.index(rate)


class _StoreOfLimits(RedisStore):
    """The connection of a `limits` storage, with our scripts and our errors."""

    def __init__(self, storage: RedisStorage) -> None:
        super().__init__("redis://localhost")  # opens nothing; the storage's own client takes its place
        self.place = "the storage of limits"
        self.client = storage.storage
