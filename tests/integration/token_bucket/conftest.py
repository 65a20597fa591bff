"""Desks on the shared Valkey."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .desk import Desk, Open

if TYPE_CHECKING:
    from worker.redis_store import RedisStore


@pytest.fixture
def open_desk(store: RedisStore) -> Open:
    def opened(*args: object, **kwargs: object) -> Desk:
        return Desk(store, *args, **kwargs)  # type: ignore[arg-type]

    return opened
