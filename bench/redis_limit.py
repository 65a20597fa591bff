"""What one Redis bears: the scripts of jobs, as workers send them, from processes that do nothing else.

    python -m bench.redis_limit [--accounts 600] [--seconds 15] [--processes 1] [--connections 1 ...] [--aof]
                                [--out docs/benchmarks/redis-limit.json]

For each number of connections: jobs a second, Redis' CPU, and how long an answer takes. Each account has the real
limits and gets fewer jobs a second than they allow, so slots are granted (`granted`) and the list of its calls is as
long as in real life. `scripts_bound_per_s` is what one core of Redis would do at that CPU a job. Three minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import redis

from bench.accounts_stack import accounts_file, job, names
from bench.common import REAL_RATES, report
from bench.machine import about_us
from bench.meter import commands_of, redis_cpu_s
from bench.server import about, server
from producers.queue import CHUNK, JobQueue
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

CONNECTIONS: Final = (1, 4, 16, 64)
MOST_PER_S: Final = 9000
"""More than any Redis does on one core: so many jobs are queued for each second."""

AOF: Final = {"appendonly": "yes", "appendfsync": "everysec"}


def main() -> None:
    options = _options()
    lines = []
    for connections in options.connections or CONNECTIONS:
        lines.append(_run(connections, options))
        report(**lines[-1])
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"machine": about_us(), "lines": lines}, indent=1) + "\n")


def _run(connections: int, options: argparse.Namespace) -> dict[str, Any]:
    accounts = names(options.accounts)
    with tempfile.TemporaryDirectory() as text, server(Path(text) / "redis", **(AOF if options.aof else {})) as url:
        file = Path(text) / "accounts.toml"
        file.write_text(accounts_file(accounts, REAL_RATES))
        _enqueue(url, file, accounts, int(MOST_PER_S * options.seconds / len(accounts)) + 2)
        client: redis.Redis = redis.Redis.from_url(url, decode_responses=True)
        before, busy = commands_of(client), redis_cpu_s(client)
        loads = _load(url, connections, options)
        after, used_s = commands_of(client), redis_cpu_s(client) - busy
        jobs = sum(load["jobs"] for load in loads)
        spent = {kind: count - before.get(kind, 0) for kind, count in after.items()}
        line = {
            "connections": connections,
            "processes": len(loads),
            "accounts": options.accounts,
            "aof": options.aof,
            **about(client),
            "jobs_per_s": round(jobs / options.seconds),
            "redis_us_per_job": round(1e6 * used_s / jobs, 1),
            "redis_used": round(used_s / options.seconds, 3),
            "scripts_bound_per_s": round(jobs / used_s),
            "commands_per_job": round(sum(spent.values()) / jobs, 1),
            "granted": round(spent.get("rpush", 0) / jobs, 3),
            "script_us_p50": max(load["script_us_p50"] for load in loads),
            "script_us_p99": max(load["script_us_p99"] for load in loads),
        }
        client.close()
    return line


def _enqueue(url: str, file: Path, accounts: Sequence[str], each: int) -> None:
    queue = JobQueue(Settings(redis_url=url, accounts_file=file))
    for account in accounts:
        numbers = iter(range(each))
        while chunk := [job(account, number) for number in islice(numbers, CHUNK)]:
            queue.enqueue_chunk(chunk)
    queue.close()


def _load(url: str, connections: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """As many processes as there are connections, at the most; each has accounts of its own."""
    processes = min(options.processes, connections)
    mine, each = options.accounts // processes, connections // processes
    command = [sys.executable, "-m", "bench.redis_load"]
    running = [
        subprocess.Popen(
            [*command, str(at * mine), str(mine), str(each), str(options.seconds)],
            env={**os.environ, "REDIS_URL": url},
            stdout=subprocess.PIPE,
            text=True,
        )
        for at in range(processes)
    ]
    return [json.loads(one.communicate()[0]) for one in running]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=600)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--connections", type=int, action="append")
    parser.add_argument("--aof", action="store_true")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
