"""What bench/contest.py measured, as a Markdown table: one row a contender, every figure with the models it is of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Line = dict[str, Any]

STRICTEST: Final = "sliding-log"
"""The model whose times are shown, unless it was not measured: no window, wherever it begins, holds too much."""

HEAD: Final = (
    "contender",
    "refused (most per room, model)",
    "share of 1,000/min: minute 1",
    "after",
    "s to {counts} rooms",
    "urgent, s: median / worst",
    "Redis commands a job",
    "worker CPU a job",
    "memory a worker",
    "drained: missing / doubled",
    "kill -9: lost / doubled",
)
EMPTY: Final = ("",) * 6
"""What a bound does not have: the columns behind the times."""


@dataclass(frozen=True)
class Results:
    """The lines of one contest."""

    lines: Sequence[Line]

    @property
    def machine(self) -> Line:
        """On what it was measured."""
        return next(line for line in self.lines if line["kind"] == "machine")

    @property
    def contenders(self) -> list[str]:
        """Their names, in the order of the contest."""
        return list(dict.fromkeys(str(line["contender"]) for line in self.of("median")))

    @property
    def models(self) -> list[str]:
        """The models of the server that were measured."""
        return list(dict.fromkeys(str(line["model"]) for line in self.of("median")))

    @property
    def shown_model(self) -> str:
        """The one whose times are shown."""
        return STRICTEST if STRICTEST in self.models else self.models[0]

    def of(self, kind: str, contender: str = "", model: str = "") -> list[Line]:
        """The lines of a kind, of a contender and a model if named."""
        return [
            line
            for line in self.lines
            if line["kind"] == kind and contender in ("", line["contender"]) and model in ("", line["model"])
        ]

    def what(self, contender: str) -> str:
        """How a reader calls it."""
        names: dict[str, str] = self.machine.get("contenders", {})
        return names.get(contender, contender)


def table(results: Results) -> str:
    """The whole section: where, when, with what; the bound; the rows; how to read them."""
    (bound_line,) = results.of("median", results.contenders[0], results.shown_model)
    counts = list(bound_line["open_s"])
    head = [title.format(counts=" / ".join(f"{int(n):,}" for n in counts)) for title in HEAD]
    bound, anyone = bound_line["bound_s"], bound_line["bound_any_model_s"]
    rows = [
        ["*the bound, knowing the model*", "0", "", "", _joined(bound[n] for n in counts), *EMPTY],
        ["*the bound, not knowing it*", "0", "", "", _joined(anyone[n] for n in counts), *EMPTY],
        *[_row(results, contender, counts) for contender in results.contenders],
    ]
    parts = [_machine(results), "", _markdown(head), _markdown(["---"] * len(head)), *[_markdown(row) for row in rows]]
    return "\n".join([*parts, "", _legend(results)]) + "\n"


def _row(results: Results, contender: str, counts: list[str]) -> list[str]:
    medians = results.of("median", contender)
    shown = next((line for line in medians if line["model"] == results.shown_model), medians[0])
    return [
        f"**{results.what(contender)}**" if contender == "warrooms_itself" else results.what(contender),
        _refused(medians),
        _spread([line["share_minute_1"] for line in medians if "share_minute_1" in line]),
        _spread([line["share_after"] for line in medians if "share_after" in line]),
        _joined(shown["open_s"].get(n) for n in counts),
        f"{_s(shown.get('urgent_p50_s'))} / {_s(shown.get('urgent_worst_s'))}",
        f"{shown['redis_commands_per_job']:.0f}",
        _cpu(results, shown),
        f"{shown['memory_mb_per_worker']:.0f} MB",
        f"{sum(line['missing'] for line in medians)} / {sum(line['doubled'] for line in medians)}",
        _kills(results.of("kills", contender)),
    ]


def _refused(medians: list[Line]) -> str:
    """All refusals, and where they were the most: beside 0, a number says little without its rooms."""
    total = sum(line["refused"] for line in medians)
    worst = max(medians, key=lambda line: line["refused"] / max(1, line["rooms"]))
    if not total:
        return "0"
    return f"{total:,.0f} ({worst['refused'] / max(1, worst['rooms']):.2f}, {worst['model']})"


def _cpu(results: Results, shown: Line) -> str:
    text = f"{shown['cpu_ms_per_job']:.1f} ms"
    bare = results.of("baseline")
    return f"{text} ({shown['cpu_ms_per_job'] / bare[0]['cpu_ms_per_job']:.1f} x)" if bare else text


def _kills(kills: list[Line]) -> str:
    return f"{kills[0]['lost']} / {kills[0]['doubled']}" if kills else ""


def _spread(shares: list[float]) -> str:
    if not shares:
        return ""
    low, high = min(shares), max(shares)
    return f"{low:.1%}" if high - low < 0.0005 else f"{low:.1%} to {high:.1%}"


def _joined(seconds: Iterable[float | None]) -> str:
    return " / ".join(_s(one) for one in seconds)


def _s(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:,.1f}" if seconds < 10 else f"{seconds:,.0f}"


def _markdown(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _machine(results: Results) -> str:
    machine = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{machine['date']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}, "
        f"Node {machine['node']}; {versions}."
    )


def _legend(results: Results) -> str:
    jobs = max(line["jobs"] for line in results.of("median"))
    rounds = max(line["rounds"] for line in results.of("median"))
    busy = max(line["machine_busy"] for line in results.of("drain"))
    failed = len(results.of("failed"))
    kills = results.of("kills")
    killed = f" kill -9: {kills[0]['jobs']:,} jobs, one of {kills[0]['workers']} workers." if kills else ""
    return (
        f"{jobs:,} jobs, medians of {rounds}; refusals and shares over {', '.join(results.models)}, the rest "
        f"against {results.shown_model}. CPU and commands: with what was queued already; x: beside the same call in a "
        "bare Celery task that is fed 1,000 jobs a minute and never waits. Urgent: from enqueueing to the room, 0 to "
        f"1 s is the API's.{killed} The machine: {busy:.0%} busy at most"
        f"{f'; {failed} runs failed' if failed else ''}."
    )
