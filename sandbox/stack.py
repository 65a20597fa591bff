"""A whole installation on loopback: embedded Valkey, the sandbox's API, worker processes. For demo, tests and bench.

    with Stack(api=("--latency", "uniform:0:2")) as stack:
        stack.start_worker()
        ...                      # stack.env is what `warrooms` and Celery read; stack.stats() is the API's truth

Everything it starts is a process of its own session and is gone when the block is left, also after Ctrl-C.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import httpx
import redis

from sandbox.processes import Process, StackError, spawn, until
from sandbox.proxy import HOST, Proxy
from sandbox.valkey import Valkey, embedded_redis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["APP_KEY", "INTEGRATION_ID", "Process", "Proxy", "Stack", "StackError", "Valkey", "embedded_redis", "until"]

SETTINGS: Final = ("FLASHDUTY_", "WARROOMS_", "REDIS_URL", "OTEL_", "PROMETHEUS_")
APP_KEY: Final = "sandbox-key"
INTEGRATION_ID: Final = 362
ROOT: Final = Path(__file__).parent.parent


class Stack:
    """Valkey and the sandbox's API, and as many workers as `start_worker` is called.

    Args:
        api: options of `python -m sandbox`, for instance `("--model", "fixed")`.
        env: more environment variables for everything started.
        redis_url: an own Redis to use instead of the embedded one.
        valkey: settings of the embedded one, for instance `{"appendonly": "yes"}`.
        through_proxy: whether what is started reaches the embedded one through `proxy`; `redis_url` stays direct.
    """

    valkey: Valkey
    """The embedded one; absent if `redis_url` was given."""
    proxy: Proxy
    """In front of it; only with `through_proxy`."""

    def __init__(
        self,
        api: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        redis_url: str | None = None,
        *,
        valkey: Mapping[str, str] | None = None,
        through_proxy: bool = False,
    ) -> None:
        self._api_options = list(api)
        self._more_env = dict(env or {})
        self._valkey_settings = dict(valkey or {})
        self._through_proxy = through_proxy
        self._open = contextlib.ExitStack()
        self.workers: list[Process] = []
        self.redis_url = redis_url or ""
        self.worker_redis_url = ""
        self.api_url = ""
        self.folder = Path()

    def __enter__(self) -> Self:
        with self._open:
            self.folder = Path(tempfile.mkdtemp(prefix="warrooms-"))
            self._open.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self._reach_redis()
            self.redis = redis.Redis.from_url(self.redis_url, decode_responses=True)
            self._open.callback(self.redis.close)
            self.api_url = self._start_api()
            self._open = self._open.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.ask()  # all at once; each is waited for when its turn comes
        self._open.close()

    def _reach_redis(self) -> None:
        if not self.redis_url:
            valkey = Valkey(self.folder / "valkey", port=None, pass_fds=(), **self._valkey_settings)
            self.valkey = self._open.enter_context(valkey)
            self.redis_url = self.valkey.url
        self.worker_redis_url = self.redis_url
        if self._through_proxy:
            self.proxy = self._open.enter_context(Proxy(HOST, self.valkey.port))
            self.worker_redis_url = self.proxy.url

    @property
    def env(self) -> dict[str, str]:
        """The environment in which this installation's programs run."""
        # Nothing of the user's own settings: a demo must neither fail because of them nor see a real key.
        mine = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
        return {
            **mine,
            "REDIS_URL": self.worker_redis_url,
            "FLASHDUTY_BASE_URL": self.api_url,
            "FLASHDUTY_APP_KEY": APP_KEY,
            "FLASHDUTY_INTEGRATION_ID": str(INTEGRATION_ID),
            "WARROOMS_LOG_FORMAT": "json",
            "WARROOMS_METRICS_ADDRESS": "off",  # no fixed port
            **self._more_env,
        }

    def start_worker(self, *options: str, wait: bool = True) -> Process:
        """Starts one more worker process; with `wait`, comes back when it waits for messages."""
        name = f"w{len(self.workers) + 1}"
        command = [sys.executable, "-m", "celery", "-A", "worker", "worker", "-n", f"{name}@%h", "--loglevel", "INFO"]
        worker = self._spawn(name, [*command, "--without-mingle", "--without-gossip", *options])
        self.workers.append(worker)
        if wait:
            wanted = sum(w.alive for w in self.workers)
            until(lambda: self._waiting_workers() >= wanted, f"worker {name}", worker)
        return worker

    def start(self, name: str, *command: str) -> Process:
        """Starts a Python module in this installation; it is ended with it at the latest."""
        return self._spawn(name, [sys.executable, "-m", *command])

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

    def rooms(self, incident_id: str = "") -> list[dict[str, Any]]:
        """Every room ever made, of one incident if named."""
        rooms: list[dict[str, Any]] = self._control("GET", f"rooms?incident_id={incident_id}")["items"]
        return rooms

    def arrivals(self) -> list[list[Any]]:
        """Each call that reached the API: seconds since the first one, account, endpoint, status."""
        arrivals: list[list[Any]] = self._control("GET", "arrivals")
        return arrivals

    def fault(self, **rule: object) -> None:
        """Adds a fault rule; sandbox/faults.py has the fields."""
        self._control("POST", "faults", rule)

    def clear_faults(self) -> None:
        """Removes every fault rule."""
        self._control("DELETE", "faults")

    def control(self, path: str, **body: object) -> Any:  # noqa: ANN401
        """Any other control call, for instance `control("pause", seconds=3)`."""
        return self._control("POST", path, body)

    def _start_api(self) -> str:
        self.api = api = self._spawn("api", [sys.executable, "-m", "sandbox", "--port", "0", *self._api_options])
        until(lambda: "\n" in api.log.read_text(), "the sandbox", api)
        return str(json.loads(api.log.read_text().splitlines()[0])["url"])

    def _spawn(self, name: str, command: list[str]) -> Process:
        process = spawn(name, command, self.folder / f"{name}.log", self.env, ROOT)
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
