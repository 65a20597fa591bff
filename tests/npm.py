"""Packages from npm, for tests that must not need the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench import npm

if TYPE_CHECKING:
    from pathlib import Path


def installed(source: Path, *more: str) -> Path:
    """A folder with the packages that `source` locks, and with more files of it.

    Skips the test where there is no Node or no npm registry.
    """
    try:
        return npm.installed(source, *more)
    except npm.NotInstalled as error:
        pytest.skip(str(error))
