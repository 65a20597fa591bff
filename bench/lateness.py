"""How late workers were for their slots, by their own metrics."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

from worker.telemetry import SLOT_LATENESS, SLOTS_LATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sandbox.processes import Process

_AT: Final = re.compile(r"http://[0-9.]+:[0-9]+/metrics")


def buckets_of(workers: Iterable[Process]) -> dict[float, float]:
    """Slots of all workers by the upper end of how late they were, in seconds, cumulated; `late` ones under -1."""
    found: dict[float, float] = {}
    for worker in workers:
        at = _AT.search(worker.log.read_text(errors="replace"))
        if at is None:
            continue
        text = httpx.get(at[0], timeout=10, trust_env=False).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == f"{SLOT_LATENESS.name}_bucket":
                    end = float(sample.labels["le"])
                    found[end] = found.get(end, 0.0) + sample.value
                elif sample.name == SLOTS_LATE.name:
                    found[-1.0] = found.get(-1.0, 0.0) + sample.value
    return found


def lateness(before: Mapping[float, float], after: Mapping[float, float]) -> dict[str, Any]:
    """Between two readings: the upper end of the histogram's bucket in which the share lies, in ms; and given back."""
    spent = {end: count - before.get(end, 0.0) for end, count in after.items()}
    given_back = spent.pop(-1.0, 0.0)
    all_of_them = max(spent.values(), default=0.0)
    return {
        "late_ms_p50_below": _share(spent, 0.5 * all_of_them),
        "late_ms_p99_below": _share(spent, 0.99 * all_of_them),
        "slots_given_back": round(given_back),
    }


def _share(cumulated: Mapping[float, float], wanted: float) -> float | None:
    ends = [end for end, count in sorted(cumulated.items()) if count >= wanted > 0]
    return round(1000 * ends[0], 1) if ends and ends[0] != float("inf") else None
