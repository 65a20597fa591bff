"""What metrics, logs and traces cost: a worker's CPU per job, the series, and /metrics of 100 accounts.

    python -m bench.telemetry [--jobs 1000] [--rounds 8] [--scrapes 40]

Three lines. The first: a worker's CPU per job at 200 jobs a second, in turns without anything (Celery's events, metrics
and traces off, logs at WARNING), with the events for Flower, with metrics (scraped every second) and the line per
outcome besides, with traces besides, sent to a collector that takes them (one bulk job in ten, as it is by itself; and
every job); of each the median of the rounds. Other processes on the machine make it uncertain by more than what is
measured: run it on one that does nothing else. The second: a million jobs of 100 accounts told to a worker's meters.
The third: a real web process with 100 accounts; their ledgers' keys are filled by hand (10,000 jobs in line are real,
the million that is done stands in the counters only).
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import secrets
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import httpx
import psutil
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from bench.common import BATCH, drain, jobs, report
from producers.queue import JobQueue
from sandbox.processes import free_port, spawn, until
from sandbox.stack import INTEGRATION_ID, Stack
from sandbox.valkey import Valkey
from worker.jobs import Lane, WarRoomJob
from worker.meters import Meters
from worker.settings import Settings, Switch

if TYPE_CHECKING:
    from collections.abc import Iterator

RATES = "12000/minute"
ACCOUNTS = 100
MILLION = 1_000_000
OFF = {"WARROOMS_METRICS_ADDRESS": "off", "WARROOMS_OTEL": "off"}
NOTHING = {**OFF, "WARROOMS_TASK_EVENTS": "no"}
ON = {"WARROOMS_METRICS_ADDRESS": "127.0.0.1:0", "WARROOMS_OTEL": "off"}


class _Sink(BaseHTTPRequestHandler):
    received = 0

    def do_POST(self) -> None:
        _Sink.received += len(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def collector() -> Iterator[str]:
    """An OTLP collector that takes everything; its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def scraped(log: Path) -> Iterator[None]:
    """Prometheus, once a second, if the worker says where."""
    done = threading.Event()

    def scrape() -> None:
        found = re.search(r"metrics at (http://[0-9.:]+/metrics)", log.read_text())
        while found and not done.wait(1.0):
            with suppress(httpx.HTTPError):
                httpx.get(found[1], trust_env=False)

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def cpu_ms_per_job(count: int, env: dict[str, str], level: str, otlp: str = "", sampler: str = "") -> float:
    """A worker's CPU per job in milliseconds, from the hundredth job to the last."""
    traces = (
        {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp, "OTEL_TRACES_SAMPLER": sampler, "WARROOMS_OTEL": "on"} if otlp else {}
    )
    settings = {"otel": Switch.ON, "otlp_endpoint": otlp} if otlp else {"otel": Switch.OFF}
    os.environ.update({name: value for name, value in traces.items() if name.startswith("OTEL_")})
    with Stack(("--rates", RATES, "--latency", "constant:0.05"), {"WARROOMS_RATES": RATES, **env, **traces}) as stack:
        queue = JobQueue(Settings(redis_url=stack.redis_url, integration_id=INTEGRATION_ID, rates=RATES, **settings))
        ledger = queue.ledger("default")
        worker = stack.start_worker("--loglevel", level)
        process = psutil.Process(worker.popen.pid)
        with scraped(worker.log):
            queue.enqueue_many(jobs(count), batch=BATCH)
            until(lambda: ledger.progress().with_room >= 100, "the first jobs", within_s=60)
            before, done = process.cpu_times(), ledger.progress().with_room
            drain(ledger)
            after = process.cpu_times()
        queue.close()
    return 1000 * (after.user + after.system - before.user - before.system) / (count - done)


def cost(count: int, rounds: int) -> dict[str, Any]:
    found: dict[str, list[float]] = {
        "off": [],
        "events": [],
        "metrics_and_logs": [],
        "and_traces": [],
        "and_all_traces": [],
    }
    with collector() as otlp:
        for _ in range(rounds):
            found["off"].append(cpu_ms_per_job(count, NOTHING, "WARNING"))
            found["events"].append(cpu_ms_per_job(count, OFF, "WARNING"))
            found["metrics_and_logs"].append(cpu_ms_per_job(count, ON, "INFO"))
            found["and_traces"].append(cpu_ms_per_job(count, ON, "INFO", otlp))
            found["and_all_traces"].append(cpu_ms_per_job(count, ON, "INFO", otlp, "always_on"))
    each = {name: round(median(times), 3) for name, times in found.items()}
    return {
        **{f"{name}_ms": ms for name, ms in each.items()},
        "events_share": round(each["events"] / each["off"] - 1, 3),
        "metrics_and_logs_share": round(each["metrics_and_logs"] / each["off"] - 1, 3),
        "all_share": round(each["and_traces"] / each["off"] - 1, 3),
        "every_job_traced_share": round(each["and_all_traces"] / each["off"] - 1, 3),
        "rounds": {name: [round(ms, 2) for ms in times] for name, times in found.items()},
        "otlp_bytes": _Sink.received,
    }


def series() -> dict[str, Any]:
    """A million jobs of 100 accounts: how many series after the first hundredth and at the end."""
    registry = CollectorRegistry()
    meters = Meters(registry)
    accounts = [f"account-{number}" for number in range(ACCOUNTS)]
    meters.begin(accounts)
    outcomes = (("opened", "OK"), ("found", "OK"), ("failed", "InvalidParameter"), ("retrying", "Timeout"))
    some = [
        WarRoomJob(account=account, incident_id=f"{1:024x}", integration_id=1, lane=lane)
        for account in accounts
        for lane in Lane
    ]
    early, began = 0, time.process_time()
    for number in range(MILLION):
        job, (outcome, code) = some[number % len(some)], outcomes[number // len(some) % 4]
        meters.slot_came(job.account, job.lane, 0.1, 0.01)
        meters.calling(job.account)
        meters.called(job.account, "create", code if number % 1000 else f"Invented{number}", 0.5, f"request-{number}")
        meters.ended(job, outcome, code, 1)
        if number == MILLION // 100:
            early = _series(registry)
    took_s = time.process_time() - began
    began = time.perf_counter()
    count = _series(registry)
    return {
        "jobs": MILLION,
        "series_early": early,
        "series": count,
        "us_per_job": round(took_s / MILLION * 1e6, 1),
        "worker_scrape_ms": round((time.perf_counter() - began) * 1000, 1),
    }


def _series(registry: CollectorRegistry) -> int:
    return sum(not line.startswith(b"#") for line in generate_latest(registry).splitlines())


def fill(queue: JobQueue) -> None:
    """100 jobs in line at each account, and keys as after a million jobs."""
    for desk in queue.desks():
        name, client = desk.account.name, queue.store.client
        base = f"warrooms:{{{name}}}"
        mine = [WarRoomJob(account=name, incident_id=f"{n:024x}", integration_id=INTEGRATION_ID) for n in range(100)]
        desk.ledger.enqueue(mine, "backlog")
        client.hset(f"{base}:account", "opened", MILLION // ACCOUNTS)
        client.zadd(f"{base}:failed", {f"{n:024x}.1": n for n in range(1000, 1100)})
        for number in range(3):
            desk.ledger.beat(f"worker-{number}")
        desk.bucket.penalty(3600.0)


def page(scrapes: int) -> dict[str, Any]:
    """How long /metrics of a web process takes, each time anew from Redis, in milliseconds."""
    token = secrets.token_hex(16)
    with tempfile.TemporaryDirectory() as name, Valkey(Path(name) / "valkey") as valkey:
        accounts = Path(name) / "accounts.toml"
        accounts.write_text("".join(f'[accounts.account-{n}]\napp_key_env = "NONE"\n' for n in range(ACCOUNTS)))
        queue = JobQueue(Settings(redis_url=valkey.url, accounts_file=accounts))
        fill(queue)
        queue.close()
        port = free_port()
        env = {
            **os.environ,
            "REDIS_URL": valkey.url,
            "WARROOMS_ACCOUNTS_FILE": str(accounts),
            "WARROOMS_API_TOKENS": f"prometheus[read]:{token}",
        }
        command = [str(Path(sys.executable).with_name("warrooms")), "web", "--port", str(port)]
        web = spawn("web", command, Path(name) / "web.log", env)
        headers = {"Authorization": f"Bearer {token}"}
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, trust_env=False) as http:
                until(lambda: _answers(http), "the web process", web)
                times, text = [], ""
                for _ in range(scrapes):
                    time.sleep(1.1)  # older than what it keeps
                    began = time.perf_counter()
                    text = http.get("/metrics").text
                    times.append((time.perf_counter() - began) * 1000)
        finally:
            web.stop()
    ordered = sorted(times)
    lines = [line for line in text.splitlines() if line.startswith("warrooms_")]
    return {
        "accounts": ACCOUNTS,
        "p50_ms": round(median(ordered), 1),
        "worst_ms": round(ordered[-1], 1),
        "scrapes": scrapes,
        "series": len(lines),
        "kilobytes": round(len(text) / 1000),
    }


def _answers(http: httpx.Client) -> bool:
    with suppress(httpx.HTTPError):
        return http.get("/readyz").is_success
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--scrapes", type=int, default=40)
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    report(what="cost", **cost(options.jobs, options.rounds))
    report(what="series", **series())
    report(what="page", **page(options.scrapes))


if __name__ == "__main__":
    main()
