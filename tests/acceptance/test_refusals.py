"""What the API refuses it refuses for good: no second call, and the dead letter says all that the API said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.errors import CODES
from sandbox.stack import until
from worker.errors import API_CODES, NextStep
from worker.health import Level
from worker.jobs import JobState

from .house import CREATE, DETAIL, LIST

if TYPE_CHECKING:
    import pytest

    from .house import House


def _step(code: str) -> NextStep | None:
    leaf = API_CODES[code].error
    return leaf.next_step if leaf else None


REFUSALS = [code for code in CODES if _step(code) is NextStep.GIVE_UP]
OF_THE_ACCOUNT = [code for code in CODES if _step(code) is NextStep.SUSPEND]


def test_a_documented_refusal_fails_at_once_with_what_the_api_said(house: House, subtests: pytest.Subtests) -> None:
    refused, other = {code: house.job() for code in REFUSALS}, house.job()
    for code, job in refused.items():
        house.fault("error", job, code=code)
    house.open(*refused.values(), other)
    log = house.log()
    for code, job in refused.items():
        with subtests.test(code):
            status, message = CODES[code]
            record = house.record(job)
            assert (record.state, record.attempts) == (JobState.FAILED, 1)
            assert (record.code, record.status) == (code, status)
            assert record.message.startswith(f"{code} (HTTP {status}): {message}")
            assert record.hint == API_CODES[code].hint
            assert record.request_id.startswith("01SANDBX")
            assert record.room is None
            assert f'"request_id": "{record.request_id}"' in log
    assert house.calls() == {CREATE: len(refused) + 1}, "no second call"
    assert sorted(house.failed()) == sorted(job.id for job in refused.values())
    house.assert_one_room_each(other)
    house.assert_counters_balance(*refused.values(), other)


def test_what_is_refused_to_the_account_suspends_it_and_loses_no_job(house: House, subtests: pytest.Subtests) -> None:
    bucket = house.queue.bucket("default")
    for code in OF_THE_ACCOUNT:
        with subtests.test(code):
            house.fresh()
            jobs = house.jobs(5)
            house.fault("error", code=code)
            house.enqueue(*jobs)
            until(lambda: bucket.trouble() is not None, "the suspension")
            until(lambda: house.progress().states[JobState.QUEUED] == 5, "all jobs in line")  # none in a worker's hands
            trouble = bucket.trouble()
            assert trouble is not None
            assert (trouble.level, trouble.code, trouble.hint) == (Level.SUSPENDED, code, API_CODES[code].hint)
            assert trouble.request_id.startswith("01SANDBX")
            assert {house.record(job).attempts for job in jobs} == {0}
            house.heal()
            house.probe_now()
            house.finish(*jobs)
            assert bucket.trouble() is None
            assert house.failed() == []
            house.assert_one_room_each(*jobs)
            house.assert_counters_balance(*jobs)


def test_a_403_alone_is_the_jobs_own_and_fails_after_three_attempts(house: House) -> None:
    job, other = house.job(), house.job()
    house.fault("error", job, code="AccessDenied")
    record, _ = house.open(job, other)
    assert (record.state, record.attempts, record.code) == (JobState.FAILED, 3, "AccessDenied")
    house.assert_one_room_each(other)
    house.assert_counters_balance(job, other)


def test_a_run_of_403s_suspends_the_account(house: House) -> None:
    jobs = house.jobs(8)
    house.fault("error", code="AccessDenied")
    house.enqueue(*jobs)
    bucket = house.queue.bucket("default")
    until(lambda: bucket.trouble() is not None, "the suspension")
    house.heal()
    house.probe_now()
    house.finish(*jobs)
    assert house.failed() == []
    house.assert_one_room_each(*jobs)
    house.assert_counters_balance(*jobs)


def test_a_refused_job_can_be_queued_again(house: House) -> None:
    job = house.job()
    house.fault("error", job, code="InvalidParameter", calls=1)
    (record,) = house.open(job)
    assert record.state is JobState.FAILED
    (record,) = house.open(job)
    assert (record.state, record.attempts, record.code) == (JobState.OPENED, 1, "")
    assert house.failed() == []
    house.assert_one_room_each(job)
    house.assert_counters_balance(job)


def test_success_without_a_room_is_never_taken_for_one(house: House) -> None:
    job = house.job()
    house.fault("empty-data", job, endpoints=CREATE)
    (record,) = house.open(job)
    assert (record.state, record.attempts, record.code) == (JobState.FAILED, 1, "RoomGone")
    assert "deleted in the IM" in record.hint
    assert record.request_id.startswith("01SANDBX")
    assert house.calls() == {CREATE: 1, LIST: 1}, "looked once"
    assert house.rooms(job) == []
    house.assert_counters_balance(job)


def test_success_without_a_room_where_one_lives_is_found(house: House) -> None:
    job = house.job()
    house.fault("empty-data", job, endpoints=CREATE, when="after")
    (record,) = house.open(job)
    assert (record.state, record.attempts) == (JobState.FOUND, 1)
    assert house.calls() == {CREATE: 1, LIST: 1, DETAIL: 1}
    house.assert_one_room_each(job)
    house.assert_counters_balance(job)


def test_a_listed_room_whose_group_is_gone_is_no_room(house: House) -> None:
    job = house.job()
    house.fault("cut", job, when="after", calls=1)
    house.fault("cut", job, endpoints=LIST, calls=1)  # a moment in which the group is lost
    house.enqueue(job)
    lost = 0
    while not lost:
        lost = house.stack.control("lose-groups", incident_id=job.incident_id)["lost"]
    house.finish(job)
    first, second = house.rooms(job)
    assert (first["group_gone"], second["group_gone"]) == (True, False)
    record = house.record(job)
    assert record.room is not None
    assert (record.state, record.room.chat_id) == (JobState.OPENED, second["chat_id"])
    house.assert_counters_balance(job)
