"""The account's bucket behind the interface of `limits`, on its own storage and the redis-py we pin."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from limits import parse, parse_many
from limits.storage import RedisStorage

from worker.errors import AccountRefused, QueueUnavailable
from worker.health import Sign
from worker.jobs import Lane
from worker.limits_strategy import TokenBucketRateLimiter
from worker.rate_limit import SECOND_US, plan_of
from worker.token_bucket import TokenBucket

if TYPE_CHECKING:
    from worker.redis_store import RedisStore

RATES = "50/second;1000/minute"
SECOND, MINUTE = parse_many(RATES)


@pytest.fixture
def limiter(valkey_url: str, store: RedisStore) -> TokenBucketRateLimiter:
    assert store.client.dbsize() == 0
    return TokenBucketRateLimiter(RedisStorage(valkey_url))


def rested(store: RedisStore, account: str = "acme") -> TokenBucket:
    """The account's bucket as the workers have it, after an hour's rest: its last use lies in the past."""
    seconds, microseconds = store.client.time()
    long_ago = seconds * SECOND_US + microseconds - 3600 * SECOND_US
    TokenBucket(store, account, plan_of(RATES), clock=lambda: long_ago).hit()
    return TokenBucket(store, account, plan_of(RATES))


def test_an_account_nobody_has_used_is_empty_and_begins_to_fill_with_the_first_try(
    limiter: TokenBucketRateLimiter, store: RedisStore
) -> None:
    assert not limiter.test(MINUTE, "acme")
    assert store.client.keys() == []
    assert not limiter.hit(MINUTE, "acme")
    assert store.client.keys() == ["warrooms:{acme}:bucket"]


def test_a_hit_takes_a_free_slot_of_the_bucket_the_workers_share(
    limiter: TokenBucketRateLimiter, store: RedisStore
) -> None:
    bucket = rested(store)
    assert limiter.test(MINUTE, "acme")
    assert limiter.hit(MINUTE, "acme")
    assert all(tokens < capacity for tokens, capacity in zip(bucket.peek().tokens, (1, 4), strict=True))


def test_hits_never_pass_a_worker_that_waits(limiter: TokenBucketRateLimiter, store: RedisStore) -> None:
    bucket = rested(store)
    for _ in range(20):
        bucket.acquire(Lane.URGENT)
    line = bucket.peek().lines
    assert not limiter.hit(MINUTE, "acme")
    assert bucket.peek().lines.urgent_s <= line.urgent_s


def test_a_penalty_of_the_workers_stops_hits(limiter: TokenBucketRateLimiter, store: RedisStore) -> None:
    rested(store).penalty(30)
    assert not limiter.test(SECOND, "acme")
    assert not limiter.hit(SECOND, "acme")


def test_an_account_that_is_suspended_gives_no_hit_not_even_as_a_probe(
    limiter: TokenBucketRateLimiter, store: RedisStore
) -> None:
    bucket = rested(store)
    bucket.report(Sign.REFUSED, 0, AccountRefused("who are you?", code="Unauthorized", status=401))
    assert not limiter.test(SECOND, "acme")
    assert not limiter.hit(SECOND, "acme")
    assert 50 < limiter.get_window_stats(SECOND, "acme").reset_time - time.time() < 56
    limiter.clear(MINUTE, "acme")
    assert bucket.trouble() is None


def test_window_stats_tell_the_tokens_of_the_item_and_when_to_try(
    limiter: TokenBucketRateLimiter, store: RedisStore
) -> None:
    bucket = rested(store)
    assert limiter.get_window_stats(SECOND, "acme").remaining == 1
    assert limiter.get_window_stats(MINUTE, "acme").remaining == 4
    bucket.penalty(30)
    stats = limiter.get_window_stats(MINUTE, "acme")
    assert stats.remaining == 0
    assert 28 < stats.reset_time - time.time() < 31


def test_clear_leaves_an_empty_bucket(limiter: TokenBucketRateLimiter, store: RedisStore) -> None:
    rested(store)
    limiter.clear(MINUTE, "acme")
    assert store.client.keys() == []
    assert not limiter.hit(MINUTE, "acme")


def test_what_the_account_does_not_have_is_refused(limiter: TokenBucketRateLimiter) -> None:
    with pytest.raises(ValueError, match="none of the account's rates"):
        limiter.hit(parse("7/hour"), "acme")
    with pytest.raises(ValueError, match="one call of one account"):
        limiter.hit(MINUTE)
    with pytest.raises(ValueError, match="one call of one account"):
        limiter.hit(MINUTE, "acme", cost=2)


def test_no_redis_means_no_slot() -> None:
    limiter = TokenBucketRateLimiter(RedisStorage("redis://127.0.0.1:1/0"))
    with pytest.raises(QueueUnavailable):
        limiter.hit(MINUTE, "acme")


def test_what_a_person_ordered_holds_for_hits(limiter: TokenBucketRateLimiter, store: RedisStore) -> None:
    bucket = rested(store)
    bucket.hold("ann")
    assert not limiter.test(MINUTE, "acme")
    assert not limiter.hit(MINUTE, "acme")
    bucket.resume()
    bucket.set_rates("30/minute", "ann")
    assert not limiter.hit(MINUTE, "acme")
    for item in (SECOND, MINUTE):
        assert limiter.get_window_stats(item, "acme").remaining == 0
        assert 1 < limiter.get_window_stats(item, "acme").reset_time - time.time() < 3
