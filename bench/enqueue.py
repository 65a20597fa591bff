"""How fast jobs get into Redis: `enqueue_many`, with a record of each, beside what Celery offers, which keeps none.

    python -m bench.enqueue [--jobs 100000] [--loop 10000] [--rounds 3]

In turns, each round on an empty Redis: an `apply_async` loop; `group(...).apply_async()` in chunks of 500; kombu's
`Producer.batch`, which puts 500 publishes into one pipeline; messages made beforehand and pushed 500 in a pipeline,
which is as fast as Redis and a client can be, without dedup, order or record; and ours. `growth_mb` is how much the
process of `enqueue_many` grew, fed by a generator.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psutil
import redis
from celery import group

import worker.tasks  # noqa: F401 - registers the task
from bench.common import report
from producers.queue import JobQueue
from sandbox.stack import INTEGRATION_ID, embedded_redis
from worker.celery_app import app
from worker.jobs import WarRoomJob
from worker.messages import arguments_of, nudge
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")

CHUNK: Final = 500
QUEUE: Final = "warrooms.default"


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def jobs(count: int) -> Iterator[WarRoomJob]:
    for n in range(count):
        yield WarRoomJob(incident_id=f"{n:024x}", integration_id=INTEGRATION_ID)


def apply_async_loop(count: int) -> float:
    """Jobs per second of what a user would write first."""
    task = app.tasks["warrooms.open"]
    began = time.perf_counter()
    for job in jobs(count):
        task.apply_async(kwargs=arguments_of(job), task_id=job.id, queue=QUEUE)
    return count / (time.perf_counter() - began)


def groups(count: int) -> float:
    task = app.tasks["warrooms.open"]
    began = time.perf_counter()
    for chunk in chunks(jobs(count)):
        group(task.signature(kwargs=arguments_of(job), task_id=job.id) for job in chunk).apply_async(queue=QUEUE)
    return count / (time.perf_counter() - began)


def producer_batch(count: int) -> float:
    task = app.tasks["warrooms.open"]
    began = time.perf_counter()
    with app.producer_pool.acquire(block=True) as producer, producer.batch(CHUNK):
        for job in jobs(count):
            task.apply_async(kwargs=arguments_of(job), task_id=job.id, queue=QUEUE, producer=producer)
    return count / (time.perf_counter() - began)


def raw_pipeline(client: redis.Redis, count: int) -> float:
    """The bound: nothing is made, nothing is looked up."""
    messages = [nudge(job) for job in jobs(count)]
    began = time.perf_counter()
    for chunk in chunks(messages):
        pipe = client.pipeline(transaction=False)
        for message in chunk:
            pipe.lpush(QUEUE, message)
        pipe.execute()
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--loop", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, embedded_redis(Path(folder)) as url:
        app.conf.broker_url = url
        queue = JobQueue(Settings(redis_url=url, integration_id=INTEGRATION_ID))
        client = redis.Redis.from_url(url)
        ways: dict[str, Callable[[int], float]] = {
            "apply_async": apply_async_loop,
            "group": groups,
            "producer_batch": producer_batch,
            "raw_pipeline": lambda count: raw_pipeline(client, count),
        }
        queue.enqueue_many(jobs(1000))  # both start warm
        apply_async_loop(200)
        speeds: dict[str, list[float]] = {name: [] for name in [*ways, "enqueue_many"]}
        growth = []
        for _ in range(options.rounds):
            for name, way in ways.items():
                client.flushdb()
                speeds[name].append(way(options.loop))
            client.flushdb()
            speed, grown = many(queue, options.jobs)
            speeds["enqueue_many"].append(speed)
            growth.append(grown)
        queue.close()
    found: dict[str, Any] = {f"{name}_per_s": round(median(each)) for name, each in speeds.items()}
    ratio = median(speeds["enqueue_many"]) / median(speeds["apply_async"])
    report(**found, ratio=round(ratio, 2), growth_mb=round(max(growth), 1))


if __name__ == "__main__":
    main()
