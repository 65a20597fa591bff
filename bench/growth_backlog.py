"""A backlog of 1,000 to 1,000,000 jobs: to queue it, to keep it, and what draining a job costs in front of it.

Nothing is drained to its end. All backlogs stand at the same time, each in an installation of its own, and take turns
round by round, so that whatever else happens on the machine happens to all of them. In its turn a worker is started on
one, drains the same number of jobs as on the others, and is stopped; then what it took is queued again.
"""

from __future__ import annotations

import json
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from bench.common import queue_of
from bench.median import medians_of
from bench.meter import Meter, per_job
from bench.server import about, server
from sandbox.stack import Stack, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producers.queue import JobQueue

SIZES: Final = (1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES: Final = (1_000, 20_000)
RATES: Final = "6000/minute"
"""Below what one worker can do: so the limit sets the pace, not the machine, and only the work of a job can differ."""

ROUNDS: Final = 9
WARM: Final = 150
JOBS: Final = 800
"""Measured in a round; with those before, fewer than the smallest backlog has, so nothing ever runs dry."""

AGAIN: Final = 3
"""So often a backlog is queued anew if that takes seconds only."""

SLOWEST_S: Final = 900.0


@dataclass
class Backlog:
    """One of them, where it stands, and what was measured of it."""

    size: int
    stack: Stack
    queue: JobQueue
    facts: dict[str, Any] = field(default_factory=dict)
    rounds: list[dict[str, Any]] = field(default_factory=list)
    queued: int = 0
    began_with_bytes: int = 0

    @property
    def finished(self) -> int:
        """Jobs that have their room."""
        return int(self.stack.redis.hget("warrooms:{default}:account", "opened") or 0)

    @property
    def bytes(self) -> int:
        """What Redis has allocated, without its clients' buffers."""
        memory: Any = self.stack.redis.info("memory")
        return int(memory["used_memory"]) - int(memory["mem_clients_normal"])

    def enqueue(self, count: int) -> dict[str, Any]:
        """Queues so many more, from a process of its own."""
        done = self.stack.run("bench.growth_producer", str(count), str(self.queued), timeout_s=SLOWEST_S)
        if done.returncode:
            raise RuntimeError(done.stderr[-1000:])
        self.queued += count
        line: dict[str, Any] = json.loads(done.stdout)
        return line

    def fill(self) -> None:
        """Queues all of them."""
        speeds = []
        for at in range(AGAIN if self.size <= 100_000 else 1):
            if at:
                self.stack.redis.execute_command("FLUSHDB", "SYNC")  # type: ignore[no-untyped-call]  # freed now
                self.queued = 0
            self.began_with_bytes = self.bytes
            self.facts = self.enqueue(self.size)
            speeds.append(self.facts["per_s"])
        self.facts = {
            "enqueued_per_s": round(median(speeds)),
            "producer_growth_mb": self.facts["growth_mb"],
            "redis_bytes_per_queued": round((self.bytes - self.began_with_bytes) / self.size, 3),
        }

    def drain(self) -> None:
        """One round."""
        before = self.finished
        worker = self.stack.start_worker()
        meter = Meter([worker], self.stack.redis)
        until(lambda: self.finished >= before + WARM, "the first jobs", worker)
        begins, first = meter.read(), self.finished
        until(lambda: self.finished >= before + WARM + JOBS, "the jobs", worker, within_s=120)
        ends, last = meter.read(), self.finished
        worker.stop()
        self.stack.workers.remove(worker)
        self.rounds.append(per_job(begins, ends, last - first, 1, meter.peak_bytes))
        self.enqueue(self.finished - before)

    def line(self) -> dict[str, Any]:
        """All that is known of it."""
        finished = self.finished
        queued = self.queued - finished
        # As many queued jobs as in the beginning, or so; what is there besides is of those that are finished.
        kept = self.bytes - self.began_with_bytes - queued * self.facts["redis_bytes_per_queued"]
        return {
            "jobs": self.size,
            **about(self.stack.redis),
            **self.facts,
            "redis_bytes_per_finished": round(kept / finished),
            "rounds": len(self.rounds),
            "drained": finished,
            **medians_of(self.rounds),
        }


def measure(quick: bool) -> Iterator[dict[str, Any]]:  # noqa: FBT001
    """A line for each size; `of_smallest_...` is what a job costs, as a share of what it costs at the smallest one."""
    with ExitStack() as stacks:
        backlogs = [_backlog(stacks, size) for size in (QUICK_SIZES if quick else SIZES)]
        for backlog in backlogs:
            backlog.fill()
        for _ in range(2 if quick else ROUNDS):
            for backlog in backlogs:
                backlog.drain()
        for backlog in backlogs:
            yield backlog.line() | _beside(backlogs[0], backlog)


def _beside(smallest: Backlog, backlog: Backlog) -> dict[str, float]:
    """The median over the rounds of the ratio in each: what both had to bear in a round leaves it alone."""
    return {
        f"of_smallest_{cost}": round(
            median(one[cost] / other[cost] for one, other in zip(backlog.rounds, smallest.rounds, strict=True)), 3
        )
        for cost in ("cpu_ms_per_job", "redis_cpu_ms_per_job", "redis_commands_per_job")
    }


def _backlog(stacks: ExitStack, size: int) -> Backlog:
    api = ("--latency", "constant:0.05", "--rates", RATES)
    folder = Path(stacks.enter_context(tempfile.TemporaryDirectory()))
    url = stacks.enter_context(server(folder))
    stack = stacks.enter_context(Stack(api=api, env={"WARROOMS_RATES": RATES}, redis_url=url))
    return Backlog(size, stack, stacks.enter_context(queue_of(stack, RATES)))
