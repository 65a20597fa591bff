"""`warrooms up` runs the Procfile with a Valkey of its own; what is queued survives its end."""

from __future__ import annotations

import re
import signal
import socket
from contextlib import closing
from typing import TYPE_CHECKING, Final

import httpx
import pytest

from producers.queue import JobQueue
from sandbox.processes import free_port
from sandbox.stack import APP_KEY, INTEGRATION_ID, ROOT, until
from worker.jobs import JobState
from worker.settings import Settings

from .house import CREATE
from .marked import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from .house import House

RATES: Final = "600/minute"
CODE: Final = "import sys; from producers.up import run; sys.exit(run())"
WORKER: Final = "worker: celery -A worker worker --loglevel INFO --without-mingle --without-gossip\n"


UNREAD: Final = f"""
import subprocess, sys
with subprocess.Popen([sys.executable, "-c", {CODE!r}], stdout=subprocess.PIPE) as up:
    while b"worker.1 started" not in up.stdout.readline():
        pass
    up.stdout.close()
    sys.exit(up.wait())
"""
"""Like `warrooms up | head`: it reads up to the first start, and goes."""


def _up(
    house: House, folder: Path, procfile: str = WORKER, code: str = CODE, more: Mapping[str, str] | None = None
) -> Program:
    (folder / "Procfile").write_text(procfile)
    env = {
        "FLASHDUTY_APP_KEY": APP_KEY,
        "FLASHDUTY_BASE_URL": house.stack.api_url,
        "FLASHDUTY_INTEGRATION_ID": str(INTEGRATION_ID),
        "WARROOMS_RATES": RATES,
        **(more or {}),
    }
    return Program(code, folder, env)


def _url(up: Program) -> str:
    up.says("export FLASHDUTY_INTEGRATION_ID=")
    found = re.search(r"export REDIS_URL=(\S+)", up.output())
    assert found is not None
    return found[1]


def _queue(up: Program) -> JobQueue:
    return JobQueue(Settings(redis_url=_url(up), rates=RATES, integration_id=INTEGRATION_ID))


@pytest.fixture
def slowly() -> Iterator[Callable[[House], None]]:
    """Makes the API take its time, for one test."""
    slowed: list[House] = []

    def slow(house: House) -> None:
        slowed.append(house)
        house.stack.control("limits", latency="constant:0.7")

    yield slow
    for house in slowed:
        house.stack.control("limits", latency="constant:0")


def test_what_is_queued_survives_a_restart_and_each_room_is_opened_once(
    house: House, tmp_path: Path, slowly: Callable[[House], None]
) -> None:
    jobs = house.jobs(12)
    slowly(house)  # so that calls are under way when it is stopped
    first = _up(house, tmp_path)
    try:
        queue = _queue(first)
        queue.enqueue_many(jobs)
        ledger = queue.ledger("default")
        until(lambda: ledger.progress().with_room >= 2, "two rooms", within_s=40)
        code = first.end(signal.SIGTERM)
        queue.close()
        assert code == 143, first.output()
        first.assert_nothing_left()
        assert "Traceback" not in first.output()
    finally:
        first.kill_all()
    assert 2 <= len(house.rooms()) < 12
    second = _up(house, tmp_path)
    try:
        queue = _queue(second)
        ledger = queue.ledger("default")
        assert ledger.progress().total == 12
        until(lambda: ledger.progress().states[JobState.OPENED] == 12, "all rooms", within_s=40)
        queue.close()
        assert second.end(signal.SIGINT) == 130, second.output()
        second.assert_nothing_left()
        assert "Traceback" not in second.output()
    finally:
        second.kill_all()
    assert house.calls()[CREATE] == 12, "every call's end was written down, none was repeated"
    assert sorted(room["incident_id"] for room in house.rooms()) == sorted(job.incident_id for job in jobs)


EARLY: Final = (
    ("Embedded Valkey", signal.SIGTERM),
    ("Embedded Valkey", signal.SIGINT),
    ("Embedded Valkey", signal.SIGHUP),
    ("worker.1", signal.SIGINT),
    ("worker.1", signal.SIGHUP),
)


def test_stopped_early_it_leaves_no_process(house: House, tmp_path: Path, subtests: pytest.Subtests) -> None:
    ups = []
    for number, (moment, how) in enumerate(EARLY):
        folder = tmp_path / str(number)
        folder.mkdir()
        ups.append((_up(house, folder), moment, how))
    for up, moment, how in ups:
        with subtests.test(f"{how.name} at {moment}"):
            try:
                up.says(moment)
                assert up.end(how) != 0
                up.assert_nothing_left()
            finally:
                up.kill_all()


def test_when_nobody_reads_its_output_any_more_it_stops_everything(house: House, tmp_path: Path) -> None:
    up = _up(house, tmp_path, code=UNREAD)
    try:
        assert up.end() == 143
        up.assert_nothing_left()
    finally:
        up.kill_all()


def test_a_second_one_in_the_same_folder_is_refused_and_names_the_first(house: House, tmp_path: Path) -> None:
    first = _up(house, tmp_path)
    try:
        url = _url(first)
        second = Program(CODE, tmp_path / "second", {"FLASHDUTY_APP_KEY": APP_KEY}, cwd=tmp_path)
        assert second.end() != 0
        assert f"runs in {tmp_path / '.warrooms'} already (process {first.popen.pid}); stop it first" in second.output()
        second.assert_nothing_left()
        with closing(JobQueue(Settings(redis_url=url))) as queue:
            queue.store.ping()
    finally:
        first.end(signal.SIGTERM)
        first.kill_all()


def test_one_that_is_killed_takes_everything_along_and_the_next_has_the_same_port(house: House, tmp_path: Path) -> None:
    first = _up(house, tmp_path)
    try:
        first.says("worker.1")
        url = _url(first)
        assert len(first.alive()) >= 4, "itself, Valkey, a watcher, the worker"
        assert first.end(signal.SIGKILL) == -9
        second = _up(house, tmp_path)  # at once: it waits for what the first one left
        try:
            assert _url(second) == url
            until(lambda: first.alive() == [], "the end of what it left")
            assert second.end(signal.SIGTERM) == 143
            second.assert_nothing_left()
        finally:
            second.kill_all()
    finally:
        first.kill_all()


def test_a_taken_port_of_flower_costs_nothing_but_flower(house: House, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        flower = f"flower: exec celery -A worker flower --address=127.0.0.1 --port={port} --read-only\n"
        up = _up(house, tmp_path, WORKER + flower)
        try:
            up.says(f"Port {port} is taken, perhaps by another Flower: going on without flower.\n")
            up.says("worker.1")
            assert up.end(signal.SIGTERM) == 143
            assert "Traceback" not in up.output()
            up.assert_nothing_left()
        finally:
            up.kill_all()


def test_a_taken_port_of_the_http_api_is_said_before_anything_starts(house: House, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up = _up(
            house,
            tmp_path,
            f"{WORKER}web: exec warrooms web --port {port}\n",
            more={"WARROOMS_API_TOKENS": "ops:0123456789abcdef"},
        )
        try:
            assert up.end() != 0
            said = f"port {port} is taken; give web another: warrooms up --port N (or in Procfile)"
            assert said in up.output()
            assert "worker.1" not in up.output()
            up.assert_nothing_left()
        finally:
            up.kill_all()


def test_the_procfiles_own_flower_starts_with_a_password_that_is_not_printed(house: House, tmp_path: Path) -> None:
    (line,) = [one for one in (ROOT / "Procfile").read_text().splitlines() if one.startswith("flower:")]
    port = free_port()
    up = _up(house, tmp_path, f"{WORKER}{line} --port={port}\n")
    file = tmp_path / ".warrooms" / "flower-password"
    try:
        up.says("log in as 'warrooms'; the password is in .warrooms/flower-password")
        password = file.read_text().strip()
        tasks = f"http://127.0.0.1:{port}/tasks"
        assert httpx.get(tasks, trust_env=False).status_code == 401
        assert httpx.get(tasks, trust_env=False, auth=("warrooms", password)).status_code == 200
        assert up.end(signal.SIGTERM) == 143
        assert password not in up.output()
        assert "Traceback" not in up.output()
        up.assert_nothing_left()
    finally:
        up.kill_all()


def test_a_flower_that_ends_stops_nothing(house: House, tmp_path: Path) -> None:
    up = _up(house, tmp_path, WORKER + "flower: celery -A worker flower --port=1 --help > /dev/null; exit 1\n")
    try:
        up.says("flower.1 stopped (rc=1)")
        with closing(_queue(up)) as queue:
            until(lambda: bool(queue.ledger("default").workers()), "the worker")
        assert up.end(signal.SIGTERM) == 143
    finally:
        up.kill_all()


def test_without_a_procfile_or_a_key_it_says_so(house: House, tmp_path: Path) -> None:
    programs = []
    for name, missing, sentence in (
        ("procfile", "Procfile", "cannot read"),
        ("key", "FLASHDUTY_APP_KEY", "no app key for account 'default'"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        up = Program(CODE, folder, {} if missing == "FLASHDUTY_APP_KEY" else {"FLASHDUTY_APP_KEY": APP_KEY})
        programs.append((up, sentence))
    for up, sentence in programs:
        assert up.end() != 0
        assert sentence in up.output()
        up.assert_nothing_left()
    assert house.rooms() == []
