"""The catalogue of metrics, with labels and units, and the seam that the worker's parts tell what happened. Pure.

Metrics and log lines use the same names. Every label's values are few: accounts and windows are configured, lanes,
states, outcomes, reasons and calls are fixed, and of error codes only the known ones count (`code_of`). No job,
incident, member, request or message is ever a label.

meters.py makes Prometheus' meters of it, tracing.py OpenTelemetry's spans; docs/monitoring.md has the same table.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from worker.errors import API_CODES, OWN_CODES

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.jobs import Lane, WarRoomJob
    from worker.records import Claim, Reason


log = logging.getLogger(__name__)

_SAY_AT: Final = frozenset({1, 10, 100, 1000, 10_000})


class Kind(StrEnum):
    """What a metric does: counters only grow, until their process is started anew."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Source(StrEnum):
    """Who has it."""

    WORKER = "each worker"
    WEB = "each web process"
    REDIS = "any web process, for all"  # read from Redis when it is asked for: the same wherever


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the catalogue.

    Args:
        name: in full, as Prometheus stores it (a histogram's without _bucket, _sum and _count).
        unit: of its value.
        sentence: what it says.
        buckets: upper bounds of a histogram, in its unit.
    """

    name: str
    kind: Kind
    source: Source
    unit: str
    sentence: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


def _counter(name: str, source: Source, unit: str, sentence: str, *labels: str) -> Metric:
    return Metric(f"warrooms_{name}", Kind.COUNTER, source, unit, sentence, labels)


def _gauge(name: str, source: Source, unit: str, sentence: str, *labels: str) -> Metric:
    return Metric(f"warrooms_{name}", Kind.GAUGE, source, unit, sentence, labels)


def _histogram(name: str, source: Source, unit: str, sentence: str, buckets: tuple[float, ...], *labels: str) -> Metric:
    return Metric(f"warrooms_{name}", Kind.HISTOGRAM, source, unit, sentence, labels, buckets)


_LATENCIES_S: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 40.0)
_WAITS_S: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
_LATE_S: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.125, 0.25, 0.5, 1.0, 5.0)
_REQUESTS_S: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_ATTEMPTS: Final = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)

_WORKER, _WEB, _REDIS = Source.WORKER, Source.WEB, Source.REDIS

JOBS: Final = _counter(
    "jobs_total",
    _WORKER,
    "jobs",
    "How a job's turn ended: opened, found, failed, retrying, back_in_line or nothing_to_do (its claim was lost); code "
    "says why: OK if it has its room, empty if it only waits.",
    "account",
    "lane",
    "outcome",
    "code",
)
ATTEMPTS: Final = _histogram(
    "job_attempts", _WORKER, "attempts", "Attempts that a finished job took.", _ATTEMPTS, "outcome"
)
API_CALLS: Final = _counter(
    "api_calls_total", _WORKER, "calls", "Calls to Flashduty's API by how they ended.", "account", "call", "code"
)
API_LATENCY: Final = _histogram(
    "api_latency_seconds", _WORKER, "seconds", "How long a call took, whatever its end.", _LATENCIES_S, "call"
)
THROTTLED: Final = _counter("throttled_total", _WORKER, "calls", "Calls answered with 429: should be 0.", "account")
IN_FLIGHT: Final = _gauge("calls_in_flight", _WORKER, "calls", "Calls that wait for the API's answer.", "account")
SLOT_WAIT: Final = _histogram(
    "slot_wait_seconds", _WORKER, "seconds", "How long a job in hand waited for its slot.", _WAITS_S, "lane"
)
SLOT_LATENESS: Final = _histogram(
    "slot_lateness_seconds",
    _WORKER,
    "seconds",
    "How long after the slot's moment the worker was awake; beyond half of WARROOMS_SPREAD_S the slot goes back.",
    _LATE_S,
)
SLOTS_LATE: Final = _counter("slots_late_total", _WORKER, "slots", "Slots given back, for it was too late.", "account")
RECOVERED: Final = _counter(
    "recovered_total",
    _WORKER,
    "jobs",
    "Jobs queued again: due (a retry's time has come), dead (their worker died), lost (their message vanished).",
    "account",
    "reason",
)
REFUSED: Final = _counter("refused_messages_total", _WORKER, "messages", "Messages that are no job of ours.")

REDIS_UP: Final = _gauge(
    "redis_up", _REDIS, "0 or 1", "Whether Redis answered; if 0, nothing that is read from it is shown."
)
QUEUE_LENGTH: Final = _gauge("queue_length", _REDIS, "jobs", "Jobs that wait in line.", "account", "lane")
UNREAD: Final = _gauge(
    "unread_messages",
    _REDIS,
    "messages",
    "Messages of other clients that no worker has read, about.",
    "account",
    "lane",
)
JOBS_NOW: Final = _gauge(
    "jobs_in_state",
    _REDIS,
    "jobs",
    "Jobs by state; opened, found, failed and cancelled since the first job, less those that were queued again.",
    "account",
    "state",
)
ROOMS: Final = _counter(
    "rooms_total", _REDIS, "jobs", "Jobs that have their room (opened or found), since the first job.", "account"
)
OLDEST: Final = _gauge(
    "oldest_job_age_seconds",
    _REDIS,
    "seconds",
    "How long the oldest of the next twenty in line waits, from its first enqueue; 0 if none does. Batches take turns, "
    "each first in, first out: while fewer than twenty of them wait, it is the oldest of all.",
    "account",
    "lane",
)
DRAIN: Final = _gauge(
    "drain_seconds",
    _REDIS,
    "seconds",
    "When every job has its room, if nothing is added; absent if nobody knows.",
    "account",
)
DEAD_LETTERS: Final = _gauge("dead_letters", _REDIS, "jobs", "Failed jobs that nobody replayed or dropped.", "account")
TOKENS: Final = _gauge(
    "bucket_tokens", _REDIS, "calls", "Calls that may go out at once, by the limit's window.", "account", "window"
)
LIMIT: Final = _gauge("limit_calls", _REDIS, "calls", "What the limit allows in its window.", "account", "window")
PAUSE: Final = _gauge(
    "pause_seconds", _REDIS, "seconds", "How long the account is paused for: a 429, or until a probe.", "account"
)
ACCOUNT_STATE: Final = _gauge(
    "account_state",
    _REDIS,
    "0 or 1",
    "1 for the state that it is in: well, paused (by a person), down or suspended.",
    "account",
    "state",
)
WORKERS: Final = _gauge("workers_alive", _REDIS, "workers", "Workers heard in the last ten seconds.", "account")

HTTP_REQUESTS: Final = _counter(
    "http_requests_total",
    _WEB,
    "requests",
    "Requests by route template; `other` for paths and methods that do not exist.",
    "route",
    "method",
    "status",
)
HTTP_SECONDS: Final = _histogram(
    "http_request_seconds", _WEB, "seconds", "How long a request took, to the end of its answer.", _REQUESTS_S, "route"
)
WEBHOOK_EVENTS: Final = _counter(
    "webhook_events_total",
    _WEB,
    "events",
    "Webhook events: queued, known (its job was there), duplicate, ignored, held (Redis away), lost (no room to hold "
    "it), refused (no event, or an error of ours), unauthorized.",
    "result",
)

CATALOGUE: Final = (
    JOBS,
    ATTEMPTS,
    API_CALLS,
    API_LATENCY,
    THROTTLED,
    IN_FLIGHT,
    SLOT_WAIT,
    SLOT_LATENESS,
    SLOTS_LATE,
    RECOVERED,
    REFUSED,
    REDIS_UP,
    QUEUE_LENGTH,
    UNREAD,
    JOBS_NOW,
    ROOMS,
    OLDEST,
    DRAIN,
    DEAD_LETTERS,
    TOKENS,
    LIMIT,
    PAUSE,
    ACCOUNT_STATE,
    WORKERS,
    HTTP_REQUESTS,
    HTTP_SECONDS,
    WEBHOOK_EVENTS,
)

OK: Final = "OK"
HELD_UP: Final = "HeldUp"
"""The process was held up, and the call has not left."""
OTHER: Final = "other"
CODES: Final = frozenset({"", OK, HELD_UP, OTHER, *API_CODES, *OWN_CODES})


def code_of(code: str) -> str:
    """The code as a label: what the API says beyond its table is `other`, or a server could fill the memory."""
    return code if code in CODES else OTHER


class Telemetry:
    """Told what happens in the worker; this one keeps nothing. Called from every task's thread, and must not raise."""

    def claimed(self, claim: Claim) -> None:
        """This thread has a job in hand."""

    def slot_came(self, account: str, lane: Lane, waited_s: float, late_s: float) -> None:
        """A slot was waited for, and the worker was awake so long after its moment."""

    def slot_late(self, account: str) -> None:
        """A slot was given back, for it was too late to use it."""

    def calling(self, account: str) -> None:
        """A call goes out."""

    def called(self, account: str, call: str, code: str, latency_s: float | None, request_id: str) -> None:
        """It ended: code OK, or its error's; the latency is None if nothing was sent, the request id may be empty."""

    def throttled(self, account: str) -> None:
        """A call was answered with 429."""

    def ended(self, job: WarRoomJob, outcome: str, code: str, attempt: int) -> None:
        """This thread is done with a job, for now or for good."""

    def recovered(self, account: str, reason: Reason, count: int) -> None:
        """So many jobs were queued again."""

    def refused(self) -> None:
        """A message was refused."""


SILENT: Final = Telemetry()


class Told(Telemetry):
    """Tells each of several; what one of them raises is logged once in a while, and hurts no job."""

    def __init__(self, *each: Telemetry) -> None:
        self._each = each
        self._failures = 0

    def claimed(self, claim: Claim) -> None:  # noqa: D102 - as above, and so the rest
        self._tell(lambda one: one.claimed(claim))

    def slot_came(self, account: str, lane: Lane, waited_s: float, late_s: float) -> None:  # noqa: D102
        self._tell(lambda one: one.slot_came(account, lane, waited_s, late_s))

    def slot_late(self, account: str) -> None:  # noqa: D102
        self._tell(lambda one: one.slot_late(account))

    def calling(self, account: str) -> None:  # noqa: D102
        self._tell(lambda one: one.calling(account))

    def called(self, account: str, call: str, code: str, latency_s: float | None, request_id: str) -> None:  # noqa: D102
        self._tell(lambda one: one.called(account, call, code, latency_s, request_id))

    def throttled(self, account: str) -> None:  # noqa: D102
        self._tell(lambda one: one.throttled(account))

    def ended(self, job: WarRoomJob, outcome: str, code: str, attempt: int) -> None:  # noqa: D102
        self._tell(lambda one: one.ended(job, outcome, code, attempt))

    def recovered(self, account: str, reason: Reason, count: int) -> None:  # noqa: D102
        self._tell(lambda one: one.recovered(account, reason, count))

    def refused(self) -> None:  # noqa: D102
        self._tell(lambda one: one.refused())

    def _tell(self, say: Callable[[Telemetry], None]) -> None:
        for one in self._each:
            try:
                say(one)
            except Exception:
                self._failures += 1
                if self._failures in _SAY_AT:
                    log.exception("telemetry failed, time %d; jobs go on", self._failures)
