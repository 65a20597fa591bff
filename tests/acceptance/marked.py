"""Programs that start others, and a mark in the environment by which all of them can be found."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import psutil

from sandbox.stack import until

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping
    from pathlib import Path

MARK: Final = "WARROOMS_TEST_MARK"
FOREIGN: Final = ("REDIS_URL", "FLASHDUTY_", "WARROOMS_", "OTEL_", "PROMETHEUS_")
NO_PORT: Final = {"WARROOMS_METRICS_ADDRESS": "off"}


class Program:
    """A Python program with a mark, its own temp folder, its own working folder.

    Args:
        code: what `python -c` runs.
        folder: for its log, its temp files and, unless `cwd` is given, to run in.
        env: more environment variables.
        cwd: where it runs.
    """

    def __init__(self, code: str, folder: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> None:
        self.mark = secrets.token_hex(8)
        self.temp = folder / "tmp"
        self.temp.mkdir(parents=True, exist_ok=True)
        self._log = folder / "output.log"
        self._seen: dict[int, psutil.Process] = {}
        clean = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        with self._log.open("w") as sink:
            self.popen = subprocess.Popen(
                (sys.executable, "-c", code),
                env={
                    **clean,
                    **NO_PORT,
                    MARK: self.mark,
                    "TMPDIR": str(self.temp),
                    "PYTHONUNBUFFERED": "1",
                    **(env or {}),
                },
                cwd=cwd or folder,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def output(self) -> str:
        """What it printed so far."""
        return self._log.read_text(errors="replace")

    def end(self, how: signal.Signals | None = None, within_s: float = 40.0) -> int:
        """Its exit code, after a signal if one is given."""
        self.note()
        if how is not None:
            self.popen.send_signal(how)
        return self.popen.wait(within_s)

    def says(self, text: str) -> None:
        """Waits until it printed this."""
        until(lambda: text in self.output() or self.popen.poll() is not None, repr(text), within_s=40)
        assert text in self.output()
        self.note()

    def note(self) -> None:
        """Remembers what it has started up to now: Valkey rewrites its environment, so the mark would not do."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(self.popen.pid).children(recursive=True):
                self._seen[process.pid] = process

    def alive(self) -> list[str]:
        """The programs that it started, or that carry its mark, and still run, by command line."""
        self.note()
        found = {}
        for process in [*psutil.process_iter(), *self._seen.values()]:
            with contextlib.suppress(psutil.Error):
                ours = self._seen.get(process.pid) == process or process.environ().get(MARK) == self.mark
                if ours and process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    found[process.pid] = " ".join(process.cmdline())
        return list(found.values())

    def assert_nothing_left(self) -> None:
        """No process and no temp file of it is left."""
        assert self.alive() == []
        assert list(self.temp.iterdir()) == []

    def kill_all(self) -> None:
        """For the end of a test that failed."""
        self.note()
        for process in [*psutil.process_iter(), *self._seen.values()]:
            with contextlib.suppress(psutil.Error):
                if self._seen.get(process.pid) == process or process.environ().get(MARK) == self.mark:
                    process.kill()
        self.popen.wait(10)
