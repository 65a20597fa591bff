"""What a contender costs: its workers' CPU and memory, the commands it sends to Redis, and how busy the machine was."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import redis

    from sandbox.processes import Process

OURS: Final = ("info", "client", "ping", "hello")
"""The benchmark's own command, and what clients say when they connect, begin so."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything that was spent until a moment; CPU in seconds."""

    worker_cpu_s: float
    redis_cpu_s: float
    machine_busy_s: float
    machine_s: float
    commands: Mapping[str, int]


class Meter:
    """Reads what a set of workers and their Redis have spent.

    Args:
        workers: our processes; their children count, too.
        store: the Redis they use.
    """

    def __init__(self, workers: Sequence[Process], store: redis.Redis) -> None:
        self._workers, self._store = workers, store
        self.peak_bytes = 0

    def read(self) -> Reading:
        """Reads everything once, and looks whether the workers have grown."""
        processes = [process for worker in self._workers for process in family(worker.popen.pid)]
        self.peak_bytes = max(self.peak_bytes, sum(_memory(process) for process in processes))
        times = psutil.cpu_times()
        whole = sum(times[:8])  # guest times are counted in user's already
        return Reading(
            worker_cpu_s=cpu_s(processes),
            redis_cpu_s=redis_cpu_s(self._store),
            machine_busy_s=whole - times.idle - times.iowait,
            machine_s=whole,
            commands=commands_of(self._store),
        )


def commands_of(store: redis.Redis) -> dict[str, int]:
    """How often each kind of command was called, those inside scripts counted."""
    stats: Any = store.info("commandstats")
    calls = {kind.removeprefix("cmdstat_"): int(stat["calls"]) for kind, stat in stats.items()}
    return {kind: count for kind, count in calls.items() if not kind.startswith(OURS)}


def redis_cpu_s(store: redis.Redis) -> float:
    """The CPU that the server has used."""
    cpu: Any = store.info("cpu")
    return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])


def cpu_s(processes: Iterable[psutil.Process]) -> float:
    """The CPU of processes, and of their children that have ended."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def family(pid: int) -> list[psutil.Process]:
    """A process and all that it started; empty if it has ended."""
    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    return []


def _memory(process: psutil.Process) -> int:
    """The process' memory; what it shares with others (a pool of forked children shares much) is divided among them."""
    with contextlib.suppress(psutil.Error):
        full = process.memory_full_info()
        return int(getattr(full, "pss", full.rss))  # only Linux tells how much is shared
    return 0


def per_job(before: Reading, after: Reading, jobs: int, workers: int, peak_bytes: int) -> dict[str, Any]:
    """What each of so many jobs cost between two readings."""
    jobs = max(1, jobs)
    spent = {kind: count - before.commands.get(kind, 0) for kind, count in after.commands.items()}
    kinds = sorted(spent.items(), key=lambda item: -item[1])
    return {
        "cpu_ms_per_job": round(1000 * (after.worker_cpu_s - before.worker_cpu_s) / jobs, 2),
        "redis_cpu_ms_per_job": round(1000 * (after.redis_cpu_s - before.redis_cpu_s) / jobs, 2),
        "redis_commands_per_job": round(sum(spent.values()) / jobs, 1),
        "redis_kinds_per_job": {kind: round(count / jobs, 2) for kind, count in kinds if count / jobs >= 0.01},
        "memory_mb_per_worker": round(peak_bytes / 1e6 / workers, 1),
        "machine_busy": round(
            (after.machine_busy_s - before.machine_busy_s) / max(0.01, after.machine_s - before.machine_s), 3
        ),
    }
