"""`warrooms up` runs the Procfile with a Valkey of its own; what is queued survives its end."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, Final

import pytest

from producers.queue import JobQueue
from sandbox.stack import APP_KEY, INTEGRATION_ID, until
from worker.jobs import JobState
from worker.settings import Settings

from .house import CREATE
from .marked import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .house import House

RATES: Final = "600/minute"
CODE: Final = "import sys; from producers.up import run; sys.exit(run())"
WORKER: Final = "worker: celery -A worker worker --loglevel INFO --without-mingle --without-gossip\n"


def _up(house: House, folder: Path) -> Program:
    (folder / "Procfile").write_text(WORKER)
    env = {
        "FLASHDUTY_APP_KEY": APP_KEY,
        "FLASHDUTY_BASE_URL": house.stack.api_url,
        "FLASHDUTY_INTEGRATION_ID": str(INTEGRATION_ID),
        "WARROOMS_RATES": RATES,
    }
    return Program(CODE, folder, env)


def _queue(up: Program) -> JobQueue:
    up.says("export REDIS_URL=")
    found = re.search(r"export REDIS_URL=(\S+)", up.output())
    assert found is not None
    return JobQueue(Settings(redis_url=found[1], rates=RATES, integration_id=INTEGRATION_ID))


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
