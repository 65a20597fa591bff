"""`warrooms cancel` in a process of its own, against a real Valkey; the ledger plays the worker."""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from sandbox.stack import until
from tests.commands import WARROOMS, calls, claim, fails, job, one_object, opens, queue
from worker.errors import OutcomeUnknown
from worker.jobs import JobState, WarRoom, WarRoomJob
from worker.records import Claim

if TYPE_CHECKING:
    from tests.commands import Run
    from worker.ledger import Ledger

TIMEOUT = OutcomeUnknown("no complete answer", code="Timeout")


@pytest.fixture
def mixed(run: Run, ledger: Ledger) -> Ledger:
    """1 is open, 2 failed, 3 is being called, 4 in a worker's hands, 5 retries, 6 to 600 wait; 600 is in b and c."""
    assert callable(run)
    queue(ledger, "b", range(1, 601))
    opens(ledger, job(1))
    fails(ledger, job(2))
    calls(ledger, job(3))
    claim(ledger, job(4))
    assert ledger.retry(calls(ledger, job(5)), TIMEOUT, 60.0, look_first=True)
    queue(ledger, "c", (600, 601))
    return ledger


def test_a_batch_is_cancelled_but_for_what_is_called_or_ended(run: Run, mixed: Ledger) -> None:
    foreseen = run("cancel", "--batch", "b", "--dry-run")
    done = run("cancel", "--batch", "b")
    assert (foreseen.returncode, done.returncode) == (0, 0)
    assert done.stdout.splitlines() == [
        "batch b: cancelled 597 jobs (595 queued, 1 in a worker's hands, 1 retrying)",
        "1 call to open a room under way: it cannot be taken back and will be finished",
        "finished before: 1 opened, 1 failed",
        "1 of the cancelled may have their room already: a call of theirs has no answer",
        "1 of the cancelled belonged to other batches too",
    ]
    assert foreseen.stdout.splitlines()[1:] == done.stdout.splitlines()[1:]
    batch, other = mixed.batch("b"), mixed.batch("c")
    assert batch is not None
    assert other is not None
    assert {state.value: n for state, n in batch.states.items() if n} == {
        "opened": 1,
        "failed": 1,
        "opening": 1,
        "cancelled": 597,
    }
    assert other.states[JobState.QUEUED] == 1
    again = run("cancel", "--batch", "b")
    assert again.returncode == 0
    assert again.stdout.startswith("batch b: no job of it waits, nothing to cancel\n")


def test_a_batch_for_machines(run: Run, mixed: Ledger) -> None:
    assert mixed.progress().waiting
    value = one_object(run("cancel", "--batch", "b", "--json"))
    assert value.pop("at")
    assert value == {
        "batch": "b",
        "dry_run": False,
        "cancelled": 597,
        "cancelled_from": {"queued": 595, "opening": 1, "retrying": 1},
        "opening": 1,
        "finished_before": {"opened": 1, "failed": 1},
        "in_other_batches_too": 1,
        "outcome_unknown": 1,
        "error": None,
    }


def test_each_job_that_is_named_gets_an_answer_and_a_room_is_too_late(run: Run, mixed: Ledger) -> None:
    done = run("cancel", job(1), job(2), job(3), job(4), job(5), job(6), job(6))
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"{job(1)}: too late, opened: https://im.example/1",
        f"{job(2)}: waits for nothing, it failed; give it up with: warrooms failed drop {job(2)}",
        f"{job(3)}: is being opened: it cannot be taken back and will be finished",
        f"{job(4)}: cancelled (it was in a worker's hands)",
        f"{job(5)}: cancelled (it was retrying); unknown: a room may be there already; look for it in your IM",
        f"{job(6)}: cancelled (it was queued)",
    ]
    fine = run("cancel", job(7).split(".")[1], "--json")
    assert fine.returncode == 0
    assert one_object(fine)["jobs"] == [
        {
            "job_id": job(7),
            "cancelled": True,
            "state": "cancelled",
            "state_before": "queued",
            "outcome_unknown": False,
        }
    ]
    assert mixed.progress().states[JobState.CANCELLED] == 4
    assert run("cancel", job(7)).stdout == f"{job(7)}: was cancelled before\n"


def test_a_dry_run_of_named_jobs_changes_nothing(run: Run, mixed: Ledger) -> None:
    done = run("cancel", job(4), job(6), "--dry-run")
    assert done.returncode == 0
    assert done.stdout.count("would be cancelled") == 2
    assert mixed.progress().states[JobState.CANCELLED] == 0


def test_unknown_jobs_are_named_and_the_others_cancelled(run: Run, mixed: Ledger) -> None:
    done = run("cancel", job(6), job(999), "b")
    assert done.returncode == 2
    assert done.stdout == f"{job(6)}: cancelled (it was queued)\n"
    assert f"there is no job {job(999)}" in done.stderr
    assert "'b' is a batch: give --batch b" in done.stderr
    assert mixed.progress().states[JobState.CANCELLED] == 1


def test_a_cancelled_job_can_be_queued_again(run: Run, mixed: Ledger) -> None:
    run("cancel", job(6))
    assert run("open", job(6).split(".")[1]).stdout.startswith("queued (urgent)")
    record = mixed.record(job(6))
    assert record is not None
    assert record.state is JobState.QUEUED


@pytest.mark.parametrize(
    ("args", "changes", "code", "sentence"),
    [
        (["cancel"], {}, 2, "say what to cancel: job ids, or --batch NAME"),
        (["cancel", job(6), "--batch", "b"], {}, 2, "give jobs or --batch, not both"),
        (["cancel", "--batch", "bb"], {}, 2, "known ones: b"),
        (["cancel", "--batch", "a b"], {}, 2, "--batch must be 1 to 100 letters"),
        (["cancel", job(6), "--account", "x"], {}, 2, "known accounts: default"),
        (["cancel", "--batch", "b"], {"REDIS_URL": "redis://127.0.0.1:1/0"}, 3, "cannot reach Redis"),
    ],
)
def test_misuse_is_said_in_one_sentence(
    run: Run, env: dict[str, str], mixed: Ledger, args: list[str], changes: dict[str, str], code: int, sentence: str
) -> None:
    done = run(*args, env=env | changes)
    assert (done.returncode, done.stdout) == (code, "")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert mixed.progress().states[JobState.CANCELLED] == 0


def test_ctrl_c_stops_between_two_chunks_and_says_how_far_it_came(
    run: Run, ledger: Ledger, env: dict[str, str]
) -> None:
    assert callable(run)
    queue(ledger, "b", range(1, 30_001))
    pipe = subprocess.PIPE
    with subprocess.Popen([WARROOMS, "cancel", "--batch", "b"], stdout=pipe, stderr=pipe, env=env, text=True) as going:
        until(lambda: ledger.progress().states[JobState.CANCELLED] > 0, "the first chunk")
        going.send_signal(signal.SIGINT)
        out, err = going.communicate(timeout=20)
    cancelled = ledger.progress().states[JobState.CANCELLED]
    assert going.returncode == 130
    assert 0 < cancelled < 30_000
    assert " known to be cancelled so far\n" in out
    assert err.startswith("warrooms: stopped: ")
    assert run("cancel", "--batch", "b").returncode == 0
    assert ledger.progress().waiting == 0


def test_jobs_that_workers_take_while_a_batch_is_cancelled_hide_no_others(
    run: Run, ledger: Ledger, env: dict[str, str]
) -> None:
    assert callable(run)
    queue(ledger, "b", range(1, 10_001))
    taken = 0
    with subprocess.Popen([WARROOMS, "cancel", "--batch", "b", "--json"], stdout=subprocess.PIPE, env=env) as going:
        while going.poll() is None and taken < 10_000:
            taken += 1
            claimed = ledger.claim(WarRoomJob(incident_id=f"{taken:024x}", integration_id=7), "test")
            if isinstance(claimed, Claim) and ledger.begin(claimed, sent=True):
                assert ledger.has_room(claimed, JobState.OPENED, WarRoom(chat_id="oc_1"), "req-1")
    assert going.returncode == 0
    progress = ledger.progress()
    assert progress.states[JobState.OPENED] > 0
    assert progress.states[JobState.OPENED] + progress.states[JobState.CANCELLED] == 10_000
