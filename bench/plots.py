"""Draws what bench/contest.py measured, and writes its table into a page.

    python -m bench.plots [--results docs/benchmarks/contest.json] [--page docs/benchmarks/README.md]

Beside the results: `contest.svg` (rooms over time, a panel for each model), `contest-refusals.svg`, `contest-cost.svg`.
The page's part between `<!-- contest -->` and `<!-- /contest -->` is replaced, or added.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

try:
    import matplotlib as mpl
except ImportError:
    raise SystemExit(
        "the plots need the extra bench: pip install --constraint constraints.txt --editable '.[dev,bench]'"
    ) from None

from bench.bound import earliest_s
from bench.contest_drain import CURVE_STEP_S, RATES
from bench.contest_table import Results, table

mpl.use("svg")  # before pyplot is imported: no window, nothing but files
from matplotlib import pyplot as plt

if TYPE_CHECKING:
    from collections.abc import Sequence

OURS: Final = "warrooms_itself"
OUR_COLOUR: Final = "#0a7d4f"
GREY: Final = "#9a9a9a"
COLOURS: Final = (GREY, "#4c78a8", "#f58518", "#e45756", "#72b7b2", "#b279a2", "#9d755d", "#eeca3b", "#ff9da6")
STYLE: Final[dict[str, Any]] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e8e8e8",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: small, and found by a search
    "svg.hashsalt": "warrooms",  # the same results make the same file
}
subplots: Final = plt.subplots
BEGIN, END = "<!-- contest -->", "<!-- /contest -->"


def main() -> None:
    options = _options()
    results = Results(read(options.results))
    folder = options.results.parent
    with style():
        save(_rooms_over_time(results), folder / "contest.svg")
        save(_refusals(results), folder / "contest-refusals.svg")
        save(_cost(results), folder / "contest-cost.svg")
    _write_part(options.page, table(results))


def _rooms_over_time(results: Results) -> Any:  # noqa: ANN401
    """Calls let through, of the first round, a panel for each model; dashed what the model allows at the most."""
    count = len(results.models)
    columns = min(3, count)
    rows = -(-count // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.6 * columns + 2.2, 2.7 * rows + 0.4), sharex=True, sharey=True, squeeze=False
    )
    flat = [axis for row in axes for axis in row]
    for axis, model in zip(flat, results.models, strict=False):
        _panel(axis, results, model)
    for axis in flat[count:]:
        axis.set_visible(False)
    figure.supxlabel("seconds since the first call")
    figure.supylabel("rooms")
    handles, labels = flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    return figure


def _panel(axis: Any, results: Results, model: str) -> None:  # noqa: ANN401
    most = 0
    for contender in results.contenders:
        curves = [line["curve"] for line in results.of("drain", contender, model)[:1]]
        for curve in curves:
            most = max(most, *curve)
            times = [CURVE_STEP_S * step for step in range(len(curve) + 1)]
            ours = contender == OURS
            axis.plot(
                times,
                [0, *curve],
                label=results.what(contender),
                color=_colour(results, contender),
                linewidth=2.4 if ours else 1.2,
                zorder=3 if ours else 2,
            )
    counts = tuple(range(1, most + 1, max(1, most // 200)))
    bound = earliest_s(RATES, (model,), counts)
    axis.plot(
        list(bound.values()), list(bound), label="the most it allows", color="black", linewidth=0.9, linestyle="--"
    )
    axis.set_title(model, loc="left")


def _refusals(results: Results) -> Any:  # noqa: ANN401
    """Refusals for each room, a row for each contender and a dot for each model."""
    figure, axis = plt.subplots(figsize=(7.5, 0.36 * len(results.contenders) + 1.3))
    rows = _rows(results.contenders)
    markers = ("o", "s", "D", "^", "v")
    for marker, model in zip(markers, results.models, strict=False):
        points = [
            (line["refused"] / max(1, line["rooms"]), rows[contender])
            for contender in results.contenders
            for line in results.of("median", contender, model)
        ]
        axis.plot(*zip(*points, strict=True), marker, label=model, markersize=5, markerfacecolor="none")
    _name_rows(axis, results, rows)
    axis.set_xscale("symlog", linthresh=0.01, linscale=0.5)
    axis.set_xlim(left=-0.001)
    axis.set_xlabel("refusals (429) for each room; logarithmic from 0.01 on")
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _cost(results: Results) -> Any:  # noqa: ANN401
    """CPU of the workers and commands of Redis for each job, against the model that is shown."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 0.36 * len(results.contenders) + 1.2), sharey=True)
    rows = _rows(results.contenders)
    drawn = (("cpu_ms_per_job", "worker CPU a job, ms"), ("redis_commands_per_job", "Redis commands a job"))
    for axis, (figures, title) in zip(axes, drawn, strict=True):
        for contender in results.contenders:
            for line in results.of("median", contender, results.shown_model):
                axis.barh(rows[contender], line[figures], color=_colour(results, contender), height=0.65)
                axis.annotate(
                    f" {line[figures]:,.1f}", (line[figures], rows[contender]), va="center", fontsize=8, color="#333333"
                )
        axis.set_xlabel(title)
        axis.grid(visible=False, axis="y")
        axis.margins(x=0.12)
    _name_rows(axes[0], results, rows)
    return figure


def _rows(contenders: Sequence[str]) -> dict[str, int]:
    """The first one on top."""
    return {contender: -row for row, contender in enumerate(contenders)}


def _name_rows(axis: Any, results: Results, rows: dict[str, int]) -> None:  # noqa: ANN401
    axis.set_yticks(list(rows.values()), [results.what(contender) for contender in rows])


def _colour(results: Results, contender: str) -> str:
    others = [one for one in results.contenders if one != OURS]
    return OUR_COLOUR if contender == OURS else COLOURS[others.index(contender) % len(COLOURS)]


def read(results: Path) -> Any:  # noqa: ANN401
    """What was measured; the end of the program if it cannot be read."""
    try:
        return json.loads(results.read_text())
    except (OSError, ValueError) as error:
        raise SystemExit(f"cannot read {results}: {error}") from None


def style() -> Any:  # noqa: ANN401 - matplotlib's
    """How all of them look, as long as its block lasts."""
    return plt.rc_context(STYLE)


def save(figure: Any, path: Path) -> None:  # noqa: ANN401
    """Writes a picture."""
    figure.set_layout_engine("constrained")
    figure.savefig(path, metadata={"Date": None}, facecolor="white")
    plt.close(figure)


def _write_part(page: Path, text: str) -> None:
    """Puts the section into the page, where it was or at its end."""
    part = f"{BEGIN}\n{text}\n{PICTURES}\n{END}"
    old = page.read_text() if page.exists() else "# Benchmarks, with their plots\n"
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    new = pattern.sub(lambda _: part, old) if pattern.search(old) else f"{old}\n## The contest\n\n{part}\n"
    page.write_text(new)


PICTURES: Final = """![rooms over time](contest.svg)

![refusals](contest-refusals.svg)

![cost of a job](contest-cost.svg)"""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    folder = Path("docs") / "benchmarks"
    parser.add_argument("--results", type=Path, default=folder / "contest.json")
    parser.add_argument("--page", type=Path, default=folder / "README.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
