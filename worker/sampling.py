"""Which traces are kept, unless OTEL_TRACES_SAMPLER says otherwise: those of urgent jobs, and of one bulk job in ten.

A backlog of thousands of bulk jobs tells nothing more for being traced whole, and costs a worker more of its CPU.
Needs the extra `otel`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased

from worker.jobs import Lane

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace.sampling import SamplingResult
    from opentelemetry.trace import Link, SpanKind, TraceState
    from opentelemetry.util.types import Attributes

LANE: Final = "warrooms.lane"
"""The attribute of a span that names its job's lane."""

BULK_RATIO: Final = 0.1


class ByLane(Sampler):
    """Keeps all but bulk jobs, and of those a part."""

    def __init__(self) -> None:
        self._bulk = TraceIdRatioBased(BULK_RATIO)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Decides at the first span of a job, which says its lane."""
        chosen = self._bulk if (attributes or {}).get(LANE) == Lane.BULK else ALWAYS_ON
        return chosen.should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)

    def get_description(self) -> str:
        """For people."""
        return f"ByLane{{bulk={BULK_RATIO:g}}}"


def by_lane() -> Sampler:
    """The sampler: who comes first decides for the whole trace."""
    return ParentBased(ByLane())
