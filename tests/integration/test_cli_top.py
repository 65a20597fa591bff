"""`warrooms top`: live on a terminal of its own, once in a pipe, a JSON object a line."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import struct
import subprocess
import termios
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from sandbox.valkey import Valkey
from tests.commands import CLOSED, WARROOMS, fails, job, queue
from worker.ledger import Ledger
from worker.redis_store import RedisStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.commands import Run

WITHIN_S = 30
LEAVES_THE_SCREEN = "\x1b[?1049l"
SHOWS_THE_CURSOR = "\x1b[?25h"


class Terminal:
    """A command on a terminal of its own; `text` is all that it wrote."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process = process
        self._master = master
        self.text = ""

    def until(self, said: str) -> None:
        """Reads until it was said, from here on."""
        start = len(self.text)
        while said not in self.text[start:]:
            ready, _, _ = select.select([self._master], [], [], WITHIN_S)
            assert ready, f"{said!r} was not said: {self.text[start:][-2000:]}"
            try:
                self.text += os.read(self._master, 65536).decode(errors="replace")
            except OSError:  # Linux says so at its end
                raise AssertionError(f"it ended before it said {said!r}: {self.text[start:][-2000:]}") from None

    def end(self) -> int:
        """Reads to the end; the exit code."""
        while True:
            try:
                piece = os.read(self._master, 65536)
            except OSError:
                break
            if not piece:
                break
            self.text += piece.decode(errors="replace")
        return self.process.wait(WITHIN_S)


@contextmanager
def terminal(env: dict[str, str], *args: str, columns: int = 80, rows: int = 24) -> Iterator[Terminal]:
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    shown = env | {"TERM": "xterm-256color"}
    process = subprocess.Popen([WARROOMS, *args], stdin=slave, stdout=slave, stderr=slave, env=shown)
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)


@pytest.mark.parametrize("columns", [30, 80])
def test_it_is_live_says_that_redis_is_away_goes_on_and_leaves_the_terminal_as_it_was(
    env: dict[str, str], tmp_path: Path, columns: int
) -> None:
    with Valkey(tmp_path / "valkey") as valkey:
        store = RedisStore(valkey.url)
        ledger = Ledger(store, "default")
        queue(ledger, "night", range(1, 4))
        with terminal(env | {"REDIS_URL": valkey.url}, "top", "--every", "0.2", columns=columns) as live:
            live.until("no worker")
            ledger.beat("w1")
            live.until("draining")
            valkey.kill()
            live.until("not updated since")
            valkey.start()
            live.until("idle")  # it had nothing on disk
            live.process.send_signal(signal.SIGINT)
            assert live.end() == 130
        store.close()
    assert live.text.rindex(LEAVES_THE_SCREEN) > live.text.rindex("idle")
    assert SHOWS_THE_CURSOR in live.text[live.text.rindex("idle") :]
    assert "Traceback" not in live.text


def test_in_a_pipe_it_looks_once(run: Run, ledger: Ledger) -> None:
    queue(ledger, "night", range(1, 4))
    ledger.beat("w1")
    fails(ledger, job(1), CLOSED)
    done = run("top")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    for said in ("1 dead letter", "night", "draining", "the incident is closed", "in about 1 s"):
        assert said in done.stdout


@pytest.mark.parametrize("columns", [40, 72])
def test_without_a_terminal_it_is_as_wide_as_columns_says(
    run: Run, ledger: Ledger, env: dict[str, str], columns: int
) -> None:
    queue(ledger, "night", range(1, 4))
    fails(ledger, job(1), CLOSED)
    lines = run("top", env=env | {"COLUMNS": str(columns)}).stdout.splitlines()
    assert columns - 12 < max(map(len, lines)) <= columns
    assert [line for line in lines if line != line.rstrip()] == []
    assert max(map(len, run("top", env=env | {"COLUMNS": "wide"}).stdout.splitlines())) > 72


def test_json_is_an_object_a_line(run: Run, ledger: Ledger, env: dict[str, str]) -> None:
    queue(ledger, "night", range(1, 4))
    (one,) = run("top", "--json", "--once").stdout.splitlines()
    assert json.loads(one)["accounts"][0]["waiting"]["bulk"] == 3
    command = [WARROOMS, "top", "--json", "--every", "0.2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) as going:
        assert going.stdout is not None
        assert [json.loads(going.stdout.readline())["batches"][0]["batch"] for _ in range(3)] == ["night"] * 3
        going.terminate()


def test_another_account_is_refused_and_without_redis_it_says_so(run: Run, env: dict[str, str]) -> None:
    assert run("top", "--account", "none").returncode == 2
    away = run("top", env=env | {"REDIS_URL": "redis://127.0.0.1:1/0"})
    assert away.returncode == 3
    assert "cannot reach Redis" in away.stderr
