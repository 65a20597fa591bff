"""The catalogue, and the meters made of it: named alike, counted right, and few whatever comes."""

from __future__ import annotations

import logging
from typing import NoReturn

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from producers.gauges import Gauges
from producers.http.meters import WebMeters
from tests.fakes import A_ROOM, FakeApi, a_job
from worker.errors import (
    API_CODES,
    NoMoreSlots,
    OutcomeUnknown,
    RateLimited,
    SettingsError,
    WarroomsError,
)
from worker.jobs import Lane
from worker.meters import Meters
from worker.records import Reason
from worker.redis_store import RedisStore
from worker.telemetry import CATALOGUE, OTHER, SILENT, Kind, Metric, Source, Telemetry, Told, code_of
from worker.watched import WatchedApi

JOB = a_job()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(f"warrooms_{name}", labels)


@pytest.mark.parametrize("metric", CATALOGUE, ids=lambda metric: metric.name)
def test_names_say_kind_and_unit(metric: Metric) -> None:
    assert metric.name.startswith("warrooms_")
    assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert metric.name.endswith("_seconds") == (metric.unit == "seconds")
    assert bool(metric.buckets) == (metric.kind is Kind.HISTOGRAM)
    assert list(metric.buckets) == sorted(metric.buckets)
    assert metric.sentence.endswith(".")


def test_no_two_metrics_share_a_name_not_even_without_its_suffix() -> None:
    names = [metric.name.removesuffix("_total") for metric in CATALOGUE]
    assert len(names) == len(set(names)), "OpenMetrics names a counter without its suffix"


def test_everything_in_the_catalogue_is_measured_and_nothing_else(registry: CollectorRegistry) -> None:
    Meters(registry)
    WebMeters(registry)
    store = RedisStore("redis://127.0.0.1:1")
    registry.register(Gauges([], store))
    with registry._lock:
        shown = {name for name in registry._names_to_collectors if name.startswith("warrooms_")}
    suffixes = ("_bucket", "_count", "_sum", "_created")
    assert {name for name in shown if not name.endswith(suffixes)} >= {metric.name for metric in CATALOGUE}
    families = {metric.name.removesuffix("_total") for metric in CATALOGUE}
    assert {family.name for family in registry.collect() if family.name.startswith("warrooms_")} <= families


def test_labels_have_few_values_whatever_a_server_says(registry: CollectorRegistry) -> None:
    meters = Meters(registry)
    accounts = [f"acc{number}" for number in range(100)]
    meters.begin(accounts)
    for number in range(20_000):
        job = a_job(number + 1, account=accounts[number % 100])
        code = f"Invented{number}"
        meters.calling(job.account)
        meters.called(job.account, "create", code, 0.1, f"req-{number}")
        meters.ended(job, "failed", code, 1)
    samples = [line for line in generate_latest(registry).splitlines() if not line.startswith(b"#")]
    assert len(samples) < 700
    assert value(registry, "api_calls_total", account="acc0", call="create", code=OTHER) == 200


@pytest.mark.parametrize("code", sorted(API_CODES))
def test_known_codes_stay_themselves(code: str) -> None:
    assert code_of(code) == code


def test_the_worker_counts_what_it_is_told(registry: CollectorRegistry) -> None:
    meters = Meters(registry)
    meters.begin(["acc"])
    meters.slot_came("acc", Lane.URGENT, 0.2, -0.001)
    meters.slot_late("acc")
    meters.calling("acc")
    assert value(registry, "calls_in_flight", account="acc") == 1
    meters.called("acc", "create", "OK", 0.3, "req")
    meters.throttled("acc")
    meters.ended(JOB, "opened", "OK", 2)
    meters.ended(JOB, "retrying", "Timeout", 1)
    meters.recovered("acc", Reason.DEAD, 3)
    meters.refused()
    assert value(registry, "calls_in_flight", account="acc") == 0
    assert value(registry, "slot_wait_seconds_count", lane="urgent") == 1
    assert value(registry, "slot_lateness_seconds_sum") == 0, "awake before its moment is not late"
    assert value(registry, "slots_late_total", account="acc") == 1
    assert value(registry, "api_latency_seconds_sum", call="create") == 0.3
    assert value(registry, "throttled_total", account="acc") == 1
    assert value(registry, "jobs_total", account="acc", lane="bulk", outcome="opened", code="OK") == 1
    assert value(registry, "jobs_total", account="acc", lane="bulk", outcome="retrying", code="Timeout") == 1
    assert value(registry, "job_attempts_sum", outcome="opened") == 2
    assert value(registry, "job_attempts_sum", outcome="retrying") is None
    assert value(registry, "recovered_total", account="acc", reason="dead") == 3
    assert value(registry, "refused_messages_total") == 1


def test_the_first_429_is_an_increase_and_no_new_series(registry: CollectorRegistry) -> None:
    Meters(registry).begin(["acc"])
    assert value(registry, "throttled_total", account="acc") == 0


@pytest.mark.parametrize(
    ("ended", "code"),
    [
        (OutcomeUnknown("?", code="Timeout"), "Timeout"),
        (RateLimited("slowly", code="RequestTooFrequently", status=429), "RequestTooFrequently"),
        (NoMoreSlots("held up"), "HeldUp"),
        (SettingsError("no key"), "NoAppKey"),
    ],
    ids=str,
)
def test_a_call_that_fails_is_counted_by_its_code_and_fails_all_the_same(
    registry: CollectorRegistry, ended: WarroomsError, code: str
) -> None:
    meters = Meters(registry)
    watched = WatchedApi(FakeApi(("create", ended)), "acc", meters)
    with pytest.raises(type(ended)):
        watched.create(JOB, fence_at=0.0)
    assert value(registry, "api_calls_total", account="acc", call="create", code=code) == 1
    assert value(registry, "calls_in_flight", account="acc") == 0
    throttled = value(registry, "throttled_total", account="acc") or 0
    assert throttled == isinstance(ended, RateLimited)
    assert value(registry, "api_latency_seconds_count", call="create") is None, "nobody knows how long it took"


def test_every_call_of_the_api_is_watched(registry: CollectorRegistry) -> None:
    watched = WatchedApi(FakeApi(("list", ("oc_1",)), ("detail", A_ROOM), ("create", A_ROOM)), "acc", Meters(registry))
    watched.list_rooms(JOB.incident_id, 7)
    watched.detail(7, "oc_1")
    reply = watched.create(JOB, fence_at=0.0)
    assert reply.value is A_ROOM
    for call in ("list", "detail", "create"):
        assert value(registry, "api_calls_total", account="acc", call=call, code="OK") == 1
        assert value(registry, "api_latency_seconds_sum", call=call) == 0.5


class Broken(Telemetry):
    def refused(self) -> NoReturn:
        raise RuntimeError("no space left on device")


def test_telemetry_that_fails_hurts_nobody_and_does_not_flood(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told(Broken(), Meters(registry))
    with caplog.at_level(logging.ERROR):
        for _ in range(99):
            told.refused()
    assert value(registry, "refused_messages_total") == 99, "the others are told all the same"
    assert len(caplog.records) == 2


def test_where_all_is_off_nothing_is_kept() -> None:
    SILENT.ended(JOB, "opened", "OK", 1)
    assert not vars(SILENT)


def test_only_the_web_reads_redis() -> None:
    assert {metric.source for metric in CATALOGUE} == set(Source)
    assert all(metric.labels[:1] in {(), ("account",)} for metric in CATALOGUE if metric.source is Source.REDIS)
