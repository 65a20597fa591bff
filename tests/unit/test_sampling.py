"""Which traces are kept."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import set_span_in_context

from worker.jobs import Lane
from worker.sampling import BULK_RATIO, LANE, by_lane

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer


@pytest.fixture
def tracer() -> Tracer:
    return TracerProvider(by_lane()).get_tracer("test")


def test_every_urgent_job_is_traced_and_a_tenth_of_the_bulk_jobs(tracer: Tracer) -> None:
    random.seed(5)  # trace ids are random
    kept = {
        lane: sum(tracer.start_span("enqueue", attributes={LANE: lane}).is_recording() for _ in range(2000))
        for lane in Lane
    }
    assert kept[Lane.URGENT] == 2000
    assert kept[Lane.BULK] == pytest.approx(2000 * BULK_RATIO, rel=0.3)


@pytest.mark.parametrize("lane", list(Lane))
def test_who_comes_first_decides_for_the_whole_trace(tracer: Tracer, lane: Lane) -> None:
    for _ in range(50):
        first = tracer.start_span("enqueue", attributes={LANE: lane})
        next_ = tracer.start_span("wait", context=set_span_in_context(first), attributes={LANE: Lane.URGENT})
        assert next_.is_recording() == first.is_recording()


def test_what_is_no_jobs_is_kept(tracer: Tracer) -> None:
    assert tracer.start_span("other").is_recording()
