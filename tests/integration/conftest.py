"""The command line against the test's Valkey."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.commands import WARROOMS
from worker.ledger import Ledger

if TYPE_CHECKING:
    from pathlib import Path

    from tests.commands import Done, Run
    from worker.redis_store import RedisStore


@pytest.fixture
def ledger(store: RedisStore) -> Ledger:
    return Ledger(store, "default")


@pytest.fixture
def env(valkey_url: str) -> dict[str, str]:
    ours = ("FLASHDUTY_", "WARROOMS_", "REDIS_URL", "FORCE_COLOR", "TTY_COMPATIBLE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"REDIS_URL": valkey_url, "FLASHDUTY_INTEGRATION_ID": "7"}


@pytest.fixture
def run(env: dict[str, str], store: RedisStore, tmp_path: Path) -> Run:
    assert store.client.dbsize() == 0

    def warrooms(*args: str, stdin: str | bytes = "", env: dict[str, str] | None = env) -> Done:
        given = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(
            [WARROOMS, *args], input=given, capture_output=True, env=env, cwd=tmp_path, timeout=30, check=False
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        assert "Traceback" not in err
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    return warrooms
