"""100,000 jobs with ledger records through `enqueue_many`, beside an `apply_async` loop, in one run.

python -m bench.enqueue [--jobs 100000] [--loop 10000]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import psutil
import redis

from producers.queue import JobQueue
from sandbox.stack import INTEGRATION_ID, embedded_redis
from worker.celery_app import app
from worker.jobs import WarRoomJob
from worker.messages import arguments_of
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 3


def jobs(count: int) -> Iterator[WarRoomJob]:
    for n in range(count):
        yield WarRoomJob(incident_id=f"{n:024x}", integration_id=INTEGRATION_ID)


def apply_async_loop(count: int) -> float:
    """Jobs per second of what a user would write first; no ledger, no dedup."""
    task = app.tasks["warrooms.open"]
    began = time.perf_counter()
    for job in jobs(count):
        task.apply_async(kwargs=arguments_of(job), task_id=job.id, queue="warrooms.default")
    return count / (time.perf_counter() - began)


def many(queue: JobQueue, count: int) -> tuple[float, float]:
    """Jobs per second of `enqueue_many`, and how much the process grew, in MB."""
    process = psutil.Process(os.getpid())
    before, peak, seen = process.memory_info().rss, 0, 0

    def watch(_job: WarRoomJob, _receipt: object) -> None:
        nonlocal peak, seen
        seen += 1
        if seen % 5000 == 0:
            peak = max(peak, process.memory_info().rss)

    began = time.perf_counter()
    queue.enqueue_many(jobs(count), batch="bench", on_receipt=watch)
    return count / (time.perf_counter() - began), (peak - before) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--loop", type=int, default=10_000)
    options = parser.parse_args()
    import worker.tasks  # noqa: F401, PLC0415 - registers the task for apply_async

    with tempfile.TemporaryDirectory() as folder, embedded_redis(Path(folder)) as url:
        app.conf.broker_url = url
        queue = JobQueue(Settings(redis_url=url, integration_id=INTEGRATION_ID))
        flush = redis.Redis.from_url(url).flushdb
        queue.enqueue_many(jobs(1000))  # both start warm
        apply_async_loop(200)
        loops, ours, growth = [], [], []
        for _ in range(ROUNDS):
            flush()
            loops.append(apply_async_loop(options.loop))
            flush()
            speed, grown = many(queue, options.jobs)
            ours.append(speed)
            growth.append(grown)
        queue.close()
    report: dict[str, Any] = {
        "apply_async_per_s": round(median(loops)),
        "enqueue_many_per_s": round(median(ours)),
        "ratio": round(median(ours) / median(loops), 2),
        "growth_mb": round(max(growth), 1),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
