"""`warrooms up`: what the Procfile lists, in one terminal; with an embedded Valkey unless REDIS_URL is set."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import honcho.manager
from honcho.environ import expand_processes, parse_procfile
from honcho.printer import Printer

from sandbox.stack import StackError, embedded_redis
from worker.errors import SettingsError
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

SOON_S: Final = 0.05

STOP_GRACE_S: Final = 60
"""A worker finishes the calls it has begun: connect and read timeouts, and some air."""

DATA: Final = Path(".warrooms")
"""Where the embedded Valkey keeps the queue, append-only: jobs survive a restart of `up`."""


def run(procfile: Path = Path("Procfile")) -> int:
    """Runs every line of the Procfile until one ends or Ctrl-C; the exit code of the first that failed.

    Raises:
        SettingsError: a setting is wrong, an account has no app key, or there is no Procfile here.
    """
    for account in Settings.load().accounts().values():
        account.app_key()  # say it here, in one sentence, rather than in the middle of four programs' output
    processes = _wanted(parse_procfile(_read(procfile)).processes)
    signal.signal(signal.SIGTERM, _stop)  # honcho takes over once it runs; until then nothing may be left behind
    signal.signal(signal.SIGHUP, _hang_up)
    try:
        with _redis() as url:
            return _run({"REDIS_URL": url}, processes)
    except StackError as error:
        problem = str(error)
    raise SettingsError(problem)


def _run(env: Mapping[str, str], processes: Mapping[str, str]) -> int:
    bin_folder = str(Path(sys.executable).parent)
    path = os.pathsep.join((bin_folder, os.environ.get("PATH", "")))
    honcho.manager.KILL_WAIT = STOP_GRACE_S  # honcho gives 5 s, which would cut calls under way
    manager = _Manager(Printer(sys.stdout))
    for process in expand_processes(processes, env={**os.environ, **env, "PATH": path}):
        manager.add_process(process.name, process.cmd, quiet=process.quiet, env=process.env)
    manager.loop()
    return manager.returncode or 0


def _wanted(processes: Mapping[str, str]) -> Mapping[str, str]:
    """All of them; without tokens no `web`, which would end at once and the others with it."""
    if "web" not in processes or os.environ.get("WARROOMS_API_TOKENS") or os.environ.get("WARROOMS_API_TOKENS_FILE"):
        return processes
    sys.stdout.write("No HTTP API: it asks for tokens, so set WARROOMS_API_TOKENS first (docs/http.md)\n")
    sys.stdout.flush()
    return {name: command for name, command in processes.items() if name != "web"}


class _Manager(honcho.manager.Manager):  # type: ignore[misc]
    """honcho's, but a signal while its processes are starting waits for them: honcho would stumble over it."""

    def terminate(self) -> None:
        """Stops every process, as soon as all have started."""
        if self._all_started():
            super().terminate()
        else:
            threading.Timer(SOON_S, self.terminate).start()


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _hang_up(_number: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGTERM)  # the terminal was closed: what we started must end with us


@contextlib.contextmanager
def _redis() -> Iterator[str]:
    if url := os.environ.get("REDIS_URL"):
        yield url
        return
    with embedded_redis(DATA / "valkey", port=6379, appendonly="yes", appendfsync="everysec") as url:
        sys.stdout.write(f"Embedded Valkey, data in {DATA}/. In other terminals:  export REDIS_URL={url}\n")
        sys.stdout.flush()
        yield url


def _read(procfile: Path) -> str:
    try:
        return procfile.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror
    raise SettingsError(f"cannot read {procfile.absolute()}: {reason}; run this in the project's folder")
