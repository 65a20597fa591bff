"""Draws what bench/growth.py measured: a picture for each of its five parts, beside the results.

python -m bench.growth_plots [--results docs/benchmarks/growth.json]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.plots import GREY, OUR_COLOUR, read, save, style, subplots

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Line = dict[str, Any]
ORANGE: Final = "#f58518"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("docs") / "benchmarks" / "growth.json")
    options = parser.parse_args()
    measured = read(options.results)
    with style():
        for what, draw in PICTURES.items():
            if what in measured:
                save(draw(measured[what]["lines"]), options.results.parent / f"growth-{what}.svg")


def _backlog(lines: Sequence[Line]) -> Any:  # noqa: ANN401
    figure, axes = _axes(4)
    sizes = [line["jobs"] for line in lines]
    _line(axes[0], sizes, [line["enqueued_per_s"] for line in lines], "queued, jobs a second")
    _line(axes[1], sizes, [line["redis_bytes_per_queued"] for line in lines], "Redis, bytes a job", "queued")
    _line(axes[1], sizes, [line["redis_bytes_per_finished"] for line in lines], "", "finished", GREY)
    _line(axes[2], sizes, [line["memory_mb_per_worker"] for line in lines], "memory, MB", "worker")
    _line(axes[2], sizes, [line["producer_growth_mb"] for line in lines], "", "growth of the producer", GREY)
    for name, label, colour in (
        ("of_smallest_cpu_ms_per_job", "worker's CPU", OUR_COLOUR),
        ("of_smallest_redis_cpu_ms_per_job", "Redis' CPU", ORANGE),
        ("of_smallest_redis_commands_per_job", "Redis' commands", GREY),
    ):
        _line(axes[3], sizes, [line[name] for line in lines], "cost of a job / at the smallest", label, colour)
    axes[3].axhspan(0.9, 1.1, color="#eef5f1", zorder=0)
    return _titled(figure, axes, "jobs in the backlog", logarithmic=True)


def _accounts(lines: Sequence[Line]) -> Any:  # noqa: ANN401
    figure, axes = _axes(4)
    for workers, colour in ((1, OUR_COLOUR), (2, ORANGE)):
        some = [line for line in lines if line["workers"] == workers]
        counts = [line["accounts"] for line in some]
        label = f"{workers} worker{'s' * (workers > 1)}" if some else ""
        _line(axes[0], counts, [line["jobs_per_s"] for line in some], "jobs a second", label, colour)
        _line(axes[1], counts, [line["cpu_ms_per_job"] for line in some], "worker CPU a job, ms", label, colour)
        _line(axes[2], counts, [line["memory_mb_per_worker"] for line in some], "memory a worker, MB", label, colour)
        _line(axes[3], counts, [line["idle_redis_ms_per_s"] / 10 for line in some], "Redis, % idle", label, colour)
    all_counts = sorted({line["accounts"] for line in lines})
    allowed = {line["accounts"]: line["allowed_per_s"] for line in lines}
    most = [allowed[count] for count in all_counts]
    axes[0].plot(all_counts, most, "--", color="black", linewidth=0.9, label="allowed")
    axes[0].legend()
    axes[3].set_title("Redis' CPU without a job, %", loc="left")
    return _titled(figure, axes, "accounts", logarithmic=False)


def _workers(lines: Sequence[Line]) -> Any:  # noqa: ANN401
    figure, axes = _axes(3)
    counts = [line["workers"] for line in lines]
    _line(axes[0], counts, [100 * line["share"] for line in lines], "share of 1,000 a minute, %")
    _line(axes[1], counts, [line["redis_commands_per_job"] for line in lines], "Redis commands a job")
    _line(axes[2], counts, [line["cpu_ms_per_job"] for line in lines], "worker CPU a job, ms")
    _titled(figure, axes, "workers", logarithmic=False)
    axes[0].set_ylim(90, 101)  # the rest of it would be empty
    return figure


def _batch(lines: Sequence[Line]) -> Any:  # noqa: ANN401
    figure, axes = _axes(2)
    sizes = [line["jobs_per_script"] for line in lines]
    _line(axes[0], sizes, [line["enqueued_per_s"] for line in lines], "queued, jobs a second")
    _line(axes[1], sizes, [line["script_ms_median"] for line in lines], "Redis is busy, ms", "median")
    _line(axes[1], sizes, [line["script_ms_longest"] for line in lines], "", "longest", GREY)
    return _titled(figure, axes, "jobs a script", logarithmic=True)


def _letters(lines: Sequence[Line]) -> Any:  # noqa: ANN401
    figure, axes = _axes(2)
    counts = [line["letters"] for line in lines]
    _line(axes[0], counts, [line["failed_list_s"] for line in lines], "a command, s", "failed list")
    _line(axes[0], counts, [line["status_s"] for line in lines], "", "status", GREY)
    for name, label, colour in (
        ("first_page_ms", "first page", OUR_COLOUR),
        ("board_ms", "board", ORANGE),
        ("metrics_ms", "metrics", GREY),
        ("replay_ms", "replay of 100", "#4c78a8"),
    ):
        _line(axes[1], counts, [line[name] for line in lines], "in the web process, ms", label, colour)
    return _titled(figure, axes, "dead letters", logarithmic=True)


def _axes(count: int) -> tuple[Any, Sequence[Any]]:
    figure, axes = subplots(1, count, figsize=(2.9 * count + 0.4, 2.7), squeeze=False)
    return figure, axes[0]


def _line(
    axis: Any,  # noqa: ANN401
    x: Sequence[float],
    y: Sequence[float],
    title: str,
    label: str = "",
    colour: str = OUR_COLOUR,
) -> None:
    axis.plot(x, y, "o-", color=colour, label=label, markersize=3.5, linewidth=1.4)
    if title:
        axis.set_title(title, loc="left")
    if label:
        axis.legend()


def _titled(figure: Any, axes: Sequence[Any], x_label: str, *, logarithmic: bool) -> Any:  # noqa: ANN401
    for axis in axes:
        if logarithmic:
            axis.set_xscale("log")
        axis.set_ylim(bottom=0)
        axis.set_xlabel(x_label)
    return figure


PICTURES: Final[dict[str, Callable[[Sequence[Line]], Any]]] = {
    "backlog": _backlog,
    "accounts": _accounts,
    "workers": _workers,
    "batch": _batch,
    "letters": _letters,
}


if __name__ == "__main__":
    main()
