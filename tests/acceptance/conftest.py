"""One installation with two workers for most tests; each test finds it empty."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .house import House

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def shared() -> Iterator[House]:
    with House() as house:
        house.start_workers(2)
        yield house


@pytest.fixture
def house(shared: House) -> House:
    shared.fresh()
    return shared
