"""What the API refuses it refuses for good: no second call, and the dead letter says all that the API said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.errors import CODES
from worker.errors import API_CODES
from worker.jobs import JobState

from .house import CREATE, DETAIL, LIST

if TYPE_CHECKING:
    import pytest

    from .house import House

REFUSALS = [code for code, (status, _) in CODES.items() if 400 <= status < 500 and status != 429]


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
    assert sorted(house.queue.ledger("default").dead_letters(99)) == sorted(job.id for job in refused.values())
    house.assert_one_room_each(other)
    house.assert_counters_balance(*refused.values(), other)


def test_a_refused_job_can_be_queued_again(house: House) -> None:
    job = house.job()
    house.fault("error", job, code="InvalidParameter", calls=1)
    (record,) = house.open(job)
    assert record.state is JobState.FAILED
    (record,) = house.open(job)
    assert (record.state, record.attempts, record.code) == (JobState.OPENED, 1, "")
    assert house.queue.ledger("default").dead_letters() == []
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
