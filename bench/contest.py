"""The drain, contender by contender and model by model of the server, and what each makes of a worker that dies.

    python -m bench.contest [--contender NAME ...] [--model NAME ...] [--jobs 5000] [--rounds 3] [--workers 2]
                            [--side-by-side N] [--kill-jobs 300] [--out docs/benchmarks/contest.json]

A line of JSON a run (`kind`: cost, drain, kill), then what they come to (baseline, median, kills). Each round has every
contender once for each model, the contenders one after the other; with `--side-by-side` so many models run at the same
time, each in an installation of its own. `machine_busy` in each line says whether anybody was starved: above 0.9, the
line is about the machine. At the limit 5,000 jobs take five minutes (the slowest contender is given up after 17), so a
round of all ten contenders against all five models takes seven hours one after the other, an hour and a half if all
five models run side by side, which two cores bear.
"""

from __future__ import annotations

import argparse
import functools
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx

from bench.arena import Arena
from bench.common import report
from bench.contenders import NAMES, load
from bench.contest_cost import GENEROUS, cost
from bench.contest_drain import drain
from bench.contest_kill import kill
from bench.machine import about
from bench.median import medians_of
from sandbox.models import MODELS
from sandbox.stack import StackError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.contenders import Contender

Line = dict[str, Any]

API: Final = ("--latency", "uniform:0:1", "--retry-after", "seconds", "--seed", "1")
"""The calls take 0 to 1 s, and a refusal says when to come again: the API that is kindest to who gets one."""

ACCOUNT: Final = (50, 1000)
BARE: Final = "celery_bare"
KILL_MODEL: Final = "sliding-log"
SAME: Final = ("contender", "model", "jobs", "workers")
MEDIANS: Final = {"drain": "median", "kill": "kills", "cost": "baseline"}
SUMS: Final = ("lost", "doubled", "missing")


def main() -> None:
    options = _options()
    contenders = [load(name) for name in options.contender or NAMES]
    lines: list[Line] = [{"kind": "machine", **about(contenders)}]
    report(**lines[0])
    for number in range(1, options.rounds + 1):
        lines.append(_cost(number, options))
        for contender in contenders if options.jobs else []:
            drains = [functools.partial(_drain, contender, model, number, options) for model in options.model or MODELS]
            lines += _side_by_side(drains, options.side_by_side)
            _write(lines, options.out)  # hours of work must not hang on the last of them
        if options.kill_jobs:
            kills = [functools.partial(_kill, contender, number, options) for contender in contenders]
            lines += _side_by_side(kills, options.side_by_side)
    for line in medians(lines):
        report(**line)
    _write([*lines, *medians(lines)], options.out)


def medians(lines: list[Line]) -> list[Line]:
    """Of the runs of one contender against one model, the median of every number; of lost and doubled jobs the sum."""
    groups: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        if line["kind"] in MEDIANS:
            rest = {name: value for name, value in line.items() if name not in (*SAME, "round")}
            groups.setdefault((line["kind"], *(line[name] for name in SAME)), []).append(rest)
    return [
        {"kind": MEDIANS[kind], **dict(zip(SAME, same, strict=True)), "rounds": len(group), **_median(group)}
        for (kind, *same), group in groups.items()
    ]


def _median(group: list[Line]) -> Line:
    return medians_of(group) | {name: sum(line[name] for line in group) for name in SUMS if name in group[0]}


def _drain(contender: Contender, model: str, number: int, options: argparse.Namespace) -> Line:
    def run(arena: Arena) -> Line:
        return drain(arena, model, options.jobs, options.workers)

    return _told("drain", contender, model, number, options, run)


def _kill(contender: Contender, number: int, options: argparse.Namespace) -> Line:
    return _told("kill", contender, KILL_MODEL, number, options, lambda arena: kill(arena, options.kill_jobs))


def _cost(number: int, options: argparse.Namespace) -> Line:
    return _told("cost", load(BARE), KILL_MODEL, number, options, lambda arena: cost(arena, options.workers), GENEROUS)


def _told(
    kind: str,
    contender: Contender,
    model: str,
    number: int,
    options: argparse.Namespace,
    run: Callable[[Arena], Line],
    rates: tuple[int, int] = ACCOUNT,
) -> Line:
    """Runs it and reports a line; a run that fails must not take hours of others with it, and is a line, too."""
    line: Line = {"contender": contender.name, "model": model, "round": number, "workers": options.workers}
    try:
        with Arena(contender, model, options.workers, API, rates) as arena:
            line = {"kind": kind, **line, **run(arena)}
    except (StackError, RuntimeError, OSError, httpx.HTTPError) as error:
        line = {"kind": "failed", **line, "what": kind, "error": f"{type(error).__name__}: {error}"[:1000]}
    report(**line)
    return line


def _side_by_side(runs: Sequence[Callable[[], Line]], count: int) -> list[Line]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda run: run(), runs))


def _write(lines: list[Line], out: Path | None) -> None:
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("[\n" + ",\n".join(json.dumps(line) for line in lines) + "\n]\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contender", action="append", choices=NAMES)
    parser.add_argument("--model", action="append", choices=tuple(MODELS))
    parser.add_argument("--jobs", type=int, default=5000, help="0 leaves the drains out")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--side-by-side", type=int, default=1)
    parser.add_argument("--kill-jobs", type=int, default=300, help="0 leaves the kills out")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
