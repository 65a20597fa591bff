"""`warrooms limit` on workers that run: all of them obey, say by whom, and lose nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.stack import until
from worker.jobs import JobState

from .house import House

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.jobs import WarRoomJob


@pytest.fixture(scope="module")
def three() -> Iterator[House]:
    with House(rates="1200/minute", api_rates="6000/minute") as house:
        house.start_workers(3)
        yield house


@pytest.fixture(autouse=True)
def _as_configured(three: House) -> Iterator[None]:
    yield
    limit(three, "set", "--configured")
    limit(three, "resume")


def warrooms(house: House, *args: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("warrooms")), *args]
    return subprocess.run(command, env=house.stack.env, capture_output=True, text=True, timeout=60, check=False)


def limit(house: House, *args: str) -> dict[str, Any]:
    """`warrooms limit …` and its answer about the account."""
    done = warrooms(house, "limit", *args, "--json")
    (account,) = json.loads(done.stdout)["accounts"]
    return dict(account)


def backlog(house: House, count: int) -> list[WarRoomJob]:
    """A line that takes a while, of which some jobs are done."""
    jobs = house.jobs(count)
    house.enqueue(*jobs)
    until(lambda: house.progress().with_room >= 10, "the first rooms")
    return jobs


def all_say(house: House, text: str, times: int = 1) -> None:
    """Waits until every worker's log has the text so often."""
    logs = [worker.log for worker in house.stack.workers]
    until(lambda: all(log.read_text(errors="replace").count(text) >= times for log in logs), text)


def test_a_pause_holds_for_every_worker_and_a_resume_wakes_them_all(three: House) -> None:
    three.fresh()
    jobs = backlog(three, 150)
    paused = limit(three, "pause")
    assert paused["paused"]["by"]
    assert (paused["paused"]["until"], paused["empty_in_s"]) == (None, None)
    all_say(three, "account default is paused, ordered by ")
    until(lambda: three.progress().states[JobState.OPENING] == 0, "the calls that were out")
    calls = three.stack.stats()["arrivals"]
    urgent = three.job()
    three.enqueue(urgent)
    assert "paused by " in warrooms(three, "explain", urgent.id).stdout
    assert "paused by " in warrooms(three, "status").stdout
    assert three.stack.stats()["arrivals"] == calls
    assert three.progress().states[JobState.QUEUED] > 0
    assert limit(three, "resume")["was_paused"] is True
    all_say(three, "account default is called again")
    three.finish(*jobs, urgent)
    three.assert_one_room_each(*jobs, urgent)
    three.assert_counters_balance(*jobs, urgent)


def test_rates_that_are_set_hold_for_every_worker_and_who_waits_wakes_when_they_end(three: House) -> None:
    three.fresh()
    three.hear()
    jobs = backlog(three, 150)
    set_ = limit(three, "set", "6/minute")
    assert (set_["rates"], set_["configured_rates"]) == ("6/60s", "1200/60s")
    all_say(three, "the limits of account default are 6/60s, ordered by ")
    assert limit(three, "show")["set"]["by"]
    assert limit(three, "what-if", "--rates", "1200/minute")["empty_in_s"] < set_["empty_in_s"]
    limit(three, "set", "--configured")
    all_say(three, "the limits of account default are 1200/60s, as configured")
    three.finish(*jobs)
    three.assert_one_room_each(*jobs)


def test_an_order_for_a_while_ends_by_itself(three: House) -> None:
    three.fresh()
    jobs = backlog(three, 60)
    limit(three, "pause", "--for", "2s")
    three.finish(*jobs)
    assert limit(three, "show")["paused"] is None
    assert not three.failed()


def test_what_went_out_is_told(three: House) -> None:
    three.fresh()
    jobs = three.jobs(40)
    three.open(*jobs)
    kept = limit(three, "show", "--history")["history"]
    assert kept["calls"] == three.stack.stats()["arrivals"]
    assert 1 <= kept["worst_second"]["calls"] <= kept["worst_minute"]["calls"] <= 40
    assert sum(kept["ten_seconds"]) == kept["calls"]


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["set", "2000/minute"], "could send more than 1200/60s"),
        (["set", "0/minute"], "allows no call"),
        (["set", "fast"], "is no list of rates"),
        (["set"], "give either RATES"),
        (["set", "1/second", "--configured"], "give either RATES"),
        (["set", "--configured", "--for", "1h"], "takes them back for good"),
        (["pause", "--for", "10"], "--for must be how long (45s, 10m, 1h30m), got '10'; did you mean 10m?"),
        (["pause", "--for", "0s"], "must be how long"),
        (["pause", "--account", "x"], "is not known"),
    ],
)
def test_a_wrong_order_is_refused_and_changes_nothing(three: House, args: list[str], sentence: str) -> None:
    done = warrooms(three, "limit", *args)
    assert (done.returncode, sentence in done.stderr) == (2, True), done.stderr
    shown = limit(three, "show")
    assert (shown["set"], shown["paused"]) == (None, None)


def test_rates_above_the_settings_must_be_meant(three: House) -> None:
    assert limit(three, "set", "2000/minute", "--above", "--for", "1h")["rates"] == "2000/60s"
