"""10 to 100,000 dead letters: how long people wait who look at them, and a replay of a hundred.

The commands are whole processes, as a person runs them; `help_s` is what of that is the start of Python.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from bench.common import BATCH, jobs
from bench.server import server
from producers.gauges import Gauges
from producers.glance import glance
from producers.queue import JobQueue
from sandbox.stack import INTEGRATION_ID, Stack
from worker.errors import RequestRefused
from worker.messages import queue_name
from worker.records import Claim
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COUNTS: Final = (10, 100, 1_000, 10_000, 100_000)
QUICK_COUNTS: Final = (10, 2_000)
REPLAYED: Final = 100
PAGE: Final = 100
ROUNDS: Final = 7
CHUNK: Final = 500
WHY: Final = RequestRefused("the incident is closed", code="InvalidParameter", status=400, hint="open it again")
CLI: Final = "from producers.cli import main; main()"


def measure(quick: bool) -> Iterator[dict[str, Any]]:  # noqa: FBT001
    """A line for each number of dead letters; they are added to, not made anew."""
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as url, Stack(redis_url=url) as stack:
        queue, made = JobQueue(Settings(redis_url=stack.redis_url, integration_id=INTEGRATION_ID)), 0
        for count in QUICK_COUNTS if quick else COUNTS:
            _fail(queue, count - made, made)
            made = count
            yield {"letters": count, **_times(stack, queue, 2 if quick else ROUNDS, min(REPLAYED, count))}
            _fail_waiting(queue)
        queue.close()


def _times(stack: Stack, queue: JobQueue, rounds: int, replayed: int) -> dict[str, Any]:
    ledger = queue.ledger("default")
    asked: dict[str, Callable[[], object]] = {
        "help_s": lambda: _run(stack, "--help"),
        "failed_list_s": lambda: _run(stack, "failed", "list", "--limit", "20"),
        "status_s": lambda: _run(stack, "status"),
        "first_page_ms": lambda: list(islice(ledger.dead_letters(), PAGE)),
        "board_ms": lambda: [glance(desk) for desk in queue.desks()],
        "metrics_ms": lambda: list(Gauges(queue.desks(), queue.store, clock=_always_later()).collect()),
    }
    found: dict[str, Any] = {}
    for name, ask in asked.items():
        seconds = median(_took_s(ask) for _ in range(rounds))
        found[name] = round(seconds, 3) if name.endswith("_s") else round(1000 * seconds, 2)
    letters = [record.job for record in islice(ledger.dead_letters(), replayed)]
    found["replay_ms"] = round(1000 * _took_s(lambda: ledger.replay(letters)), 2)
    return found | {"replayed": replayed}


def _fail(queue: JobQueue, count: int, first: int) -> None:
    for at in range(first, first + count, CHUNK):
        queue.enqueue_chunk(jobs(min(CHUNK, first + count - at), at), BATCH)
        _fail_waiting(queue)


def _fail_waiting(queue: JobQueue) -> None:
    """Whatever waits in line becomes a dead letter."""
    ledger = queue.ledger("default")
    (asked,) = jobs(1)  # it is known, so its claim begins no record
    while ledger.standing().bulk:
        for _ in range(CHUNK):
            if queue.store.client.rpop(queue_name("default", asked.lane)) is None:  # as a worker does before it claims
                break
            claim = ledger.claim(asked, "bench")
            if isinstance(claim, Claim):
                ledger.failed(claim, WHY, str(WHY))


def _run(stack: Stack, *command: str) -> None:
    done = subprocess.run([sys.executable, "-c", CLI, *command], env=stack.env, capture_output=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(done.stderr.decode()[-1000:])


def _took_s(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _always_later() -> Callable[[], float]:
    """A clock on which every answer is too old to be given again."""
    moments = iter(range(10**9))
    return lambda: 100.0 * next(moments)
