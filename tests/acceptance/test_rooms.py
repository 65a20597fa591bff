"""Every incident gets exactly one room, whoever asks and however often."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from producers.receipt import Status
from sandbox.stack import INTEGRATION_ID, until
from worker.jobs import JobState, Lane

from .house import CREATE

if TYPE_CHECKING:
    from .house import House


def test_every_incident_gets_exactly_one_room_and_the_ledger_knows_it(house: House) -> None:
    jobs = house.jobs(40)
    receipts = house.enqueue(*jobs, batch="forty")
    house.finish(*jobs)
    assert [receipt.status for receipt in receipts] == [Status.QUEUED] * 40
    house.assert_one_room_each(*jobs)
    house.assert_counters_balance(*jobs)
    assert house.calls() == {CREATE: 40}
    assert house.stack.stats()["refusals"] == 0
    batch = house.queue.ledger("default").batch("forty")
    assert batch is not None
    assert batch.states[JobState.OPENED] == batch.total == 40


def test_the_api_gets_what_the_job_says(house: House) -> None:
    job = house.job(member_ids=(7, 9, 7), add_observers=True)
    (record,) = house.open(job)
    room = house.room_of(job)
    assert (room["member_ids"], room["add_observers"]) == ([7, 9], True)
    assert (room["incident_id"], room["integration_id"]) == (job.incident_id, INTEGRATION_ID)
    assert (record.attempts, record.state, record.code) == (1, JobState.OPENED, "")
    assert record.created_at <= (record.finished_at or 0) <= time.time() + 1


def test_the_same_incident_in_two_integrations_has_two_rooms(house: House) -> None:
    one = house.job()
    other = one.model_copy(update={"integration_id": INTEGRATION_ID + 1})
    house.open(one, other)
    assert sorted(room["integration_id"] for room in house.rooms(one)) == [INTEGRATION_ID, INTEGRATION_ID + 1]
    house.assert_counters_balance(one, other)


def test_a_second_enqueue_of_a_waiting_job_answers_already_queued(house: House) -> None:
    house.fault("too-frequent", calls=1, retry_after_s=1)
    job = house.job()
    (first,) = house.enqueue(job)
    (second,) = house.enqueue(job)
    assert first.status is Status.QUEUED
    assert second.status in {Status.ALREADY_QUEUED, Status.ALREADY_OPENING}
    assert second.job_id == first.job_id
    house.finish(job)
    house.assert_one_room_each(job)
    house.assert_counters_balance(job)


def test_a_second_enqueue_of_an_open_room_answers_already_open_and_calls_nobody(house: House) -> None:
    job = house.job()
    (record,) = house.open(job)
    upper = house.job(incident_id=job.incident_id.upper())
    for again in (job, upper, job.model_copy(update={"lane": Lane.URGENT})):
        (receipt,) = house.enqueue(again)
        assert record.room is not None
        assert (receipt.status, receipt.chat_id) == (Status.ALREADY_OPEN, record.room.chat_id)
        assert receipt.share_link == record.room.share_link
    house.idle()
    assert house.calls() == {CREATE: 1}
    house.assert_counters_balance(job)


def test_a_job_twice_in_one_enqueue_is_one_job(house: House) -> None:
    job = house.job()
    receipts = house.enqueue(job, job, job)
    assert [r.status for r in receipts] == [Status.QUEUED, Status.ALREADY_QUEUED, Status.ALREADY_QUEUED]
    house.finish(job)
    house.idle()
    assert house.calls() == {CREATE: 1}


def test_copies_of_a_message_do_nothing(house: House) -> None:
    redis = house.stack.redis
    jobs = house.jobs(5)
    house.fault("too-frequent", calls=1, retry_after_s=1)  # so that some copies meet the job queued, some opening
    house.enqueue(*jobs)
    template = house.job()
    house.enqueue(template)
    until(lambda: house.progress().with_room >= 1, "a first room")
    body = [_message(job.incident_id) for job in (*jobs, template) for _ in range(10)]
    redis.lpush("warrooms.default", *body)
    redis.lpush("warrooms.default.urgent", *body)
    house.finish(*jobs, template)
    redis.lpush("warrooms.default", *body)
    house.idle()
    house.assert_one_room_each(*jobs, template)
    house.assert_counters_balance(*jobs, template)
    assert house.calls()[CREATE] == 6 + house.stack.stats()["by_status"]["429"]


def _message(incident_id: str) -> str:
    """What any program could push: Celery's protocol 2, body as plain JSON text."""
    kwargs = {"incident_id": incident_id, "integration_id": INTEGRATION_ID}
    return json.dumps(
        {
            "body": json.dumps([[], kwargs, {}]),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"task": "warrooms.open", "id": f"copy-{incident_id}", "lang": "any"},
            "properties": {"delivery_info": {"exchange": "", "routing_key": "warrooms.default"}, "delivery_tag": "t"},
        }
    )
