"""Traces through the real ledger: enqueue, wait, slot and call are one trace, and no secret is in it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from producers.queue import JobQueue
from tests.commands import calls, queue
from worker.flashduty import Flashduty
from worker.jobs import WarRoomJob
from worker.ledger import Ledger
from worker.open_war_room import OpenWarRoom, Outcome, Report
from worker.rate_limit import plan_of
from worker.settings import Settings, Switch
from worker.slots import Slots
from worker.spans import Spans
from worker.token_bucket import TokenBucket
from worker.tracing import LAST_S, traces_of
from worker.watched import WatchedApi
from worker.workers_ledger import WorkersLedger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace.sampling import Sampler

    from worker.redis_store import RedisStore

KEY: Final = "fd-secret-of-the-traces"
ROOM: Final[object] = {"request_id": "req-1", "data": {"chat_id": "oc_1", "chat_name": "INC", "share_link": ""}}
REFUSED: Final[object] = {"request_id": "req-2", "error": {"code": "InvalidParameter", "message": f"no {KEY}"}}
CREATE: Final = "POST /incident/war-room/create"


@dataclass
class Traced:
    """A producer and a worker that are traced, with the API that this test answers for."""

    store: RedisStore
    queue: JobQueue
    spans: Spans
    exporter: InMemorySpanExporter
    answers: list[tuple[int, object]] = field(default_factory=list)

    def work(self, nudged: WarRoomJob) -> Report:
        """A worker takes the job whose turn it is and asks the API."""
        bucket = TokenBucket(self.store, "acc", plan_of("50/second", 0))
        ledger = WorkersLedger(self.store, "acc").beside(bucket)
        slots = Slots(bucket, spread_s=10.0, sleep=lambda _s: False, account="acc", telemetry=self.spans)
        api = Flashduty(base_url="https://api.example/base", app_key=lambda: KEY, transport=self._transport)
        try:
            watched = WatchedApi(api, "acc", self.spans)
            return OpenWarRoom(ledger, slots, watched, worker="w1", telemetry=self.spans)(nudged)
        finally:
            api.close()

    def _transport(self) -> httpx.MockTransport:
        def answer(_request: httpx.Request) -> httpx.Response:
            status, body = self.answers.pop(0)
            return httpx.Response(status, json=body)

        return httpx.MockTransport(answer)

    @property
    def finished(self) -> dict[str, list[ReadableSpan]]:
        found: dict[str, list[ReadableSpan]] = {}
        for span in self.exporter.get_finished_spans():
            found.setdefault(span.name, []).append(span)
        return found


def traced(store: RedisStore, settings: Settings, sampler: Sampler) -> Traced:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    spans = Spans(provider.get_tracer("warrooms"), "https://api.example/base?app_key=nobody")
    return Traced(store, JobQueue(settings, traces=spans), spans, exporter)


@pytest.fixture
def desk(store: RedisStore, settings: Settings) -> Iterator[Traced]:
    made = traced(store, settings, ParentBased(ALWAYS_ON))
    yield made
    made.queue.close()


def a_job(number: int = 1) -> WarRoomJob:
    return WarRoomJob(account="acc", incident_id=f"{number:024x}", integration_id=7)


def test_enqueue_wait_slot_and_call_are_one_trace(desk: Traced) -> None:
    job = a_job()
    desk.queue.enqueue(job)
    desk.answers = [(200, ROOM)]
    assert desk.work(job).outcome is Outcome.OPENED
    spans = {name: one for name, (one,) in desk.finished.items()}
    assert set(spans) == {"enqueue", "wait", CREATE}
    enqueue = spans.pop("enqueue")
    assert enqueue.kind is SpanKind.PRODUCER
    assert enqueue.parent is None
    for span in spans.values():
        assert span.parent is not None
        assert span.parent.span_id == enqueue.context.span_id
        assert span.context.trace_id == enqueue.context.trace_id
    wait, call = spans["wait"], spans[CREATE]
    assert wait.attributes is not None
    assert (wait.attributes["warrooms.job"], wait.attributes["warrooms.attempt"]) == (job.id, 1)
    assert {"warrooms.slot_wait_s", "warrooms.late_s"} <= wait.attributes.keys()
    assert wait.start_time is not None
    assert wait.end_time is not None
    assert call.end_time is not None
    assert wait.start_time <= wait.end_time <= call.end_time
    assert call.kind is SpanKind.CLIENT
    assert call.attributes is not None
    assert call.attributes["url.full"] == "https://api.example/base/incident/war-room/create"
    assert (call.attributes["warrooms.code"], call.attributes["warrooms.request_id"]) == ("OK", "req-1")


def test_each_job_of_many_has_a_trace_of_its_own(desk: Traced) -> None:
    jobs = [a_job(number) for number in range(1, 4)]
    desk.queue.enqueue_many(jobs, batch="b")
    desk.answers = [(200, ROOM)] * 3
    for job in jobs:
        desk.work(job)
    assert len({span.context.trace_id for span in desk.finished["enqueue"]}) == 3
    by_job = {str((span.attributes or {})["warrooms.job"]): span.context.trace_id for span in desk.finished["enqueue"]}
    for span in desk.finished["wait"]:
        assert by_job[str((span.attributes or {})["warrooms.job"])] == span.context.trace_id
    assert {span.context.trace_id for span in desk.finished[CREATE]} == set(by_job.values())


def test_another_attempt_goes_on_in_the_same_trace(desk: Traced) -> None:
    job = a_job()
    desk.queue.enqueue(job)
    desk.answers = [(429, {"request_id": "r", "error": {"code": "RequestTooFrequently"}}), (200, ROOM)]
    assert desk.work(job).outcome is Outcome.BACK_IN_LINE
    assert desk.work(job).outcome is Outcome.OPENED
    assert len(desk.finished["wait"]) == 2
    assert len({span.context.trace_id for spans in desk.finished.values() for span in spans}) == 1


def test_a_failed_call_says_why_and_never_the_key(desk: Traced) -> None:
    job = a_job()
    desk.queue.enqueue(job)
    desk.answers = [(400, REFUSED)]
    assert desk.work(job).outcome is Outcome.FAILED
    (call,) = desk.finished[CREATE]
    assert call.status.status_code is StatusCode.ERROR
    assert call.status.description == "InvalidParameter"
    everything = "".join(span.to_json() for span in desk.exporter.get_finished_spans())
    assert KEY not in everything
    assert "app_key" not in everything


def test_the_record_has_the_traceparent_and_only_while_traces_are_on(
    desk: Traced, store: RedisStore, settings: Settings
) -> None:
    desk.queue.enqueue(a_job(1))
    plain = JobQueue(settings)
    plain.enqueue(a_job(2))
    plain.close()
    base = "warrooms:{acc}:job:"
    assert str(store.client.hget(f"{base}{1:024x}.7", "trace")).startswith("00-")
    assert store.client.hget(f"{base}{2:024x}.7", "trace") is None


def test_a_job_that_nobody_traced_begins_its_trace_in_the_worker(desk: Traced) -> None:
    queue(Ledger(desk.store, "acc"), "b", [1])
    desk.answers = [(200, ROOM)]
    desk.work(a_job())
    (wait,) = desk.finished["wait"]
    assert wait.parent is None
    (call,) = desk.finished[CREATE]
    assert call.context.trace_id == wait.context.trace_id


def test_a_trace_that_is_not_sampled_is_not_sampled_anywhere(store: RedisStore, settings: Settings) -> None:
    producer = traced(store, settings, ALWAYS_OFF)
    worker = traced(store, settings, ParentBased(ALWAYS_ON))
    producer.queue.enqueue(a_job())
    worker.answers = [(200, ROOM)]
    worker.work(a_job())
    assert not producer.finished
    assert not worker.finished
    producer.queue.close()
    worker.queue.close()


def test_a_strange_traceparent_is_no_reason_to_fail(desk: Traced) -> None:
    desk.queue.enqueue(a_job())
    desk.store.client.hset(f"warrooms:{{acc}}:job:{1:024x}.7", "trace", "strange")
    desk.answers = [(200, ROOM)]
    assert desk.work(a_job()).outcome is Outcome.OPENED


def test_a_repeated_claim_knows_the_same_trace(desk: Traced) -> None:
    desk.queue.enqueue(a_job())
    claimed = calls(Ledger(desk.store, "acc"), a_job().id)
    assert claimed.trace.startswith("00-")
    assert claimed.queued_at > 0


def test_a_job_that_gets_no_slot_has_waited_all_the_same(desk: Traced) -> None:
    desk.queue.enqueue(a_job())
    paused = TokenBucket(desk.store, "acc", plan_of("50/second", 0))
    paused.penalty(60.0)
    slots = Slots(paused, spread_s=10.0, sleep=lambda _s: False, account="acc", telemetry=desk.spans)
    api = Flashduty(base_url="https://api.example", app_key=lambda: KEY)
    ledger = WorkersLedger(desk.store, "acc").beside(paused)
    OpenWarRoom(ledger, slots, api, worker="w1", telemetry=desk.spans)(a_job())
    (wait,) = desk.finished["wait"]
    assert wait.attributes is not None
    assert wait.attributes["warrooms.outcome"] == "back_in_line"


@pytest.mark.parametrize(
    ("otel", "endpoint", "on"),
    [
        (Switch.AUTO, "", False),
        (Switch.AUTO, "http://127.0.0.1:1", True),
        (Switch.ON, "", True),
        (Switch.OFF, "http://127.0.0.1:1", False),
    ],
)
def test_traces_are_on_if_they_are_asked_for(otel: Switch, endpoint: str, on: bool) -> None:  # noqa: FBT001
    settings = Settings(otel=otel, otlp_endpoint=endpoint)
    assert settings.traced is on
    if not on:
        assert traces_of(settings, "worker") is None


@pytest.mark.parametrize("process", ["worker", "producer"])
def test_a_producer_whose_collector_is_away_ends_soon_and_says_nothing(process: str) -> None:
    program = (
        "import time\n"
        "from worker.jobs import WarRoomJob\n"
        "from worker.settings import Settings\n"
        "from worker.tracing import traces_of\n"
        f"traces_of(Settings.load(), {process!r}).enqueued(WarRoomJob(incident_id='0' * 24, integration_id=7))\n"
        "print(time.time(), flush=True)"
    )
    env = os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    took_s = time.time() - float(done.stdout)
    assert done.stderr == ""
    assert took_s < LAST_S[process] + 1.5
