"""Reading long places of the ledger while workers and people take jobs away from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from worker.errors import OutcomeUnknown, RequestRefused
from worker.jobs import JobState, WarRoomJob
from worker.ledger import PAGE, Ledger
from worker.records import Claim

if TYPE_CHECKING:
    from worker.redis_store import RedisStore

JOBS = [WarRoomJob(incident_id=f"{number:024x}", integration_id=7) for number in range(2 * PAGE + 50)]
REFUSED = RequestRefused("no", code="InvalidParameter")


class Clock:
    def __init__(self) -> None:
        self.now_ms = 1_790_000_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(store: RedisStore, clock: Clock) -> Ledger:
    made = Ledger(store, "default", clock=clock)
    made.enqueue(JOBS)
    return made


def claim(ledger: Ledger, job: WarRoomJob) -> Claim:
    claimed = ledger.claim(job, "w1")
    assert isinstance(claimed, Claim)
    return claimed


def all_fail(ledger: Ledger, clock: Clock, *, step_ms: int) -> None:
    for job in JOBS:
        assert ledger.failed(claim(ledger, job), REFUSED, "no")
        clock.now_ms += step_ms


def test_jobs_that_are_cancelled_as_they_come_hide_no_others(ledger: Ledger) -> None:
    met = [record.job.id for record in ledger.unfinished() if ledger.cancel([record.job.id])]
    assert met == [job.id for job in JOBS]


@pytest.mark.parametrize("step_ms", [0, 1])
@pytest.mark.parametrize("oldest_first", [False, True])
def test_every_dead_letter_comes_once(ledger: Ledger, clock: Clock, step_ms: int, *, oldest_first: bool) -> None:
    all_fail(ledger, clock, step_ms=step_ms)
    met = [record.job.id for record in ledger.dead_letters(oldest_first=oldest_first)]
    assert met == [job.id for job in (JOBS if oldest_first else reversed(JOBS))]


def test_a_replayed_job_that_fails_at_once_does_not_come_again(ledger: Ledger, clock: Clock) -> None:
    all_fail(ledger, clock, step_ms=1)
    met = []
    for record in ledger.dead_letters(oldest_first=True):
        met.append(record.job.id)
        assert ledger.replay([record.job]) == [True]
        assert ledger.failed(claim(ledger, record.job), REFUSED, "no")
        clock.now_ms += 1
    assert met == [job.id for job in JOBS]


def test_nothing_failed_is_an_empty_walk(ledger: Ledger) -> None:
    assert list(ledger.dead_letters()) == list(ledger.dead_letters(oldest_first=True)) == []


def test_a_record_tells_a_call_under_way_and_an_unknown_outcome(ledger: Ledger) -> None:
    held = claim(ledger, JOBS[0])
    waits = ledger.record(JOBS[0].id)
    assert waits is not None
    assert (waits.state, waits.worker, waits.began_at, waits.look_first) == (JobState.OPENING, "w1", None, False)
    ledger.begin(held, sent=True)
    calls = ledger.record(JOBS[0].id)
    assert calls is not None
    assert (calls.began_at is not None, calls.attempts) == (True, 1)
    ledger.failed(held, OutcomeUnknown("no answer", code="Timeout"), "no answer")
    ended = ledger.record(JOBS[0].id)
    assert ended is not None
    assert (ended.began_at, ended.worker, ended.look_first) == (None, "", True)


@pytest.mark.parametrize("back", [0, 1, PAGE + 7, len(JOBS) - 1])
def test_dead_letters_go_on_from_a_moment_back(ledger: Ledger, clock: Clock, back: int) -> None:
    all_fail(ledger, clock, step_ms=1)
    last_ms = clock.now_ms - 1
    met = [record.job.id for record in ledger.dead_letters(until_ms=last_ms - back)]
    assert met == [job.id for job in reversed(JOBS)][back:]
