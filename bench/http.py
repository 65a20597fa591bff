"""The HTTP API on loopback: latency at 200 enqueues a second, the most it takes, and 100,000 lines in one request.

python -m bench.http [--seconds 30] [--lines 100000]

Every request is one job with its ledger record, into a Valkey with an append-only file synced every second; web, Valkey
and client share the machine. Latency is measured by an open-loop client in a process of its own, from the moment at
which a request was due, so one that had to wait for another one counts in full. The most is measured with wrk if it is
there (Debian: apt-get install wrk), else with the same client.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil

from bench.common import report
from producers.queue import JobQueue
from sandbox.processes import spawn, until
from sandbox.stack import INTEGRATION_ID
from sandbox.valkey import Valkey
from worker.jobs import Lane
from worker.messages import queue_name
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = os.environ.setdefault("BENCH_TOKEN", secrets.token_hex(16))
"""In the environment, so that the client's process has the same."""
CONNECTIONS = 64
RATE_PER_S = 200
EVENTS = 10
WRK = """
local base, n = "%s", 0
request = function()
  n = n + 1
  local headers = {["content-type"] = "application/json", ["authorization"] = "Bearer %s"}
  return wrk.format("POST", "/v1/war-rooms", headers, string.format('{"incident_id":"%%s%%012x"}', base, n))
end
"""


def request(number: int, base: str) -> bytes:
    body = json.dumps({"incident_id": f"{base}{number:012x}"}).encode()
    head = f"POST /v1/war-rooms HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def answered(reader: asyncio.StreamReader) -> int:
    """The status of the next answer, which is read to its end."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    await reader.readexactly(length)
    return int(head[9:12])


async def open_loop(port: int, rate_per_s: float, seconds: float) -> list[tuple[float, int]]:
    """Each request's latency from the moment it was due, in seconds, and its status."""
    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    found, base, began = [], secrets.token_hex(6), time.perf_counter()

    async def ask(number: int) -> None:
        due = began + number / rate_per_s
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        reader, writer = await free.get()
        writer.write(request(number, base))
        status = await answered(reader)
        found.append((time.perf_counter() - due, status))
        free.put_nowait((reader, writer))

    await asyncio.gather(*(ask(number) for number in range(int(rate_per_s * seconds))))
    return found


def client(port: int, rate_per_s: float, seconds: float, out: Any) -> None:  # noqa: ANN401
    out.put(asyncio.run(open_loop(port, rate_per_s, seconds)))


def at_rate(port: int, rate_per_s: float, seconds: float) -> dict[str, Any]:
    """Percentiles of the latency at a rate, in milliseconds."""
    context = multiprocessing.get_context("spawn")
    out = context.Queue()
    process = context.Process(target=client, args=(port, rate_per_s, seconds, out))
    process.start()
    found = out.get()
    process.join()
    times = sorted(latency_s for latency_s, _ in found)
    return {
        "rate_per_s": rate_per_s,
        "p50_ms": round(times[len(times) // 2] * 1000, 1),
        "p99_ms": round(times[int(len(times) * 0.99)] * 1000, 1),
        "worst_ms": round(times[-1] * 1000, 1),
        "not_202": sum(status != 202 for _, status in found),
        "requests": len(found),
    }


def most(port: int, seconds: float, folder: Path) -> dict[str, Any]:
    """Requests a second that it sustains."""
    if shutil.which("wrk") is None:
        rate = 500.0
        while (found := at_rate(port, rate, seconds))["p99_ms"] < 500 and not found["not_202"]:
            rate *= 1.25
        return {"sustained_per_s": round(rate / 1.25), "by": "the open-loop client"}
    script = folder / "post.lua"
    script.write_text(WRK % (secrets.token_hex(6), TOKEN))
    command = ["wrk", "-t1", "-c32", f"-d{seconds:.0f}s", "--latency", "-s", str(script), f"http://127.0.0.1:{port}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {
        "sustained_per_s": round(float(said.split("Requests/sec:")[1].split()[0])),
        "p99_at_most": said.split("99%")[1].split()[0],
        "refused": "Non-2xx" in said,
        "by": "wrk, 32 connections",
    }


@contextmanager
def peak_of(process: psutil.Process) -> Iterator[list[int]]:
    """The largest resident size while the block runs, in bytes."""
    peak, done = [process.memory_info().rss], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak[0] = max(peak[0], process.memory_info().rss)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


def lines(count: int) -> bytes:
    return b"".join(b'{"incident_id": "%024x"}\n' % (1 << 80 | number) for number in range(count))


def cut_while_sending(port: int, body: bytes) -> None:
    head = f"POST /v1/war-rooms/bulk?batch=bulk HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    head += f"Content-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(head.encode() + body[: len(body) // 2])


def cut_while_reading(http: httpx.Client, body: bytes) -> int:
    """How many bytes of the answer were read before the connection was cut."""
    read = 0
    with http.stream("POST", "/v1/war-rooms/bulk?batch=bulk", content=body) as answer:
        for piece in answer.iter_bytes(65536):
            read += len(piece)
            if read > 2_000_000:
                break
    return read


def bulk(port: int, process: psutil.Process, queue: JobQueue, count: int) -> dict[str, Any]:
    """A bulk request, cut twice and repeated: what it costs the process, and whether it loses or doubles a line."""
    body = lines(count)
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/x-ndjson"}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=300, trust_env=False) as http:
        before = process.memory_info().rss
        with peak_of(process) as peak:
            cut_while_sending(port, body)
            cut_while_reading(http, body)
            until(lambda: http.get("/healthz").is_success, "the web process")
            queued = queue.ledger("default").progress().waiting
            summary: dict[str, Any] = {}
            began, answers = time.perf_counter(), 0
            with http.stream("POST", "/v1/war-rooms/bulk?batch=bulk", content=body) as answer:
                for line in answer.iter_lines():
                    answers += '"line"' in line[:10]
                    summary = json.loads(line)["summary"] if line.startswith('{"summary"') else summary
            took_s = time.perf_counter() - began
    progress = queue.ledger("default").batch("bulk")
    messages = sum(queue.store.length(queue_name("default", lane)) for lane in Lane)
    return {
        "lines": count,
        "queued_before_the_repeat": queued,
        "answers": answers,
        "queued_by_the_repeat": summary["queued"],
        "already_queued": summary["already_queued"],
        "jobs_in_the_batch": progress.total if progress else 0,
        "messages": messages,
        "lost_or_doubled": abs(count - (progress.total if progress else 0)) + abs(count - messages),
        "lines_per_s": round(count / took_s),
        "web_mb_before": round(before / 1e6, 1),
        "web_grew_mb": round((peak[0] - before) / 1e6, 1),
    }


def away(port: int, valkey: Valkey, queue: JobQueue) -> dict[str, Any]:
    """How long the webhook takes to answer while Redis is frozen, and whether it records the events afterwards."""
    times, statuses = [], set[int]()
    headers = {"X-Warrooms-Secret": TOKEN}
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=30, trust_env=False) as http:
        valkey.freeze()
        for number in range(EVENTS):
            incident = {"incident_id": f"{1 << 90 | number:024x}"}
            began = time.perf_counter()
            event = {"event_id": str(number), "event_type": "i_assign", "incident": incident}
            statuses.add(http.post("/webhooks/flashduty", json=event).status_code)
            times.append(time.perf_counter() - began)
        valkey.thaw()
    ledger = queue.ledger("default")
    until(lambda: ledger.progress().queued_urgent == EVENTS, "the events that were held")
    return {"events": EVENTS, "worst_s": round(max(times), 2), "statuses": sorted(statuses), "recorded_late": EVENTS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--lines", type=int, default=100_000)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        Valkey(Path(name) / "valkey", appendonly="yes", appendfsync="everysec") as valkey,
    ):
        folder = Path(name)
        env = {
            **os.environ,
            "REDIS_URL": valkey.url,
            "FLASHDUTY_INTEGRATION_ID": str(INTEGRATION_ID),
            "WARROOMS_API_TOKENS": f"bench:{TOKEN}",
            "WARROOMS_WEBHOOK_SECRET": TOKEN,
            "WARROOMS_LOG_FORMAT": "json",
        }
        log = folder / "web.log"
        web = spawn("web", [str(Path(sys.executable).with_name("warrooms")), "web", "--port", "0"], log, env)
        queue = JobQueue(Settings(redis_url=valkey.url, integration_id=INTEGRATION_ID))
        try:
            until(lambda: "startup complete" in log.read_text(), "the web process", web)
            port = int(json.loads(log.read_text().splitlines()[0])["url"].rsplit(":", 1)[1])
            at_rate(port, RATE_PER_S, 3)  # warm
            report(what="latency", **at_rate(port, RATE_PER_S, options.seconds))
            report(what="most", **most(port, options.seconds, folder))
            time.sleep(1)  # what wrk had asked for when it ended is still being queued
            queue.store.client.flushdb()
            report(what="bulk", **bulk(port, psutil.Process(web.popen.pid), queue, options.lines))
            report(what="webhook while Redis is frozen", **away(port, valkey, queue))
        finally:
            web.stop()
            queue.close()


if __name__ == "__main__":
    main()
