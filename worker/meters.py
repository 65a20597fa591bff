"""The catalogue as Prometheus' meters, in a registry of this process. With PROMETHEUS_MULTIPROC_DIR, of this machine.

Meters are read by a scrape and written by every task's thread; prometheus_client locks each value. After a restart they
begin at 0 again, which rate() and increase() know.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from worker import telemetry as t
from worker.errors import SettingsError
from worker.telemetry import Telemetry, code_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from prometheus_client.metrics_core import Metric as Family

    from worker.jobs import Lane, WarRoomJob
    from worker.records import Reason
    from worker.telemetry import Metric

M = TypeVar("M", Counter, Gauge, Histogram)

MULTIPROC: Final = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus_client's own variable: its processes of a machine keep their values in files of this folder."""

CHILDREN: Final = 4096
"""Of each meter as many are kept at hand."""

FINISHED: Final = frozenset({"opened", "found", "failed"})

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # they would double the series


def counter(metric: Metric, registry: CollectorRegistry) -> Counter:
    """The catalogue's counter, in a registry."""
    return Counter(metric.name, metric.sentence, metric.labels, registry=registry)


def histogram(metric: Metric, registry: CollectorRegistry) -> Histogram:
    """The catalogue's histogram, in a registry."""
    return Histogram(metric.name, metric.sentence, metric.labels, registry=registry, buckets=metric.buckets)


def gauge(metric: Metric, registry: CollectorRegistry) -> Gauge:
    """The catalogue's gauge, in a registry; over several processes the sum of those that live."""
    return Gauge(metric.name, metric.sentence, metric.labels, registry=registry, multiprocess_mode="livesum")


def of_the_machine() -> bool:
    """Whether a scrape of one process shows all of this machine's."""
    return bool(os.environ.get(MULTIPROC))


def new_registry() -> CollectorRegistry:
    """A registry for this process's meters, and for what is known of the process itself (memory, CPU, files).

    Raises:
        SettingsError: the folder of PROMETHEUS_MULTIPROC_DIR cannot be made.
    """
    registry = CollectorRegistry()
    if not of_the_machine():
        ProcessCollector(registry=registry)
        return registry
    try:
        Path(os.environ[MULTIPROC]).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"{MULTIPROC} names no folder that can be made: {error.strerror}"
    else:
        return registry
    raise SettingsError(problem)


def shown(registry: CollectorRegistry) -> CollectorRegistry:
    """What a scrape gets: the process's own registry, or all processes' of this machine."""
    if not of_the_machine():
        return registry
    everyone = CollectorRegistry()
    everyone.register(_Machine(os.environ[MULTIPROC]))
    return everyone


def _by_labels(meter: M) -> Callable[..., M]:
    """The meter's child of some labels. prometheus_client looks it up under a lock: a tenth of the telemetry's cost."""
    return lru_cache(maxsize=CHILDREN)(meter.labels)


class _Machine(MultiProcessCollector):
    """All processes' values; gauges only of those that live, so that a worker that was killed has no call in flight."""

    def __init__(self, folder: str) -> None:
        super().__init__(None, folder)  # type: ignore[no-untyped-call]
        self._folder = folder

    def collect(self) -> Iterable[Family]:
        for file in Path(self._folder).glob("gauge_live*_*.db"):
            pid = file.stem.rpartition("_")[2]
            if pid.isdecimal() and not _lives(int(pid)):
                mark_process_dead(int(pid), self._folder)  # type: ignore[no-untyped-call]
        families: Iterable[Family] = super().collect()  # type: ignore[no-untyped-call]
        return families


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    return True


class Meters(Telemetry):
    """The worker's meters."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._jobs = _by_labels(counter(t.JOBS, registry))
        self._attempts = _by_labels(histogram(t.ATTEMPTS, registry))
        self._calls = _by_labels(counter(t.API_CALLS, registry))
        self._latency = _by_labels(histogram(t.API_LATENCY, registry))
        self._throttled = _by_labels(counter(t.THROTTLED, registry))
        self._in_flight = _by_labels(gauge(t.IN_FLIGHT, registry))
        self._slot_wait = _by_labels(histogram(t.SLOT_WAIT, registry))
        self._lateness = histogram(t.SLOT_LATENESS, registry)
        self._slots_late = _by_labels(counter(t.SLOTS_LATE, registry))
        self._recovered = _by_labels(counter(t.RECOVERED, registry))
        self._refused = counter(t.REFUSED, registry)

    def begin(self, accounts: Iterable[str]) -> None:
        """Shows the accounts' counters at 0, so that the first 429 is an increase and no new series."""
        for account in accounts:
            self._throttled(account)
            self._slots_late(account)
            self._in_flight(account)

    def slot_came(self, account: str, lane: Lane, waited_s: float, late_s: float) -> None:  # noqa: ARG002, D102 - Telemetry
        self._slot_wait(lane.value).observe(waited_s)
        self._lateness.observe(max(0.0, late_s))

    def slot_late(self, account: str) -> None:  # noqa: D102
        self._slots_late(account).inc()

    def calling(self, account: str) -> None:  # noqa: D102
        self._in_flight(account).inc()

    def called(self, account: str, call: str, code: str, latency_s: float | None, request_id: str) -> None:  # noqa: ARG002, D102
        self._in_flight(account).dec()
        self._calls(account, call, code_of(code)).inc()
        if latency_s is not None:
            self._latency(call).observe(latency_s)

    def throttled(self, account: str) -> None:  # noqa: D102
        self._throttled(account).inc()

    def ended(self, job: WarRoomJob, outcome: str, code: str, attempt: int) -> None:  # noqa: D102
        self._jobs(job.account, job.lane.value, outcome, code_of(code)).inc()
        if outcome in FINISHED:
            self._attempts(outcome).observe(attempt)

    def recovered(self, account: str, reason: Reason, count: int) -> None:  # noqa: D102
        self._recovered(account, reason.value).inc(count)

    def refused(self) -> None:  # noqa: D102
        self._refused.inc()
