"""Creation is not documented as idempotent: after an unknown outcome a worker looks before it creates again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.jobs import JobState

from .house import CREATE, DETAIL, LIST

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

    from worker.jobs import WarRoomJob

    from .house import House

BEFORE: Final[dict[str, dict[str, object]]] = {
    "500": {"kind": "error", "code": "InternalError"},
    "503": {"kind": "error", "code": "ServiceUnavailable"},
    "InternalError with status 200": {"kind": "error", "code": "InternalError", "status": 200},
    "a gateway's 504": {"kind": "html"},
    "HTML with status 200": {"kind": "html", "status": 200},
    "reset": {"kind": "cut"},
    "closed": {"kind": "cut", "reset": False},
    "garbage": {"kind": "garbage", "when": "before"},
}
AFTER: Final[dict[str, dict[str, object]]] = {
    "500": {"kind": "error", "code": "InternalError", "when": "after"},
    "a gateway's 504": {"kind": "html", "when": "after"},
    "reset": {"kind": "cut", "when": "after"},
    "closed": {"kind": "cut", "when": "after", "reset": False},
    "garbage": {"kind": "garbage"},
    "over-long": {"kind": "over-long"},
}


def test_a_room_that_was_not_created_is_looked_for_and_then_created(house: House, subtests: pytest.Subtests) -> None:
    jobs = _with_faults(house, BEFORE)
    for name, record in zip(BEFORE, house.open(*jobs), strict=True):
        with subtests.test(name):
            assert record.state is JobState.OPENED
            assert 1 <= record.attempts <= 2, "with others failing too, a failure is not the job's own"
            assert (record.code, record.message, record.status) == ("", "", None), "the error is over"
    assert house.calls() == {CREATE: 2 * len(jobs), LIST: len(jobs)}
    house.assert_one_room_each(*jobs)
    house.assert_counters_balance(*jobs)


def test_a_room_that_was_created_is_found(house: House, subtests: pytest.Subtests) -> None:
    jobs = _with_faults(house, AFTER)
    for name, record in zip(AFTER, house.open(*jobs), strict=True):
        with subtests.test(name):
            assert record.state is JobState.FOUND
            assert 1 <= record.attempts <= 2
    assert house.calls() == dict.fromkeys((CREATE, LIST, DETAIL), len(jobs))
    house.assert_one_room_each(*jobs)
    house.assert_counters_balance(*jobs)


def _with_faults(house: House, faults: Mapping[str, Mapping[str, object]]) -> list[WarRoomJob]:
    """A job for each fault, which hits its first call."""
    jobs = house.jobs(len(faults))
    for job, fault in zip(jobs, faults.values(), strict=True):
        house.stack.fault(incident_id=job.incident_id, calls=1, **fault)
    return jobs


def test_a_lost_answer_is_found_although_looking_fails_too(house: House) -> None:
    job = house.job()
    house.fault("cut", job, when="after", calls=1)
    house.fault("html", job, endpoints=LIST, calls=1)
    house.fault("cut", endpoints=DETAIL, calls=1)
    (record,) = house.open(job)
    assert (record.state, record.attempts) == (JobState.FOUND, 4)
    assert house.calls() == {CREATE: 1, LIST: 3, DETAIL: 2}
    house.assert_one_room_each(job)
    house.assert_counters_balance(job)


def test_many_cuts_at_once_make_no_second_room(house: House) -> None:
    house.fault("cut", when="after", probability=0.3, endpoints=CREATE)
    house.fault("html", probability=0.2)
    jobs = house.jobs(40)
    records = house.open(*jobs)
    stats = house.stack.stats()
    assert (stats["rooms"], stats["duplicates"]) == (40, 0)
    assert {JobState.OPENED, JobState.FOUND} == {record.state for record in records}
    house.assert_one_room_each(*jobs)
    house.assert_counters_balance(*jobs)


def test_after_six_attempts_a_job_fails_and_says_why(house: House) -> None:
    job, other = house.job(), house.job()
    house.fault("html", job)
    record, _ = house.open(job, other)
    assert (record.state, record.attempts, record.code, record.status) == (JobState.FAILED, 6, "NotJson", 504)
    assert record.message.startswith("NotJson (HTTP 504): the answer is not the API's JSON")
    assert record.message.endswith("(after 6 attempts)")
    assert house.failed() == [job.id]
    # The first attempt creates; the others look, and where looking fails they create nothing.
    assert house.calls() == {CREATE: 1 + 1, LIST: 5}
    assert house.rooms(job) == []
    house.assert_counters_balance(job, other)


def test_a_failed_job_that_is_queued_again_looks_first_and_starts_to_count_anew(house: House) -> None:
    job = house.job()
    house.fault("cut", job, when="after", calls=1)
    house.fault("html", job, endpoints=LIST, calls=5)
    (record,) = house.open(job)
    assert (record.state, record.attempts) == (JobState.FAILED, 6)
    (record,) = house.open(job)
    assert (record.state, record.attempts) == (JobState.FOUND, 1)
    assert house.failed() == []
    house.assert_one_room_each(job)
    house.assert_counters_balance(job)


def test_retries_wait_their_time_unhurried(house: House) -> None:
    jobs = house.jobs(4)
    for job in jobs:
        house.fault("cut", job, when="after", calls=1)
    house.enqueue(*jobs)
    records = house.finish(*jobs, hurry=False)
    assert {record.state for record in records} == {JobState.FOUND}
    house.assert_one_room_each(*jobs)


def test_a_success_without_data_is_an_unknown_outcome(house: House) -> None:
    jobs = _with_faults(house, {kind: {"kind": kind} for kind in ("null-data", "no-data")})
    records = house.open(*jobs)
    assert [record.state for record in records] == [JobState.FOUND] * 2
    house.assert_one_room_each(*jobs)
    house.assert_counters_balance(*jobs)


def test_a_success_that_carries_the_code_ok_is_a_success(house: House) -> None:
    job = house.job()
    house.fault("ok-code", job)
    (record,) = house.open(job)
    assert (record.state, record.attempts) == (JobState.OPENED, 1)
    house.assert_one_room_each(job)
