"""How a contender describes itself, and how it is found by its name."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Final

NAMES: Final = (
    "celery_bare",
    "celery_rate_limit",
    "celery_limits_retry",
    "celery_limits_blocking",
    "celery_pyrate_limiter",
    "celery_throttled",
    "celery_heimdall",
    "dramatiq_window",
    "bullmq",
    "warrooms_itself",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """One way to open a backlog of rooms.

    Args:
        name: its module in this package.
        what: what a reader of a table needs to know of it.
        cannot: what its tool cannot express.
        urgent: what an urgent job is told apart by.
        packages: whose versions belong beside its figures.
        worker: the Python module, and its arguments, that are one worker process; `{name}` is the worker's name.
        producer: the same for the process that queues; `producer.py` has what it reads and writes.
        limited: false for the one without a limiter, which is no part of the comparison of rates.
    """

    name: str
    what: str
    cannot: str
    urgent: str
    packages: tuple[str, ...]
    worker: tuple[str, ...]
    producer: tuple[str, ...] = ()
    limited: bool = True

    def worker_command(self, name: str) -> tuple[str, ...]:
        """What to start as `python -m ...` for the worker with this name."""
        return tuple(part.replace("{name}", name) for part in self.worker)

    def producer_command(self) -> tuple[str, ...]:
        """What to start as `python -m ...` to queue jobs."""
        return self.producer or ("bench.contenders.producer", self.name)


def load(name: str) -> Contender:
    """The contender with this name.

    Raises:
        ImportError: its package is not installed, or there is no such contender.
    """
    contender: Contender = importlib.import_module(f"bench.contenders.{name}").CONTENDER
    return contender
