"""How the cost of a job grows as work grows: backlog, accounts, workers, batch size, dead letters.

    python -m bench.growth [--what backlog|accounts|workers|batch|letters ...] [--quick]
                           [--out docs/benchmarks/growth.json]

A line of JSON a point. With --out the lines of what was measured replace those of last time and leave the others alone,
so each can be measured on its own; `python -m bench.growth_plots` draws them. On two cores that do nothing else:
backlog 15 minutes and 2.5 GB, accounts 18, workers 6, batch 2, letters 5. With --quick each takes a minute at the most
and says little.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench import growth_accounts, growth_backlog, growth_batch, growth_letters, growth_workers
from bench.common import report
from bench.machine import about_us

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Line = dict[str, Any]

MEASURES: Final[dict[str, Callable[[bool], Iterator[Line]]]] = {
    "backlog": growth_backlog.measure,
    "accounts": growth_accounts.measure,
    "workers": growth_workers.measure,
    "batch": growth_batch.measure,
    "letters": growth_letters.measure,
}


def main() -> None:
    options = _options()
    for what in options.what or MEASURES:
        lines: list[Line] = []
        for line in MEASURES[what](options.quick):
            lines.append({"what": what, **line})
            report(**lines[-1])
        if options.out:
            keep(options.out, what, {"machine": about_us(), "quick": options.quick, "lines": lines})


def keep(out: Path, what: str, measured: dict[str, Any]) -> None:
    """Writes it among what was measured before."""
    known = json.loads(out.read_text()) if out.exists() else {}
    known[what] = measured
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(known, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", action="append", choices=tuple(MEASURES))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
