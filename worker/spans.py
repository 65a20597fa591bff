"""OpenTelemetry's spans of a job: enqueue, wait, slot and call in one trace. Needs the extra `otel`.

    enqueue ─┬─ wait   queued .. the moment of the call; one more for each further attempt. slot_wait_s of it in hand
             └─ POST /incident/war-room/create (list, detail)

Few spans with few attributes: one span costs a worker as much as its log line.

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

from worker.sampling import LANE
from worker.telemetry import OK, Telemetry, code_of

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

    from worker.jobs import Lane, WarRoomJob
    from worker.records import Claim

_W3C: Final = TraceContextTextMapPropagator()
_NOT_SAMPLED: Final = "-00"


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
        # As the first span said; to ask the SDK again costs as much as a span.
        self._here.skipped = claim.trace.endswith(_NOT_SAMPLED)
        if self._here.skipped:
            return
        self._here.waits = claim
        self._here.context = _W3C.extract({"traceparent": claim.trace}, Context())

    def slot_came(self, account: str, lane: Lane, waited_s: float, late_s: float) -> None:  # noqa: ARG002, D102
        if self._is_skipped:
            return
        facts = {"warrooms.slot_wait_s": round(waited_s, 4), "warrooms.late_s": round(max(0.0, late_s), 4)}
        if not self._waited(facts):
            self._span("wait", waited_s, facts)  # a further call of the same attempt

    def ended(self, job: WarRoomJob, outcome: str, code: str, attempt: int) -> None:  # noqa: ARG002, D102
        if self._is_skipped:
            return
        self._waited({"warrooms.outcome": outcome})  # no slot came

    @property
    def _is_skipped(self) -> bool:
        return bool(getattr(self._here, "skipped", False))

    def _waited(self, facts: dict[str, Any]) -> bool:
        """Makes the span of the wait, once a claim; whether there was one to be made."""
        claim: Claim | None = getattr(self._here, "waits", None)
        if claim is None:
            return False
        self._here.waits = None
        waited_s = max(0.0, time.time() - claim.queued_at) if claim.queued_at else 0.0
        span = self._span("wait", waited_s, {**_facts(claim.job), "warrooms.attempt": claim.attempt, **facts})
        if not claim.trace:  # queued by somebody without traces: this one begins here
            self._here.context = set_span_in_context(span, self._here.context)
        return True

    def called(self, account: str, call: str, code: str, latency_s: float | None, request_id: str) -> None:  # noqa: ARG002, D102
        if self._is_skipped:
            return
        path = f"/incident/war-room/{call}"
        facts = {
            "url.full": f"{self._base_url}{path}",
            "warrooms.code": code_of(code),
            "warrooms.request_id": request_id,
        }
        self._span(f"POST {path}", latency_s or 0.0, facts, kind=SpanKind.CLIENT, failed="" if code == OK else code)

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
    return {"warrooms.job": job.id, "warrooms.account": job.account, LANE: job.lane.value}
