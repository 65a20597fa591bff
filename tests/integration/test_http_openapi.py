"""Every operation of the OpenAPI page against the real application: schemathesis, all checks, all phases."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from producers.http.examples import BATCH, JOB_ID
from tests.commands import fails, queue
from tests.web import ACCOUNTS, OPS, SECRET, serving, web_app
from worker.jobs import JobKey, WarRoomJob
from worker.ledger import Ledger
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from worker.redis_store import RedisStore

ROOT = Path(__file__).parents[2]
CONFIG = f"""
[auth.openapi.HTTPBearer]
bearer = "{OPS}"
[auth.openapi.APIKeyHeader]
api_key = "{SECRET}"
"""


@pytest.fixture
def web(store: RedisStore, valkey_url: str, tmp_path: Path) -> Iterator[httpx.Client]:
    accounts = tmp_path / "accounts.toml"
    accounts.write_text(ACCOUNTS)
    ledger = Ledger(store, "default")
    queue(ledger, BATCH, range(1, 4))
    key = JobKey.parse(JOB_ID)
    example = WarRoomJob(incident_id=key.incident_id, integration_id=key.integration_id)
    ledger.enqueue([example], BATCH)
    fails(ledger, "default.000000000000000000000001.7")
    with serving(web_app(Settings(redis_url=valkey_url, accounts_file=accounts))) as client:
        yield client


def test_schemathesis_finds_nothing(web: httpx.Client, tmp_path: Path) -> None:
    config = tmp_path / "schemathesis.toml"
    config.write_text(CONFIG)
    command = [str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(config), "run"]
    options = ["--checks", "all", "--max-examples", "30", "--seed", "3", "--no-color"]
    done = subprocess.run(
        [*command, f"{web.base_url}/openapi.json", *options],
        cwd=tmp_path,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "tests.schemathesis_hooks", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    assert "Selected: 10/10" in done.stdout
    assert "Tested: 10" in done.stdout


def test_every_operation_has_an_example_and_says_what_it_answers(web: httpx.Client) -> None:
    page = web.get("/openapi.json").json()
    for path, operations in page["paths"].items():
        for method, operation in operations.items():
            bodies = operation.get("requestBody", {}).get("content", {}).values()
            answers = [body for one in operation["responses"].values() for body in one["content"].values()]
            assert all("example" in body for body in [*bodies, *answers]), f"{method} {path}"
            assert operation["summary"]
            assert operation["description"]


def test_the_page_knows_the_fields_of_a_job(web: httpx.Client) -> None:
    from producers.parsing import FIELDS  # noqa: PLC0415

    page: dict[str, Any] = web.get("/openapi.json").json()
    schema = page["paths"]["/v1/war-rooms"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == set(FIELDS)
    assert schema["properties"]["account"]["enum"] == ["acc", "default", "slow", None]
