"""`warrooms explain`: the real command, the ledger plays producers and workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.commands import JOB, calls, claim, ids, job, one_object, queue

if TYPE_CHECKING:
    from tests.commands import Run
    from worker.ledger import Ledger


def test_a_job_in_line_is_told_its_place_and_its_time(run: Run, ledger: Ledger) -> None:
    queue(ledger, "b", range(1, 101))
    ledger.beat("w1@here#1")
    done = run("explain", job(100).split(".")[1])
    assert done.returncode == 0
    first, line, starts, room = done.stdout.splitlines()
    assert first == job(100)
    assert line == "  it waits for its turn in the bulk lane: 99 jobs in front; batches take turns in it"
    assert starts.startswith("  the account may make 992 calls a minute: its own is expected ")
    assert room.endswith("an attempt takes about 1 s")
    value = one_object(run("explain", job(100), "--json"))
    assert (value["state"], value["in_front"], value["workers_alive"], value["halted"]) == ("queued", 99, 1, None)
    assert value["starts_at"] < value["done_by"]


def test_no_worker_no_promise(run: Run, ledger: Ledger) -> None:
    queue(ledger, "b", [1])
    text = run("explain", job(1)).stdout
    assert "no worker serves its account: NONE ALIVE, and 1 job waits" in text
    assert "expected" not in text


def test_a_job_in_hand(run: Run, ledger: Ledger) -> None:
    queue(ledger, "b", [1, 2])
    claim(ledger, job(1), "w1@here#1")
    assert "w1@here#1 has it in hand and waits for a slot" in run("explain", job(1)).stdout
    calls(ledger, job(2))
    assert "is calling the API, attempt 1, since less than 1 s" in run("explain", job(2)).stdout


def test_an_unknown_job_is_bad_input(run: Run) -> None:
    assert run("bulk", "-", stdin=ids(1)).returncode == 0
    done = run("explain", JOB)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no job" in done.stderr
