"""The accounts' state for Prometheus, read from Redis when it is asked for: one round trip, at most once a second."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from producers.look import look_of, look_readings
from worker import telemetry as t
from worker.errors import QueueUnavailable
from worker.jobs import JobState, Lane
from worker.rate_limit import SECOND_US
from worker.telemetry import CATALOGUE, Kind, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from producers.desk import Desk
    from worker.reading import Reading
    from worker.redis_store import RedisStore
    from worker.telemetry import Metric

FRESH_S: Final = 1.0
"""How old the answer may be: whoever scrapes faster than that cannot hurt Redis."""

Sample = tuple["Metric", tuple[str, ...], float]


class Gauges(Collector):
    """Reads them, when a registry collects.

    Args:
        desks: the accounts.
        store: the connection that is asked; with a short timeout, for Prometheus waits ten seconds at most.
        clock: monotonic seconds.
    """

    def __init__(self, desks: Sequence[Desk], store: RedisStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._desks = desks
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()  # who comes meanwhile gets the same answer
        self._read_at_s = -math.inf
        self._samples: list[Sample] = []

    def describe(self) -> Iterable[Any]:
        """Nothing is read when it is registered."""
        return [_family(metric) for metric in CATALOGUE if metric.source is Source.REDIS]

    def collect(self) -> Iterable[Any]:
        """The families with their samples; only `redis_up` while Redis is away: old numbers would be lies."""
        families = {metric.name: _family(metric) for metric in CATALOGUE if metric.source is Source.REDIS}
        for metric, labels, value in self._fresh():
            families[metric.name].add_metric(labels, value)
        return [family for family in families.values() if family.samples]

    def _fresh(self) -> list[Sample]:
        with self._lock:
            if self._clock() - self._read_at_s >= FRESH_S:
                self._samples = self._read()
                self._read_at_s = self._clock()
            return self._samples

    def _read(self) -> list[Sample]:
        asked: list[list[Reading[Any]]] = [_readings(desk) for desk in self._desks]
        try:
            replies = iter(self._store.together([reading for each in asked for reading in each]))
        except QueueUnavailable:
            return [(t.REDIS_UP, (), 0.0)]
        samples: list[Sample] = [(t.REDIS_UP, (), 1.0)]
        for desk, each in zip(self._desks, asked, strict=True):
            samples += _samples(desk, [next(replies) for _ in each])
        return samples


def _readings(desk: Desk) -> list[Reading[Any]]:
    survey = desk.ledger.survey
    return [*look_readings(desk), survey.progress(), survey.oldest(), survey.dead_letters()]


def _samples(desk: Desk, replies: list[Any]) -> list[Sample]:
    *looked, progress, oldest, dead_letters = replies
    name, seen = desk.account.name, look_of(desk, looked)
    level, standing, drain_s = seen.forecast.level, seen.forecast.standing, seen.forecast.empty_in_s()
    state = "well" if seen.halt is None else "suspended" if seen.halt.suspended else "down"
    state = "paused" if level.lines.held else state
    samples: list[Sample] = [
        (t.QUEUE_LENGTH, (name, Lane.URGENT.value), standing.urgent),
        (t.QUEUE_LENGTH, (name, Lane.BULK.value), standing.bulk),
        (t.UNREAD, (name, Lane.URGENT.value), standing.unread_urgent),
        (t.UNREAD, (name, Lane.BULK.value), standing.unread_bulk),
        (t.ROOMS, (name,), progress.with_room),
        (t.DEAD_LETTERS, (name,), dead_letters),
        (t.PAUSE, (name,), level.lines.pause_s),
        (t.WORKERS, (name,), seen.crew.alive),
    ]
    samples += [(t.JOBS_NOW, (name, each.value), max(0, progress.states[each])) for each in JobState]
    samples += [(t.OLDEST, (name, lane.value), age_s) for lane, age_s in oldest.items()]
    samples += [(t.ACCOUNT_STATE, (name, each), each == state) for each in ("well", "paused", "down", "suspended")]
    for limit, tokens in zip(level.plan.limits, level.tokens, strict=True):
        window = f"{limit.window_us / SECOND_US:g}s"
        samples += [(t.TOKENS, (name, window), max(0.0, tokens)), (t.LIMIT, (name, window), limit.amount)]
    return samples if drain_s is None else [*samples, (t.DRAIN, (name,), drain_s)]


def _family(metric: Metric) -> CounterMetricFamily | GaugeMetricFamily:
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    return kind(metric.name, metric.sentence, labels=metric.labels)
