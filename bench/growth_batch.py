"""How many jobs one script queues: jobs a second, and how long Redis answers nobody else meanwhile.

The time of a script is Redis' own, from its slow log; Redis does nothing else in that time.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

import redis

from bench.common import BATCH, jobs
from producers.queue import JobQueue
from sandbox.stack import INTEGRATION_ID, embedded_redis
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCHES: Final = (1, 10, 100, 500, 1000)
JOBS: Final = 50_000
QUICK_JOBS: Final = 5_000
SINGLE: Final = 10
"""With one job a script only a tenth of the jobs are queued, or it would take as long as all others together."""

ROUNDS: Final = 5


def measure(quick: bool) -> Iterator[dict[str, Any]]:  # noqa: FBT001
    """A line for each number of jobs a script."""
    with tempfile.TemporaryDirectory() as folder, embedded_redis(Path(folder)) as url:
        queue, client = JobQueue(Settings(redis_url=url, integration_id=INTEGRATION_ID)), redis.Redis.from_url(url)
        client.config_set("slowlog-log-slower-than", 0)
        client.config_set("slowlog-max-len", 200_000)
        queue.enqueue_chunk(jobs(10), BATCH)
        rounds: dict[int, list[tuple[float, list[int]]]] = {size: [] for size in BATCHES}
        for _ in range(2 if quick else ROUNDS):
            for size in BATCHES:
                count = (QUICK_JOBS if quick else JOBS) // (SINGLE if size == 1 else 1)
                client.flushdb()
                client.slowlog_reset()
                rounds[size].append((_enqueue(queue, count, size), _scripts_us(client)))
        queue.close()
        client.close()
    for size, measured in rounds.items():
        every_us = sorted(us for _, scripts in measured for us in scripts)
        yield {
            "jobs_per_script": size,
            "enqueued_per_s": round(median(per_s for per_s, _ in measured)),
            "script_ms_median": round(median(every_us) / 1000, 3),
            "script_ms_p99": round(every_us[int(len(every_us) * 0.99)] / 1000, 3),
            "script_ms_longest": round(median(max(scripts) for _, scripts in measured) / 1000, 3),
            "redis_us_per_job": round(median(every_us) / size, 1),
            "scripts": len(every_us),
        }


def _enqueue(queue: JobQueue, count: int, size: int) -> float:
    """Jobs per second."""
    all_jobs = jobs(count)
    began = time.perf_counter()
    for at in range(0, count, size):
        queue.enqueue_chunk(all_jobs[at : at + size], BATCH)
    return count / (time.perf_counter() - began)


def _scripts_us(client: redis.Redis) -> list[int]:
    log: Any = client.slowlog_get(200_000)
    return [int(entry["duration"]) for entry in log if _queues(entry["command"])]


def _queues(command: bytes) -> bool:
    return command.startswith(b"EVALSHA") and b" enqueue " in command
