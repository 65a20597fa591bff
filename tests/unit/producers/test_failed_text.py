from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from producers.cli.cancelled import Cancelled, Named, batch_lines, named_line
from producers.cli.cancelling import foreseen
from producers.cli.failed_text import Sum, list_line, reason, show_lines, sum_lines
from producers.cli.limits import what_it_was, what_next
from producers.halts import Halt
from tests.records import DOWN, ID, NOW_S, UNAUTHORIZED, dead, record
from worker.jobs import JobState, WarRoom

if TYPE_CHECKING:
    from worker.records import Record

JOB_ID = f"default.{ID}.7"


def summed(*records: Record) -> Sum:
    found = Sum()
    for one in records:
        found.add(one)
    return found


def test_a_dead_letter_is_one_line_of_when_which_code_attempts_and_reason() -> None:
    words = list_line(dead("InvalidParameter", message="InvalidParameter (HTTP 400): closed", status=400)).split()
    assert words[2:] == [JOB_ID, "InvalidParameter", "6", "attempts", "closed"]
    assert list_line(dead("", message="")).endswith("  none              6 attempts   no reason is known")


def test_a_reason_does_not_repeat_the_code_that_stands_beside_it() -> None:
    assert reason(dead(message="Timeout: no answer (after 6 attempts)")) == "no answer (after 6 attempts)"
    assert reason(dead(message="Timeout (HTTP 504): no answer", status=504)) == "no answer"


def test_the_sum_says_how_many_of_each_code_what_to_do_and_the_command() -> None:
    closed = dead("InvalidParameter", hint="open it again")
    assert sum_lines(summed(closed, dead(look_first=True), closed), None) == [
        "3 dead letters",
        "      2 InvalidParameter  open it again",
        "      1 Timeout           the API or the way to it was not well: wait until it is",
        "1 of them may have opened a room: a replay looks before it opens one",
        "when the cause is mended: warrooms failed replay --code InvalidParameter",
    ]
    assert summed().text() == "no dead letter"
    assert sum_lines(summed(), None) == []


def test_a_code_that_the_api_made_up_cannot_become_a_command() -> None:
    (*_, command) = sum_lines(summed(dead("x; rm -rf /")), "eu")
    assert command.endswith("warrooms failed replay --code 'x; rm -rf /' --account eu")


def test_show_says_everything() -> None:
    one = dead(
        "NotJson",
        message="NotJson (HTTP 502): the answer is not the API's JSON",
        status=502,
        look_first=True,
        request_id="req-1",
        first_failed_at=NOW_S - 3600,
        batches=("a", "b"),
    )
    text = "\n".join(show_lines(one, NOW_S))
    for part in (
        f"{JOB_ID}: a dead letter\n  reason   the answer is not the API's JSON\n",
        "code     NotJson, HTTP 502\n",
        "attempts 6\n",
        "outcome  unknown: a room may be there already; a replay looks before it opens one\n",
        "request  req-1\n",
        "(1 h ago)",
        "(1 min ago)",
        "lane     urgent\n",
        "batches  a, b\n",
        f"to do    see to the cause; then queue it again: warrooms failed replay {JOB_ID}\n",
        f"give it up: warrooms failed drop {JOB_ID}",
    ):
        assert part in text


# --- cancel -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "now", "text"),
    [
        (record(), JobState.CANCELLED, "cancelled (it was queued)"),
        (record(JobState.OPENING), JobState.CANCELLED, "cancelled (it was in a worker's hands)"),
        (
            record(JobState.RETRYING, look_first=True),
            JobState.CANCELLED,
            "cancelled (it was retrying); unknown: a room may be there already; look for it in your IM",
        ),
        (record(JobState.OPENING, began_at=1.0), JobState.OPENING, "is being opened: it cannot be taken back"),
        (record(JobState.OPENED, room=WarRoom(chat_id="oc_1")), JobState.OPENED, "too late, opened: room oc_1"),
        (record(), JobState.FOUND, "too late, found: its room is there"),
        (dead(), JobState.FAILED, f"give it up with: warrooms failed drop {JOB_ID}"),
        (record(JobState.CANCELLED), JobState.CANCELLED, "was cancelled before"),
    ],
)
def test_each_job_that_was_named_gets_its_own_answer(before: Record, now: JobState, text: str) -> None:
    assert text in named_line(Named(before, now), dry_run=False)


def test_only_a_room_is_too_late() -> None:
    late = {state for state in JobState if Named(record(), state).too_late}
    assert late == {JobState.OPENING, JobState.OPENED, JobState.FOUND}


def test_a_dry_run_foresees_what_a_cancel_would_leave() -> None:
    assert foreseen(record(JobState.OPENING)) is JobState.CANCELLED
    assert foreseen(record(JobState.OPENING, began_at=1.0)) is JobState.OPENING
    assert foreseen(record(JobState.RETRYING)) is JobState.CANCELLED
    assert foreseen(dead()) is JobState.FAILED


def test_a_batch_is_summed_up() -> None:
    done = Cancelled("b")
    done.finished.update({JobState.OPENED: 120, JobState.FAILED: 0})
    called = record(JobState.OPENING, began_at=1.0)
    for before, now in (
        (record(), None),
        (record(batches=("b",)), JobState.CANCELLED),
        (record(JobState.RETRYING, batches=("b", "c"), look_first=True), JobState.CANCELLED),
        (called, JobState.OPENING),
        (called, JobState.OPENING),
    ):
        done.add(before, now)
    assert batch_lines(done, dry_run=False) == [
        "batch b: cancelled 2 jobs (1 queued, 1 retrying)",
        "1 call to open a room under way: it cannot be taken back and will be finished",
        "finished before: 120 opened",
        "1 of the cancelled may have their room already: a call of theirs has no answer",
        "1 of the cancelled belonged to other batches too",
    ]
    assert batch_lines(done, dry_run=True)[0].startswith("batch b: dry run: would cancel 2 jobs")
    assert done.as_json(dry_run=False)["cancelled_from"] == {"queued": 1, "retrying": 1}


def test_a_job_that_was_being_called_and_is_cancelled_in_the_next_pass_counts_once() -> None:
    done = Cancelled("b")
    done.add(record(JobState.OPENING, began_at=1.0), JobState.OPENING)
    done.add(record(JobState.RETRYING), JobState.CANCELLED)
    assert (done.total, done.opening) == (1, set())


def test_a_batch_of_which_nothing_waits_has_nothing_to_cancel() -> None:
    assert batch_lines(Cancelled("b"), dry_run=False) == ["batch b: no job of it waits, nothing to cancel"]
    assert batch_lines(Cancelled("b", interrupted=True), dry_run=False) == [
        "batch b: 0 jobs known to be cancelled so far"
    ]


# --- resume -------------------------------------------------------------------------------------------------------


def test_resuming_says_what_it_was_and_what_comes() -> None:
    suspended, down = Halt("default", UNAUTHORIZED, 37.0), Halt("eu", DOWN, 0.0)
    assert what_it_was(suspended) == "it was suspended: Unauthorized (HTTP 401): the app key is not valid"
    assert what_it_was(down) == "it was down: Timeout: no complete answer"
    assert what_next(suspended, 2)[0].startswith("2 jobs that waited go on now; if the API still refuses it")
    assert what_next(down, 0)[0].startswith("no job waits for it; if the API is still down")


def test_an_outage_asks_for_nothing_and_a_suspension_for_its_cause() -> None:
    assert Halt("eu", DOWN, 3.0).to_do().startswith("nothing: jobs wait and lose no attempts")
    assert (
        Halt("eu", replace(DOWN, hint="check the proxy"), 3.0).to_do().startswith("check the proxy; otherwise nothing")
    )
    assert Halt("eu", UNAUTHORIZED, 3.0).to_do().endswith("or at once with: warrooms limit resume --account eu")
    assert Halt("eu", replace(UNAUTHORIZED, hint=""), 3.0).to_do().startswith("see to the cause; it resumes by itself")


def test_a_probe_needs_a_job() -> None:
    rows = dict(Halt("eu", DOWN, 3.0).rows(NOW_S, 0))
    assert rows["since"].endswith("no probe yet; the next job that is queued is the probe")
    assert dict(Halt("eu", DOWN, 3.0).rows(NOW_S, 1))["since"].endswith("next probe in 3 s")
