"""The command line and the web process against the test's Valkey."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.commands import WARROOMS
from tests.web import ACCOUNTS, serving, web_app
from worker.ledger import Ledger
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

    from tests.commands import Done, Run
    from worker.redis_store import RedisStore


@pytest.fixture
def ledger(store: RedisStore) -> Ledger:
    return Ledger(store, "default")


@pytest.fixture
def env(valkey_url: str) -> dict[str, str]:
    ours = ("FLASHDUTY_", "WARROOMS_", "REDIS_URL", "FORCE_COLOR", "TTY_COMPATIBLE", "OTEL_", "PROMETHEUS_")
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


@pytest.fixture
def settings(valkey_url: str, tmp_path: Path) -> Settings:
    accounts = tmp_path / "accounts.toml"
    accounts.write_text(ACCOUNTS)
    return Settings(redis_url=valkey_url, accounts_file=accounts)


@pytest.fixture
def web(store: RedisStore, settings: Settings) -> Iterator[httpx.Client]:
    assert store.client.dbsize() == 0
    with serving(web_app(settings)) as client:
        yield client
