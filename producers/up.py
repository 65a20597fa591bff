"""`warrooms up`: what the Procfile lists, in one terminal; with an embedded Valkey unless REDIS_URL is set."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import honcho.manager
from honcho.environ import expand_processes, parse_procfile
from honcho.printer import Printer

from producers.alone import alone
from producers.console import forget_stdout
from producers.flower_password import password_env
from producers.up_process import UpProcess
from sandbox.processes import is_free
from sandbox.stack import StackError, Valkey
from worker.errors import SettingsError
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from types import FrameType

SOON_S: Final = 0.05

STOP_GRACE_S: Final = 60
"""A worker finishes the calls it has begun: connect and read timeouts, and some air."""

DATA: Final = Path(".warrooms")
"""Where the embedded Valkey keeps the queue, append-only: jobs survive a restart of `up`."""

LOCK: Final = DATA / "lock"
"""Held by `up` and by its Valkey: two of them would ruin each other's files."""

PORT: Final = DATA / "port"
"""The embedded Valkey's last port: other terminals hold an address with it."""

FLOWER_PASSWORD: Final = DATA / "flower-password"
"""Made at the first start; Flower says that it is there."""

USUAL_PORT: Final = 6379

WEB_PORT: Final = 8080
"""Where `warrooms web` listens if its line does not say."""

SHARED: Final = ("FLASHDUTY_INTEGRATION_ID", "WARROOMS_ACCOUNTS_FILE")
"""What a terminal that queues jobs must have too; no secret."""

_FLOWER: Final = re.compile(r"\bcelery\b.*\sflower\b")
_PORT: Final = re.compile(r"--port[= ](\d+)")
_WEB: Final = re.compile(r"\bwarrooms\s+web\b")


def run(procfile: Path = Path("Procfile"), port: int | None = None) -> int:
    """Runs every line of the Procfile until one ends or Ctrl-C; the exit code of the first that failed.

    Args:
        procfile: what to run.
        port: where the HTTP API listens; None: where its line says.

    Raises:
        SettingsError: a setting is wrong, an account has no app key, there is no Procfile here, or another `up` runs
            in this folder, or the port of the HTTP API is taken.
    """
    for account in Settings.load().accounts().values():
        account.app_key()  # say it here, in one sentence, rather than in the middle of four programs' output
    processes = _wanted(parse_procfile(_read(procfile)).processes)
    if port is not None:
        processes = {name: with_port(command, port) for name, command in processes.items()}
    signal.signal(signal.SIGTERM, _stop)  # honcho takes over once it runs; until then nothing may be left behind
    signal.signal(signal.SIGHUP, _hang_up)
    try:
        with alone(LOCK) as lock:
            _check_web(processes, procfile)
            with _redis(lock) as url:
                kept = without_taken_flower(processes)
                flowers = [command for command in kept.values() if _flower_port(command) is not None]
                return _run({"REDIS_URL": url, **password_env(FLOWER_PASSWORD, flowers)}, kept)
    except StackError as error:
        problem = str(error)
    raise SettingsError(problem)


def without_taken_flower(processes: Mapping[str, str]) -> Mapping[str, str]:
    """The processes, but for a Flower whose port is taken: it is for looking on only, and would stop the others."""
    kept = {}
    for name, command in processes.items():
        port = _flower_port(command)
        if port is None or is_free(port):
            kept[name] = command
        else:
            _say(f"Port {port} is taken, perhaps by another Flower: going on without {name}.")
    return kept


def with_port(command: str, port: int) -> str:
    """The command, whose HTTP API listens at this port; as it is, if it is another one's."""
    if not _WEB.search(command):
        return command
    if _PORT.search(command):
        return _PORT.sub(f"--port {port}", command)
    return _WEB.sub(lambda found: f"{found[0]} --port {port}", command)


def _check_web(processes: Mapping[str, str], procfile: Path) -> None:
    """Looks whether the HTTP API can listen, before anything starts: its end would be the end of the others.

    Raises:
        SettingsError: its port is taken.
    """
    for name, command in processes.items():
        if _WEB.search(command):
            named = _PORT.search(command)
            port = int(named[1]) if named else WEB_PORT
            if port and not is_free(port):
                raise SettingsError(
                    f"port {port} is taken; give {name} another: warrooms up --port N (or in {procfile})"
                )


def _flower_port(command: str) -> int | None:
    """The port of a Flower; None if the command is none."""
    if not _FLOWER.search(command):
        return None
    named = _PORT.search(command)
    return int(named[1] if named else os.environ.get("FLOWER_PORT") or 5555)


def _run(env: Mapping[str, str], processes: Mapping[str, str]) -> int:
    bin_folder = str(Path(sys.executable).parent)
    path = os.pathsep.join((bin_folder, os.environ.get("PATH", "")))
    honcho.manager.KILL_WAIT = STOP_GRACE_S  # honcho gives 5 s, which would cut calls under way
    listed = expand_processes(processes, env={**os.environ, **env, "PATH": path})
    manager = _Manager({one.name for one in listed if _flower_port(one.cmd) is not None})
    for process in listed:
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


class _Output:
    """Standard output; when nobody reads it any more, everything is stopped as by SIGTERM.

    An error here would end honcho's loop, and `up` would wait for ever for processes that nobody stops.
    """

    def write(self, text: str) -> None:
        """Writes, as long as somebody reads."""
        with self._read():
            sys.stdout.write(text)

    def flush(self) -> None:
        """Hands over what was written."""
        with self._read():
            sys.stdout.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal, for honcho's colours."""
        return sys.stdout.isatty()

    @contextlib.contextmanager
    def _read(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            forget_stdout()
            signal.raise_signal(signal.SIGTERM)


class _Manager(honcho.manager.Manager):  # type: ignore[misc]
    """honcho's, but a signal while its processes are starting waits for them: honcho would stumble over it.

    Args:
        optional: the names of processes whose end does not end the others.
    """

    def __init__(self, optional: Collection[str]) -> None:
        super().__init__(Printer(_Output()))
        self._optional = optional
        self._process_ctor = UpProcess

    def terminate(self) -> None:
        """Stops every process, as soon as all have started."""
        if self._all_started():
            super().terminate()
        else:
            threading.Timer(SOON_S, self.terminate).start()

    def _any_stopped(self) -> bool:
        needed = (one for name, one in self._processes.items() if name not in self._optional)
        return any(one.get("returncode") is not None for one in needed)


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _hang_up(_number: int, _frame: FrameType | None) -> None:
    signal.raise_signal(signal.SIGTERM)  # the terminal was closed: what we started must end with us


@contextlib.contextmanager
def _redis(lock: int) -> Iterator[str]:
    if url := os.environ.get("REDIS_URL"):
        yield url
        return
    options = {"appendonly": "yes", "appendfsync": "everysec"}
    with Valkey(DATA / "valkey", port=preferred_port(PORT), pass_fds=[lock], **options) as valkey:
        PORT.write_text(f"{valkey.port}\n", encoding="ascii")
        shared = {"REDIS_URL": valkey.url} | {name: os.environ[name] for name in SHARED if os.environ.get(name)}
        exports = (f"  export {name}={shlex.quote(value)}" for name, value in shared.items())
        _say(f"Embedded Valkey, data in {DATA}/. In other terminals:", *exports)
        yield valkey.url


def preferred_port(file: Path) -> int | None:
    """The port of the last time if it is free, else Redis' usual one; None if both are taken."""
    try:
        last = int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        last = 0
    return next((port for port in (last, USUAL_PORT) if 0 < port < 2**16 and is_free(port)), None)


def _say(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


def _read(procfile: Path) -> str:
    try:
        return procfile.read_text(encoding="utf-8")
    except OSError as error:
        reason = error.strerror
    raise SettingsError(f"cannot read {procfile.absolute()}: {reason}; run this in the project's folder")
