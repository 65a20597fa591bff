from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "sandbox"]
CREATE = "/incident/war-room/create"
BODY = {"incident_id": "a" * 24, "integration_id": 1}


@contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    pipe = subprocess.PIPE
    process = subprocess.Popen([*COMMAND, *options], cwd=ROOT, stdout=pipe, stderr=pipe, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        yield process, json.loads(line) if line else {}
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_listens_serves_and_stops_quietly(number: signal.Signals) -> None:
    with running() as (process, hello):
        assert hello == {"url": hello["url"], "pid": process.pid}
        with httpx.Client(trust_env=False) as kept:  # a connection that is open must not delay the end
            answer = kept.post(f"{hello['url']}{CREATE}?app_key=sandbox-key", json=BODY)
            assert answer.status_code == 200
            process.send_signal(number)
            out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_person_is_told_what_other_terminals_need() -> None:
    ours, its = pty.openpty()
    with subprocess.Popen([*COMMAND, "--app-key", "my key=acme"], cwd=ROOT, stdout=its) as process:
        os.close(its)
        with os.fdopen(ours, encoding="utf-8") as terminal:
            lines = [terminal.readline().rstrip() for _ in range(4)]
            process.terminate()
    assert lines[0].endswith("In other terminals:")
    assert lines[1].startswith("  export FLASHDUTY_BASE_URL=http://127.0.0.1:")
    assert lines[2:] == ["  export FLASHDUTY_APP_KEY='my key'", "  export FLASHDUTY_INTEGRATION_ID=2490562293131"]


def test_its_help_has_the_name_that_people_call_it_by() -> None:
    done = subprocess.run([*COMMAND, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "Usage: warrooms sandbox [OPTIONS]" in done.stdout


def test_every_option_reaches_the_sandbox() -> None:
    options = (
        "--app-key", "k1=acme", "--app-key", "k2", "--model", "gcra", "--rates", "5/hour", "--phase", "0.5",
        "--count-refused", "--retry-after", "seconds", "--latency", "uniform:0:0.01", "--seed", "3",
        "--incidents", "2", "--strict-incidents", "--empty-after-loss", "--access-log",
        "--fault", '{"kind": "html", "calls": 1}',
    )  # fmt: skip
    with running(*options) as (process, hello):
        statuses = [
            httpx.post(f"{hello['url']}{CREATE}?app_key={key}", json=BODY).status_code
            for key in ("k1", "k2", "sandbox-key")
        ]
        stats = httpx.get(f"{hello['url']}/sandbox/stats").json()
        process.terminate()
        _, err = process.communicate(timeout=10)
    assert statuses == [504, 400, 401]
    assert set(stats["accounts"]) == {"acme", "sandbox"}
    assert stats["limits"] == {
        "model": "gcra",
        "rates": "5/hour",
        "phase_s": 0.5,
        "count_refused": True,
        "retry_after": "seconds",
        "latency": "uniform:0:0.01",
    }
    assert len(err.splitlines()) == 3
    assert "k1" not in err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--model", "leaky"], "there is no model"),
        (["--rates", "fast"], "no list of rates"),
        (["--latency", "slow"], "no latency"),
        (["--host", "0.0.0.0"], "loopback"),  # noqa: S104 # it is refused
        (["--fault", "cut"], "JSON object"),
        (["--fault", '{"kind": "x"}'], "kind is one of"),
        (["--app-key", "=acme"], "app key"),
    ],
)
def test_a_bad_option_gets_one_sentence_and_exit_2(options: list[str], sentence: str) -> None:
    done = subprocess.run([*COMMAND, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_option_of_the_wrong_type_exits_2_too() -> None:
    done = subprocess.run([*COMMAND, "--port", "x"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr
