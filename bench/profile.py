"""Where a worker's time goes: a sampled profile of one that drains a backlog at 12,000 a minute, by part.

    python -m bench.profile [--jobs 4000] [--out docs/benchmarks/profile.json]

py-spy looks 250 times a second at who has the interpreter (`--gil`); it needs permission to look into processes, as
root or with CAP_SYS_PTRACE. Shares are of those looks: what waits, in a socket or for a slot, is not in them.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

from bench.common import BATCH, drain, jobs, queue_of, report
from bench.machine import about_us
from sandbox.stack import Stack, until

RATES: Final = "12000/minute"
SAMPLES_PER_S: Final = 250

PARTS: Final = (
    # The first that fits; a look is of one part only.
    ("the line per outcome", r"outcomes\.py"),
    ("Celery's events for Flower", r"EventDispatcher|task_events\.py|_began \("),
    ("metrics", r"meters\.py|_tell \(worker/telemetry|metrics_server\.py"),
    ("HTTP: the call itself", r"worker/flashduty|httpx|httpcore"),
    ("ledger: claim and slot", r"WorkersLedger\.take|WorkersLedger\.slot"),
    ("ledger: the end", r"Ledger\.has_room|Ledger\._finish"),
    ("heartbeat, recovery, orders", r"heartbeat\.py|recovery\.py|rounds\.py|steering\.py"),
    ("BRPOP: which queues, asking", r"_brpop_start|_register_BRPOP|gate\.py"),
    ("kombu and Celery: from the message to the task", r"_brpop_read|on_task_received|Request"),
    ("kombu and Celery: the acknowledgement", r"\back\b|acknowledge|on_success"),
    ("Celery: around the task", r"celery/app/trace|celery/concurrency|concurrent/futures"),
    ("Celery's loop", r"hub\.py|loops\.py"),
)
REST: Final = "other"


def part_of(stack: str) -> str:
    """The part that a stack of frames, the outermost first, belongs to."""
    return next((name for name, pattern in PARTS if re.search(pattern, stack)), REST)


def shares(folded: str) -> dict[str, float]:
    """By part, its share of the looks; `folded` is py-spy's raw format: a stack and a count in each line."""
    looks: Counter[str] = Counter()
    for line in folded.splitlines():
        stack, _, count = line.rpartition(" ")
        looks[part_of(stack)] += int(count)
    return {name: round(count / looks.total(), 3) for name, count in looks.most_common()}


def profile(count: int) -> str:
    """Drains so many jobs under py-spy's eyes; its raw format."""
    py_spy = Path(sys.executable).with_name("py-spy")
    if not py_spy.exists():
        raise SystemExit(
            "py-spy is in the extra bench: pip install --constraint constraints.txt --editable '.[dev,bench]'"
        )
    api = ("--rates", RATES, "--latency", "constant:0.05")
    with Stack(api, {"WARROOMS_RATES": RATES, "WARROOMS_METRICS_ADDRESS": "127.0.0.1:0"}) as stack:
        with queue_of(stack, RATES) as queue:
            ledger = queue.ledger("default")
            worker = stack.start_worker()
            queue.enqueue_many(jobs(count), batch=BATCH)
            until(lambda: ledger.progress().with_room >= 100, "the first jobs", within_s=60)
            raw = stack.folder / "profile.raw"
            options = ["--gil", "--nonblocking", "--format", "raw", "--rate", str(SAMPLES_PER_S)]
            command = [str(py_spy), "record", "--pid", str(worker.popen.pid)]
            watcher = subprocess.Popen(
                [*command, *options, "--output", str(raw)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            drain(ledger)
            watcher.send_signal(signal.SIGINT)
            watcher.wait(30)
        return raw.read_text()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=4000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = shares(profile(options.jobs))
    report(what="profile", jobs=options.jobs, shares=found)
    if options.out:
        options.out.write_text(json.dumps({**about_us(), "jobs": options.jobs, "shares": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
