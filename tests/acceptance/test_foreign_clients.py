"""Any Celery client in any language may send a job; what is no job is said in the log and stops nobody."""

from __future__ import annotations

import base64
import json
import secrets
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import pytest
from celery import Celery

from sandbox.stack import INTEGRATION_ID, until
from worker.jobs import JobState, Lane, WarRoomJob

from .house import CREATE

if TYPE_CHECKING:
    from .house import House

TASK: Final = "warrooms.open"


@pytest.fixture(scope="module")
def app(shared: House) -> Celery:
    """A client that knows nothing of this program but where Redis is."""
    return Celery("foreign", broker=shared.stack.redis_url, set_as_current=False)


def _send(app: Celery, args: tuple[Any, ...] = (), queue: str = "warrooms.default", **options: Any) -> None:  # noqa: ANN401
    app.send_task(TASK, args, options.pop("kwargs"), queue=queue, ignore_result=True, **options)


def test_a_message_without_a_record_gets_one(house: House, app: Celery) -> None:
    job = house.job(member_ids=(5,), add_observers=True, batch="foreign")
    kwargs = {
        "incident_id": job.incident_id.upper(),
        "integration_id": job.integration_id,
        "member_ids": [5],
        "add_observers": True,
        "account": "default",
        "batch": "foreign",
        "urgent": False,
    }
    _send(app, kwargs=kwargs)
    (record,) = house.finish(job)
    assert (record.job, record.batches) == (job, ("foreign",))
    assert house.room_of(job)["member_ids"] == [5]
    batch = house.queue.ledger("default").batch("foreign")
    assert batch is not None
    assert batch.states[JobState.OPENED] == batch.total == 1
    house.assert_one_room_each(job)
    house.assert_counters_balance(job)


def test_without_integration_id_the_accounts_own_is_taken(house: House, app: Celery) -> None:
    jobs = house.jobs(2)
    _send(app, kwargs={"incident_id": jobs[0].incident_id})
    _send(app, kwargs={"incident_id": jobs[1].incident_id, "integration_id": None})
    house.finish(*jobs)
    assert {house.room_of(job)["integration_id"] for job in jobs} == {INTEGRATION_ID}
    house.assert_counters_balance(*jobs)


def test_priorities_and_the_urgent_queue_are_served(house: House, app: Celery) -> None:
    jobs = house.jobs(12)
    for number, job in enumerate(jobs[:10]):
        _send(app, kwargs={"incident_id": job.incident_id}, priority=number)
    _send(app, kwargs={"incident_id": jobs[10].incident_id, "urgent": True}, queue="warrooms.default.urgent")
    _send(app, kwargs={"incident_id": jobs[11].incident_id, "urgent": True}, priority=5)
    records = house.finish(*jobs)
    assert [record.job.lane for record in records] == [Lane.BULK] * 10 + [Lane.URGENT] * 2
    house.assert_one_room_each(*jobs)
    house.assert_counters_balance(*jobs)


def test_a_message_with_a_countdown_is_served_when_it_is_due(house: House, app: Celery) -> None:
    job = house.job()
    _send(app, kwargs={"incident_id": job.incident_id}, countdown=0.5)
    house.finish(job)
    house.assert_one_room_each(job)


def test_messages_that_wait_for_their_time_hold_nobody_up(house: House) -> None:
    """Each is in a worker's hands until then, and has asked for no slot yet."""
    later = (datetime.now(UTC) + timedelta(seconds=12)).isoformat()
    patient, jobs = house.jobs(8), house.jobs(20)
    messages = [_by_hand({"incident_id": job.incident_id}, eta=later) for job in patient]
    house.stack.redis.lpush("warrooms.default", *messages)
    house.open(*jobs)
    assert house.queue.ledger("default").records([job.id for job in patient]) == [None] * 8, "they are not due"
    house.finish(*patient)
    house.idle()
    house.assert_one_room_each(*jobs, *patient)


def test_a_message_made_by_hand_is_served(house: House) -> None:
    job = house.job()
    house.stack.redis.lpush("warrooms.default", _by_hand({"incident_id": job.incident_id}))
    house.finish(job)
    house.assert_one_room_each(job)
    house.assert_counters_balance(job)


def test_the_same_message_twice_opens_one_room(house: House, app: Celery) -> None:
    job = house.job()
    for _ in range(5):
        _send(app, kwargs={"incident_id": job.incident_id})
    house.finish(job)
    house.idle()
    assert house.calls() == {CREATE: 1}
    house.assert_counters_balance(job)


INCIDENT: Final = secrets.token_hex(12)
NO_JOBS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "missing incident_id": ({}, "incident_id: is missing"),
    "short incident_id": ({"incident_id": "12"}, "incident_id: must be 24 hexadecimal digits"),
    "number as incident_id": ({"incident_id": 12}, "incident_id: must be text"),
    "unknown field": ({"incident_id": INCIDENT, "colour": "red"}, "colour: is not a field of a job"),
    "lane": ({"incident_id": INCIDENT, "lane": "urgent"}, "lane: is not a field of a job"),
    "text as integration_id": ({"incident_id": INCIDENT, "integration_id": "x"}, "integration_id: must be a whole"),
    "text as urgent": ({"incident_id": INCIDENT, "urgent": "yes"}, "urgent: must be true or false"),
    "number as members": ({"incident_id": INCIDENT, "member_ids": 4}, "member_ids: must be a list"),
    "unknown account": ({"incident_id": INCIDENT, "account": "nobody"}, "account: 'nobody' is not one of"),
    "number as account": ({"incident_id": INCIDENT, "account": 7}, "account: 7 is not one of"),
    "bad batch": ({"incident_id": INCIDENT, "batch": "a b"}, "batch: must be letters"),
}


def test_what_is_no_job_is_said_in_the_log_and_the_worker_goes_on(
    house: House, app: Celery, subtests: pytest.Subtests
) -> None:
    before = house.log()
    for kwargs, _ in NO_JOBS.values():
        _send(app, kwargs=kwargs)
    _send(app, (INCIDENT, INTEGRATION_ID), kwargs={})
    app.send_task("warrooms.close", kwargs={}, queue="warrooms.default")
    house.idle()
    job = house.job()
    house.open(job)
    problems = _problems(_new_lines(house.log(), before))
    for name, (_, sentence) in NO_JOBS.items():
        with subtests.test(name):
            (line,) = [line for line in problems if sentence in line["event"] + line.get("reason", "")]
            assert "exception" not in line, "one sentence, no traceback"
    with subtests.test("positional arguments"):
        assert [line for line in problems if "positional argument" in str(line)]
    with subtests.test("unknown task"):
        assert [line for line in problems if "warrooms.close" in str(line)]
    assert house.calls() == {CREATE: 1}
    house.assert_one_room_each(job)
    house.assert_counters_balance(job)


THREADS: Final = 64  # of a worker, as celeryconfig.py has it

JUNK: Final = (
    "not json",
    "[]",
    "{}",
    '{"body": "%%%", "headers": {}, "properties": {}}',
    '{"body": "x", "headers": {}, "properties": {"delivery_tag": "a", "delivery_info": {}}}',
)


def test_junk_in_a_queue_is_dropped_and_stops_nobody(house: House) -> None:
    before = house.log().count("is no message")
    jobs = house.jobs(4)
    house.stack.redis.lpush("warrooms.default", *JUNK, _by_hand({"incident_id": jobs[0].incident_id}))
    house.stack.redis.lpush("warrooms.default.urgent", *JUNK)
    house.open(*jobs)
    house.idle()
    assert [worker.popen.poll() for worker in house.stack.workers] == [None, None]
    assert house.log().count("is no message") - before == 2 * len(JUNK)
    house.assert_one_room_each(*jobs)
    house.assert_counters_balance(*jobs)


def test_messages_without_what_celery_needs_hold_no_thread(house: House) -> None:
    """They get as far as a delivery; more of them than there are threads must not stop a worker."""
    for _ in range(THREADS * len(house.stack.workers) + 2):
        nameless = json.loads(_by_hand({"incident_id": "f" * 24}))
        del nameless["headers"]["id"]
        house.stack.redis.lpush("warrooms.default", json.dumps(nameless))
    jobs = house.jobs(2)
    house.open(*jobs)
    house.idle()
    assert house.stack.redis.zcard("unacked_index") == 0
    house.assert_one_room_each(*jobs)


def _strange() -> dict[str, str]:
    """Right messages, but for one thing each."""
    strange = {}
    for name, tag in {"tag null": None, "tag true": True, "tag false": False}.items():
        message = json.loads(_by_hand({"incident_id": "e" * 24}))
        message["properties"]["delivery_tag"] = tag
        strange[name] = json.dumps(message)
    packed = json.loads(_by_hand({"incident_id": "e" * 24}))
    packed["headers"]["compression"] = "application/x-gzip"
    return strange | {
        "no gzip": json.dumps(packed),
        "self": _by_hand({"incident_id": "e" * 24, "self": 1}),
    }


def test_one_strange_thing_in_a_message_ends_no_worker_and_is_seen(house: House) -> None:
    for text in _strange().values():
        before = house.stack.redis.llen("warrooms:refused")
        house.stack.redis.lpush("warrooms.default", text)
        until(lambda: house.stack.redis.llen("warrooms:refused") > before, "a refusal")  # noqa: B023 - called at once
    jobs = house.jobs(2)
    house.open(*jobs)
    assert all(worker.alive for worker in house.stack.workers)
    assert "e" * 24 not in house.log(), "a body stays out of the log"


def _new_lines(log: str, before: str) -> str:
    """What the workers have said since then; their logs stand one behind the other."""
    return "\n".join((Counter(log.splitlines()) - Counter(before.splitlines())).elements())


def _problems(log: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["level"] in {"error", "critical"}]


def _by_hand(kwargs: dict[str, Any], **headers: str) -> str:
    """Celery's message protocol 2 as its documentation gives it, with nothing that is optional."""
    body = base64.b64encode(json.dumps([[], kwargs, {}]).encode()).decode()
    return json.dumps(
        {
            "body": body,
            "content-type": "application/json",
            "content-encoding": "utf-8",
            "headers": {"lang": "js", "task": TASK, "id": secrets.token_hex(8), **headers},
            "properties": {
                "body_encoding": "base64",
                "delivery_info": {"exchange": "", "routing_key": "warrooms.default"},
                "delivery_tag": secrets.token_hex(8),
            },
        }
    )


def test_a_job_of_a_foreign_client_and_one_of_ours_are_the_same_job(house: House, app: Celery) -> None:
    job = WarRoomJob(incident_id=secrets.token_hex(12), integration_id=INTEGRATION_ID)
    house.enqueue(job)
    _send(app, kwargs={"incident_id": job.incident_id})
    house.finish(job)
    house.idle()
    assert house.calls() == {CREATE: 1}
