"""`/metrics` of the web process: what Redis knows of the accounts, in one round trip, for who may read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from producers.gauges import FRESH_S, Gauges
from producers.queue import JobQueue
from tests.commands import calls, claim, fails, queue
from tests.web import OPS, READER, SECRET, SLOW, WRITER, bearer, serving, web_app
from worker.errors import AccountRefused
from worker.health import Sign
from worker.jobs import Lane, WarRoomJob
from worker.ledger import Ledger
from worker.redis_store import RedisStore
from worker.telemetry import CATALOGUE, Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import httpx

    from worker.reading import Reading
    from worker.settings import Settings

T = TypeVar("T")
NO_KEY = AccountRefused("who are you?", code="Unauthorized", status=401, hint="check the key", request_id="r1")


class Counting(RedisStore):
    """Counts its round trips."""

    trips = 0

    def together(self, readings: Sequence[Reading[T]]) -> list[T]:
        self.trips += 1
        return super().together(readings)


@pytest.fixture
def counting(valkey_url: str) -> Iterator[Counting]:
    store = Counting(valkey_url, timeout_s=1.0)
    yield store
    store.close()


@pytest.fixture
def queued(store: RedisStore, settings: Settings) -> Iterator[JobQueue]:
    assert store.client.dbsize() == 0
    queue = JobQueue(settings)
    yield queue
    queue.close()


class Scraped:
    """What a registry shows now."""

    def __init__(self, gauges: Gauges) -> None:
        registry = CollectorRegistry()
        registry.register(gauges)
        self.families = list(registry.collect())
        self.samples = [sample for family in self.families for sample in family.samples]

    def value(self, name: str, **labels: str) -> float | None:
        found = [one.value for one in self.samples if one.name == f"warrooms_{name}" and one.labels == labels]
        return found[0] if found else None

    @property
    def names(self) -> set[str]:
        return {sample.name for sample in self.samples}


def test_it_shows_everything_that_the_catalogue_promises(queued: JobQueue, counting: Counting) -> None:
    Ledger(counting, "default").beat("w1")
    Ledger(counting, "acc").beat("w1")
    Ledger(counting, "slow").beat("w1")
    scraped = Scraped(Gauges(queued.desks(), counting))
    assert scraped.names == {metric.name for metric in CATALOGUE if metric.source is Source.REDIS}


def test_many_accounts_cost_one_round_trip_and_many_scrapes_one_a_second(queued: JobQueue, counting: Counting) -> None:
    now_s = [1000.0]
    gauges = Gauges(queued.desks(), counting, lambda: now_s[0])
    for _ in range(5):
        Scraped(gauges)
    assert counting.trips == 1
    now_s[0] += FRESH_S
    Scraped(gauges)
    assert counting.trips == 2


def test_lines_states_and_dead_letters(queued: JobQueue, counting: Counting) -> None:
    ledger = queued.ledger("default")
    ledger.beat("test")
    queue(ledger, "b", range(1, 6))
    ledger.enqueue([WarRoomJob(incident_id=f"{9:024x}", integration_id=7, lane=Lane.URGENT)])
    fails(ledger, f"default.{9:024x}.7")
    calls(ledger, f"default.{1:024x}.7")
    counting.client.lpush("warrooms.default", "a message of another client")
    scraped = Scraped(Gauges(queued.desks(), counting))
    assert scraped.value("queue_length", account="default", lane="bulk") == 4
    assert scraped.value("queue_length", account="default", lane="urgent") == 0
    assert scraped.value("jobs_in_state", account="default", state="opening") == 1
    assert scraped.value("jobs_in_state", account="default", state="failed") == 1
    assert scraped.value("dead_letters", account="default") == 1
    assert scraped.value("rooms_total", account="default") == 0
    assert scraped.value("workers_alive", account="default") == 1
    assert scraped.value("workers_alive", account="slow") == 0
    assert scraped.value("drain_seconds", account="default") is not None
    assert scraped.value("drain_seconds", account="slow") is None, "without a worker nobody knows"
    assert scraped.value("limit_calls", account="slow", window="60s") == 6
    assert scraped.value("account_state", account="default", state="well") == 1


def test_the_oldest_job_is_found_among_the_next(queued: JobQueue, counting: Counting) -> None:
    now_ms = [1_790_000_000_000]
    ledger = Ledger(counting, "default", clock=lambda: now_ms[0])
    seconds, _ = counting.client.time()
    now_ms[0] = (int(seconds) - 600) * 1000
    queue(ledger, "old", [1])
    now_ms[0] += 500_000
    queue(ledger, "new", [2, 3])
    scraped = Scraped(Gauges(queued.desks(), counting))
    age_s = scraped.value("oldest_job_age_seconds", account="default", lane="bulk")
    assert age_s is not None
    assert 600 <= age_s < 700
    assert scraped.value("oldest_job_age_seconds", account="default", lane="urgent") == 0


def test_a_suspended_account_says_so_and_promises_no_end(queued: JobQueue, counting: Counting) -> None:
    ledger, bucket = queued.ledger("default"), queued.bucket("default")
    ledger.beat("w1")
    queue(ledger, "b", [1, 2])
    claim(ledger, f"default.{1:024x}.7")
    bucket.report(Sign.REFUSED, 0.0, NO_KEY)
    scraped = Scraped(Gauges(queued.desks(), counting))
    states = {state: scraped.value("account_state", account="default", state=state) for state in STATES}
    assert states == {"well": 0, "down": 0, "suspended": 1}
    pause_s = scraped.value("pause_seconds", account="default")
    assert pause_s is not None
    assert pause_s > 30
    assert scraped.value("drain_seconds", account="default") is None
    assert not any("who are you" in str(sample.labels) for sample in scraped.samples)


STATES = ("well", "down", "suspended")


def test_when_redis_is_away_nothing_old_is_shown(queued: JobQueue) -> None:
    nowhere = RedisStore("redis://127.0.0.1:1", timeout_s=0.2)
    scraped = Scraped(Gauges(queued.desks(), nowhere))
    assert [(one.name, one.value) for one in scraped.samples] == [("warrooms_redis_up", 0.0)]


def test_a_level_read_with_others_is_the_level_read_alone(queued: JobQueue, counting: Counting) -> None:
    bucket = queued.bucket("default")
    bucket.penalty(60.0)
    (level,) = counting.together([bucket.level_reading()])
    alone = bucket.peek()
    assert level.tokens == alone.tokens
    assert abs(level.lines.pause_s - alone.lines.pause_s) < 5


# --- over HTTP ---


def samples(answer: httpx.Response) -> list[Any]:
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    return [sample for family in families for sample in family.samples]


def accounts(answer: httpx.Response) -> set[str]:
    return {sample.labels["account"] for sample in samples(answer) if "account" in sample.labels}


def test_it_needs_the_right_to_read(web: httpx.Client) -> None:
    assert web.get("/metrics", headers=bearer(READER)).status_code == 200
    assert web.get("/metrics", headers=bearer(WRITER)).status_code == 403
    assert web.get("/metrics", headers={"Authorization": ""}).status_code == 401


def test_a_token_sees_its_own_accounts_only(web: httpx.Client) -> None:
    assert accounts(web.get("/metrics", headers=bearer(OPS))) == {"acc", "default", "slow"}
    assert accounts(web.get("/metrics", headers=bearer(SLOW))) == {"slow"}


def test_it_may_be_opened_to_everybody(store: RedisStore, settings: Settings) -> None:
    assert store.client.dbsize() == 0
    with serving(web_app(settings, metrics_open=True)) as web:
        assert accounts(web.get("/metrics", headers={"Authorization": ""})) == {"acc", "default", "slow"}


def test_prometheus_gets_openmetrics_if_it_asks(web: httpx.Client) -> None:
    answer = web.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_requests_are_counted_by_route_and_strange_ones_together(web: httpx.Client) -> None:
    for path in (
        "/docs",
        "/openapi.json",
        "/healthz",
        "/nothing/1",
        "/nothing/2",
        f"/v1/jobs/default.{1:024x}.7",
        "/v1/jobs/strange",
    ):
        web.get(path)
    web.request("BREW", "/healthz")
    web.post("/v1/war-rooms", content=b"x" * 2_000_000)
    counted = {
        (one.labels["route"], one.labels["method"], one.labels["status"]): one.value
        for one in samples(web.get("/metrics"))
        if one.name == "warrooms_http_requests_total"
    }
    assert counted["/healthz", "GET", "200"] == 1
    assert counted["/docs", "GET", "200"] == counted["/openapi.json", "GET", "200"] == 1
    assert counted["other", "GET", "404"] == 2
    assert sum(count for (route, _, _), count in counted.items() if route == "/v1/jobs/{id}") == 2
    assert sum(count for (_, method, _), count in counted.items() if method == "other") == 1
    assert sum(count for (_, _, status), count in counted.items() if status == "413") == 1


def test_webhook_events_are_counted_by_result(web: httpx.Client) -> None:
    event = {"event_id": "e1", "event_type": "i_assign", "incident": {"incident_id": f"{1:024x}"}}
    secret = {"X-Warrooms-Secret": SECRET}
    for sent, headers in (
        (event, secret),
        (event, secret),
        (event | {"event_id": "e2"}, secret),
        ({"event_id": "e3", "event_type": "i_close"}, secret),
        ({"event_type": 5}, secret),
        (event, {}),
    ):
        web.post("/webhooks/flashduty", params={"account": "acc"}, json=sent, headers=headers)
    counted = {
        one.labels["result"]: one.value
        for one in samples(web.get("/metrics"))
        if one.name == "warrooms_webhook_events_total"
    }
    assert counted == {
        "queued": 1,
        "duplicate": 1,
        "known": 1,
        "ignored": 1,
        "refused": 1,
        "unauthorized": 1,
    }


def test_no_secret_is_in_it(web: httpx.Client) -> None:
    text = web.get("/metrics", params={"token": OPS}).text + web.get("/metrics").text
    for secret in (OPS, READER, WRITER, SLOW, SECRET):
        assert secret not in text
