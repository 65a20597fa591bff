"""The message that nudges a worker; that it is what Celery itself would send is tests/contracts' matter."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import pytest

from tests.fakes import a_job
from worker.jobs import INT64_MAX, Lane, WarRoomJob
from worker.messages import arguments_of, nudge, queue_name, queues_of

REQUIRED = {"account": "acc", "incident_id": a_job().incident_id, "integration_id": INT64_MAX}


def body_of(job: WarRoomJob) -> Any:  # noqa: ANN401
    return json.loads(b64decode(json.loads(nudge(job))["body"]))


def test_each_lane_of_an_account_has_its_queue() -> None:
    assert (queue_name("eu", Lane.BULK), queue_name("eu", Lane.URGENT)) == ("warrooms.eu", "warrooms.eu.urgent")


def test_the_urgent_queue_is_popped_first() -> None:
    assert queues_of("eu") == [("warrooms.eu.urgent", Lane.URGENT), ("warrooms.eu", Lane.BULK)]


@pytest.mark.parametrize(
    ("fields", "more"),
    [
        ({}, {}),
        ({"member_ids": (1, INT64_MAX)}, {"member_ids": [1, INT64_MAX]}),
        ({"add_observers": True}, {"add_observers": True}),
        ({"batch": "b"}, {"batch": "b"}),
        ({"lane": Lane.URGENT}, {"urgent": True}),
        ({"lane": Lane.BULK, "add_observers": False, "member_ids": ()}, {}),
    ],
)
def test_a_task_is_told_what_says_something(fields: dict[str, Any], more: dict[str, Any]) -> None:
    assert arguments_of(a_job(**fields)) == REQUIRED | more


def test_the_body_is_the_tasks_arguments() -> None:
    args, kwargs, embed = body_of(a_job(member_ids=(7,)))
    assert (args, kwargs) == ([], REQUIRED | {"member_ids": [7]})
    assert set(embed.values()) == {None}


@pytest.mark.parametrize("lane", list(Lane))
def test_a_message_names_its_job_and_its_queue(lane: Lane) -> None:
    job = a_job(lane=lane, batch="outage-42")
    message = json.loads(nudge(job))
    assert message["headers"]["kwargsrepr"] == f"{job.incident_id} @ acc, {lane}, batch outage-42"
    assert message["headers"]["id"] == message["headers"]["root_id"] == message["properties"]["correlation_id"]
    assert message["properties"]["delivery_info"]["routing_key"] == queue_name("acc", lane)


def test_no_two_messages_have_the_same_id_or_delivery_tag() -> None:
    messages = [json.loads(nudge(a_job())) for _ in range(100)]
    assert len({message["headers"]["id"] for message in messages}) == 100
    tags = {message["properties"]["delivery_tag"] for message in messages}
    assert len(tags) == 100, "kombu would take one for the other, and acknowledge the wrong one"
