"""A worker's own /metrics: on loopback, beside other workers, and never in the worker's way."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

from worker.meters import Meters, new_registry
from worker.metrics_server import PORTS, MetricsServer
from worker.observed import Observed
from worker.settings import Address, Settings
from worker.telemetry import SILENT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

LOOPBACK = "127.0.0.1"


@contextmanager
def serving(port: int = 0) -> Iterator[MetricsServer]:
    registry = new_registry()
    Meters(registry).refused()
    server = MetricsServer(registry, Address(LOOPBACK, port), threading.Event())
    server.start()
    try:
        yield server
    finally:
        server.close()


def scrape(server: MetricsServer) -> str:
    answer = httpx.get(f"http://{LOOPBACK}:{server.port}/metrics", trust_env=False)
    assert answer.status_code == 200
    return answer.text


def test_it_answers_a_scrape_and_says_where(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), serving() as server:
        assert "warrooms_refused_messages_total 1.0" in scrape(server)
        assert f"metrics at http://127.0.0.1:{server.port}/metrics" in caplog.text


def test_two_workers_of_a_machine_take_two_ports() -> None:
    with serving() as first, serving(first.port or 0) as second:
        assert first.port is not None
        assert second.port in range(first.port + 1, first.port + PORTS)
        assert "warrooms_refused_messages_total" in scrape(second)


def test_an_address_that_is_none_of_ours_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    server = MetricsServer(new_registry(), Address("192.0.2.1", 0), threading.Event())
    server.start()
    assert server.port is None
    assert "no metrics at 192.0.2.1 port 0" in caplog.text
    server.close()


def test_no_port_left_is_a_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 65535))
        taken.listen()
        server = MetricsServer(new_registry(), Address(LOOPBACK, 65535), threading.Event())
        server.start()
    assert server.port is None
    assert "are taken" in caplog.text


def test_off_means_that_nothing_is_kept_or_served() -> None:
    settings = Settings(metrics_address=None)
    observed = Observed.of(settings)
    observed.serve(settings, threading.Event())
    assert observed.telemetry is SILENT
    assert observed.server is None


WORKER = """
import sys
from worker.meters import Meters, new_registry
meters = Meters(new_registry())
meters.refused()
meters.calling("acc")
print("counted", flush=True)
sys.stdin.read()
"""
SCRAPE = """
from prometheus_client.exposition import generate_latest
from worker.meters import new_registry, shown
print(generate_latest(shown(new_registry())).decode())
"""


@contextmanager
def counting(env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", WORKER], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "counted\n"
            yield process
        finally:
            process.kill()


def test_with_a_common_folder_one_scrape_has_all_processes_of_the_machine(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "when needed"
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}

    def scraped() -> str:
        return subprocess.run(
            [sys.executable, "-c", SCRAPE], env=env, capture_output=True, text=True, check=True
        ).stdout

    with counting(env), counting(env) as killed:
        both = scraped()
        assert "warrooms_refused_messages_total 2.0" in both
        assert 'warrooms_calls_in_flight{account="acc"} 2.0' in both
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        one = scraped()
    assert "warrooms_refused_messages_total 2.0" in one, "what it has counted stays"
    assert 'warrooms_calls_in_flight{account="acc"} 1.0' in one, "a killed worker has no call in flight"


def test_a_folder_that_cannot_be_made_costs_the_metrics_and_not_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "file" / "folder"))
    observed = Observed.of(Settings())
    assert observed.registry is None
    assert "no metrics: PROMETHEUS_MULTIPROC_DIR names no folder" in caplog.text
