"""One contender in an installation of its own: its workers, who queues for it, and what the API saw of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final, Self

import httpx

from bench.meter import Meter, cpu_s, family
from sandbox.stack import ROOT, Stack, until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.contenders import Contender
    from sandbox.processes import Process

QUIET_SHARE: Final = 0.1
QUIET_LOOK_S: Final = 0.5
QUIET_LOOKS: Final = 3
QUIET_WITHIN_S: Final = 40.0
STOP_S: Final = 5.0


class Arena:
    """A sandbox, a Redis, and a contender's processes on them; all gone when the block is left.

    Args:
        contender: who opens the rooms.
        model: how the server counts.
        workers: how many worker processes it is started with; `celery_rate_limit` has to know.
        api: more options of the sandbox.
        rates: what the account allows, a second and a minute, as the contender is told.
        concurrency: calls at the same time in each worker.
    """

    def __init__(
        self,
        contender: Contender,
        model: str,
        workers: int,
        api: Sequence[str] = (),
        rates: tuple[int, int] = (50, 1000),
        concurrency: int = 64,
    ) -> None:
        per_second, per_minute = rates
        text = f"{per_second}/second;{per_minute}/minute"
        env = {
            "BENCH_WORKERS": str(workers),
            "BENCH_CONCURRENCY": str(concurrency),
            "BENCH_PER_SECOND": str(per_second),
            "BENCH_PER_MINUTE": str(per_minute),
            "WARROOMS_RATES": text,
        }
        self.contender = contender
        self.stack = Stack(("--model", model, "--rates", text, *api), env)
        self.workers: list[Process] = []
        self._count = workers
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with self._open:
            self._open.enter_context(self.stack)
            # A client of its own: the stack's makes one for every call, and this one is asked several times a second.
            client = httpx.Client(base_url=f"{self.stack.api_url}/sandbox/", timeout=30, trust_env=False)
            self._client = self._open.enter_context(client)
            self._producer = self._open.enter_context(self._started_producer())
            self._open.callback(self._producer.kill)
            self._open.callback(self._stop_workers)
            self._open = self._open.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def start_workers(self) -> Meter:
        """Starts them at the same time and waits until all have started: they do nothing any more."""
        for _ in range(self._count):
            self.start_worker()
        deadline = time.monotonic() + QUIET_WITHIN_S
        quiet = 0
        while quiet < QUIET_LOOKS and time.monotonic() < deadline:
            quiet = quiet + 1 if self._busy_share() < QUIET_SHARE else 0
        return Meter(self.workers, self.stack.redis)

    def start_worker(self) -> Process:
        """Starts one more."""
        name = f"w{len(self.workers) + 1}"
        worker = self.stack.start(name, *self.contender.worker_command(name))
        self.workers.append(worker)
        return worker

    def enqueue(self, incident_ids: Sequence[str], *, urgent: bool = False) -> None:
        """Queues jobs, in a process of its own, and waits until they are queued."""
        assert self._producer.stdin is not None
        assert self._producer.stdout is not None
        self._producer.stdin.write(json.dumps({"incident_ids": list(incident_ids), "urgent": urgent}) + "\n")
        self._producer.stdin.flush()
        if self._producer.stdout.readline().strip() != "queued":
            raise RuntimeError(f"{self.contender.name}: the producer has ended")

    def stats(self) -> dict[str, Any]:
        """What reached the API, counted by the API."""
        stats: dict[str, Any] = self._client.get("stats").json()
        return stats

    def rooms(self) -> int:
        """How many incidents have a room."""
        return int(self.stats()["incidents_with_rooms"])

    def has_room(self, incident_id: str) -> bool:
        """Whether the incident has a room."""
        return bool(self._client.get("rooms", params={"incident_id": incident_id}).json()["items"])

    def first_call(self, within_s: float = 60.0) -> None:
        """Waits for the first call of any worker."""
        until(lambda: self.stats()["arrivals"] > 0, "the first call", self.workers[0], within_s)

    def kill_worker(self, worker: Process) -> None:
        """Ends a worker and its children with SIGKILL, all at once, as when its machine dies."""
        os.killpg(worker.popen.pid, signal.SIGKILL)
        worker.popen.wait()

    def worker_cpu_s(self) -> list[float]:
        """The CPU that each worker has used, in the order in which they were started."""
        return [cpu_s(family(worker.popen.pid)) for worker in self.workers]

    def _busy_share(self) -> float:
        """The share of a core that the workers use now."""
        before, began = sum(self.worker_cpu_s()), time.monotonic()
        time.sleep(QUIET_LOOK_S)
        return (sum(self.worker_cpu_s()) - before) / (time.monotonic() - began)

    def _started_producer(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", *self.contender.producer_command()]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=self.stack.env, stdin=pipe, stdout=pipe, text=True, cwd=ROOT)

    def _stop_workers(self) -> None:
        """A worker in whose threads jobs wait may take as long as they do: it is not waited for."""
        for worker in self.workers:
            worker.ask()
        deadline = time.monotonic() + STOP_S
        for worker in self.workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.popen.wait(max(0.0, deadline - time.monotonic()))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.popen.pid, signal.SIGKILL)
