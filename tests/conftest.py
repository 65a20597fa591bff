"""A real Valkey for every test that asks, empty before each, and a look at what each leaves behind."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import pytest

from sandbox.stack import embedded_redis
from worker.jobs import FINISHED, JobState
from worker.redis_store import RedisStore

if TYPE_CHECKING:
    from collections.abc import Iterator

# What has no TTL because it may not: each is bounded by something that ends.
LIVE_FOR_EVER: Final = re.compile(
    r"warrooms:\{[^}]+\}:("
    "account"  # a fixed set of fields per account
    "|claims|retries|line:bulk|line:urgent"  # jobs that are not finished; each leaves with its state
    "|failed|batches"  # trimmed by age, whenever one comes in
    "|limit"  # what a person ordered until it is taken back
    "|workers"  # trimmed by every look: the workers of the last hour
    ")"
)
RECORD: Final = re.compile(r"warrooms:\{[^}]+\}:job:.+")


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Valkey that ends with the session."""
    with embedded_redis(tmp_path_factory.mktemp("valkey"), save="") as url:
        yield url


@pytest.fixture
def store(valkey_url: str) -> Iterator[RedisStore]:
    """An empty database; the test fails if it leaves a key that nothing will ever remove."""
    store = RedisStore(valkey_url)
    store.client.flushall()
    yield store
    leaked = leaks(store)
    store.close()
    assert not leaked, f"these keys have no TTL and should have one: {leaked}"


def leaks(store: RedisStore) -> list[str]:
    """The project's keys that would stay for ever though their job, batch or bucket is done with."""
    return sorted(key for key in store.client.scan_iter("warrooms:*") if _leaks(store, str(key)))


def _leaks(store: RedisStore, key: str) -> bool:
    if store.client.pttl(key) != -1 or LIVE_FOR_EVER.fullmatch(key):
        return False
    if RECORD.fullmatch(key):
        state = store.client.hget(key, "state")
        return state is None or JobState(str(state)) in FINISHED
    return True
