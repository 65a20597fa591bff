"""Draws what is beside others in docs/benchmarks/promises.json: the cost of a job, a fleet, enqueueing.

python -m bench.promise_plots [--results docs/benchmarks/promises.json]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.plots import GREY, OUR_COLOUR, read, save, style, subplots

if TYPE_CHECKING:
    from collections.abc import Mapping

OURS: Final = ("warrooms", "enqueue_many")


def panels(results: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """By title, the bars of each panel."""
    cpu, fleet, enqueue = results["cost"][-1], results["fleet"][0], results["enqueue"][0]
    return {
        "worker's CPU a job, ms": {
            "warrooms, 1,000 a minute": cpu["ms"],
            "bare Celery task, 1,000 a minute": cpu["bare_ms"],
            "warrooms, with a backlog": cpu["fast_ms"],
            "bare Celery task, with a backlog": cpu["fast_bare_ms"],
        },
        "jobs a second of one worker, 60 accounts, calls of 1 s": {
            "warrooms": fleet["warrooms_per_s"],
            "bare Celery task, no limits": fleet["bare_per_s"],
        },
        "queued, jobs a second": {
            "enqueue_many, with ledger": enqueue["enqueue_many_per_s"],
            "Producer.batch": enqueue["producer_batch_per_s"],
            "group": enqueue["group_per_s"],
            "apply_async": enqueue["apply_async_per_s"],
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("docs") / "benchmarks" / "promises.json")
    options = parser.parse_args()
    with style():
        figure, axes = subplots(3, 1, figsize=(9, 6), height_ratios=(4, 2, 4), layout="constrained")
        for axis, (title, bars) in zip(axes, panels(read(options.results)).items(), strict=True):
            names = list(bars)[::-1]
            colours = [OUR_COLOUR if name.startswith(OURS) else GREY for name in names]
            drawn = axis.barh(names, [bars[name] for name in names], color=colours)
            axis.bar_label(drawn, fmt=lambda value: f"{value:,.0f}" if value >= 100 else f"{value:.2f}", padding=3)
            axis.set_title(title, loc="left")
        save(figure, options.results.parent / "promises.svg")


if __name__ == "__main__":
    main()
