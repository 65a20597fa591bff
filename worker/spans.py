"""OpenTelemetry's spans of a job: enqueue, wait, slot and call in one trace. Needs the extra `otel`.

    enqueue ─┬─ wait in line      queued .. claimed, by Redis' clock; one more for each further attempt
             ├─ wait for a slot   claimed .. the moment of the call
             └─ POST /incident/war-room/create (list, detail)

The trace goes on through Redis: the producer's W3C traceparent stands in the job's record, only while traces are on.
A call's URL is written without its query, which would be the app key; no member, body or token is an attribute.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from worker.telemetry import OK, Telemetry, code_of

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

    from worker.jobs import Lane, WarRoomJob
    from worker.records import Claim

_W3C: Final = TraceContextTextMapPropagator()


class Spans(Telemetry):
    """Makes the spans; each when it is over, so none is left open.

    Args:
        tracer: OpenTelemetry's.
        base_url: the API's address, as it is configured.
    """

    def __init__(self, tracer: Tracer, base_url: str) -> None:
        self._tracer = tracer
        self._base_url = base_url.partition("?")[0].rstrip("/")
        self._here = threading.local()  # a job is done by one thread

    def enqueued(self, job: WarRoomJob) -> str:
        """A job is queued now: the traceparent for its record, which also says whether the trace is sampled."""
        span = self._tracer.start_span("enqueue", kind=SpanKind.PRODUCER, attributes=_facts(job))
        span.end()
        context = span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def claimed(self, claim: Claim) -> None:  # noqa: D102 - Telemetry
        self._here.job = claim.job.id
        self._here.context = _W3C.extract({"traceparent": claim.trace}, Context())
        waited_s = max(0.0, time.time() - claim.queued_at) if claim.queued_at else 0.0
        span = self._span("wait in line", waited_s, {**_facts(claim.job), "warrooms.attempt": claim.attempt})
        if not claim.trace:  # queued by somebody without traces: this one begins here
            self._here.context = set_span_in_context(span, self._here.context)

    def slot_came(self, account: str, lane: Lane, waited_s: float, late_s: float) -> None:  # noqa: ARG002, D102
        facts = {"warrooms.job": self._job, "warrooms.late_s": round(max(0.0, late_s), 4)}
        self._span("wait for a slot", waited_s, facts)

    def called(self, account: str, call: str, code: str, latency_s: float | None, request_id: str) -> None:  # noqa: ARG002, D102
        path = f"/incident/war-room/{call}"
        facts = {
            "warrooms.job": self._job,
            "http.request.method": "POST",
            "url.full": f"{self._base_url}{path}",
            "warrooms.code": code_of(code),
            "warrooms.request_id": request_id,
        }
        self._span(f"POST {path}", latency_s or 0.0, facts, kind=SpanKind.CLIENT, failed="" if code == OK else code)

    @property
    def _job(self) -> str:
        job: str = getattr(self._here, "job", "")
        return job

    def _span(
        self,
        name: str,
        took_s: float,
        facts: dict[str, Any],
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        failed: str = "",
    ) -> Span:
        now_ns = time.time_ns()
        span = self._tracer.start_span(
            name,
            context=getattr(self._here, "context", None),
            kind=kind,
            attributes=facts,
            start_time=now_ns - round(took_s * 1e9),
        )
        if failed:
            span.set_status(Status(StatusCode.ERROR, code_of(failed)))
        span.end(now_ns)
        return span


def _facts(job: WarRoomJob) -> dict[str, Any]:
    return {"warrooms.job": job.id, "warrooms.account": job.account, "warrooms.lane": job.lane.value}
