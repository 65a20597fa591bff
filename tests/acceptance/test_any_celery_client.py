"""Whoever sends a job, and however: the same record, the same room."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest
from celery import Celery

from sandbox.stack import INTEGRATION_ID
from tests.commands import WARROOMS
from tests.web import OPS, SECRET, serving, web_app
from worker.jobs import JobState
from worker.settings import Settings

from . import node_client
from .house import CREATE, RAISED

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    import httpx

    from worker.jobs import WarRoomJob
    from worker.records import Record

    from .house import House

QUEUE: Final = "warrooms.default"
BATCH: Final = "doors"


def node(house: House, kwargs: dict[str, Any]) -> None:
    node_client.send(house.stack.redis_url, QUEUE, kwargs)


def bare_python_client(house: House, kwargs: dict[str, Any]) -> None:
    with Celery("foreign", broker=house.stack.redis_url, set_as_current=False) as app:
        app.send_task("warrooms.open", kwargs=kwargs, queue=QUEUE, ignore_result=True)


def message_made_by_hand(house: House, kwargs: dict[str, Any]) -> None:
    """docs/celery-clients.md, word for word."""
    body = base64.b64encode(json.dumps([[], kwargs, {}]).encode()).decode()
    message = {
        "body": body,
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"lang": "any", "task": "warrooms.open", "id": secrets.token_hex(16)},
        "properties": {
            "body_encoding": "base64",
            "delivery_tag": secrets.token_hex(16),
            "delivery_info": {"exchange": "", "routing_key": QUEUE},
        },
    }
    house.stack.redis.lpush(QUEUE, json.dumps(message))


def command_line(house: House, kwargs: dict[str, Any]) -> None:
    command = [WARROOMS, "bulk", "-", "--batch", BATCH]
    subprocess.run(
        command, env=house.stack.env, input=json.dumps(kwargs), text=True, check=True, timeout=30, capture_output=True
    )


def python_api(house: House, kwargs: dict[str, Any]) -> None:
    from producers.parsing import Defaults, parse_job  # noqa: PLC0415 - what `producers.enqueue(**kwargs)` does

    house.queue.enqueue(parse_job(kwargs, Defaults.of(house.queue.accounts)))


def http(house: House, kwargs: dict[str, Any]) -> None:
    """As curl does it."""
    with _web(house) as web:
        assert web.post("/v1/war-rooms", json=kwargs).status_code in {200, 202}


def webhook(house: House, incident_id: str) -> None:
    incident = {"incident_id": incident_id, "incident_severity": "Critical", "integration_id": 99}
    event = {"event_id": secrets.token_hex(8), "event_type": "i_assign", "event_time": 1, "incident": incident}
    with _web(house) as web:
        answer = web.post("/webhooks/flashduty", json=event, headers={"X-Warrooms-Secret": SECRET})
    assert answer.status_code == 200, answer.text


def _web(house: House) -> AbstractContextManager[httpx.Client]:
    settings = Settings(redis_url=house.stack.redis_url, rates=RAISED, integration_id=INTEGRATION_ID)
    return serving(web_app(settings, api_tokens=f"ops:{OPS}"))


DOORS: Final[tuple[Callable[[House, dict[str, Any]], None], ...]] = (
    bare_python_client,
    message_made_by_hand,
    node,
    command_line,
    http,
    python_api,
)


def arguments(job: WarRoomJob) -> dict[str, Any]:
    return {
        "incident_id": job.incident_id.upper(),
        "integration_id": INTEGRATION_ID,
        "member_ids": [5, 6, 5],
        "add_observers": True,
        "batch": BATCH,
    }


def alike(house: House, record: Record) -> tuple[object, ...]:
    """What must not depend on the door: all of the record but the incident, the times and the names of the room."""
    room = house.room_of(record.job)
    assert record.room is not None
    assert record.room.chat_id == room["chat_id"]
    job = record.job.model_copy(update={"incident_id": "0" * 24, "batch": None})
    kept = replace(
        record, job=job, created_at=0, updated_at=0, finished_at=0, began_at=None, room=None, request_id="", worker="",
        batches=(),
    )  # fmt: skip
    room = {name: room[name] for name in ("integration_id", "account", "member_ids", "add_observers")}
    return kept, BATCH in record.batches, json.dumps(room)


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_every_door_gives_the_same_record_and_the_same_room(
    house: House, door: Callable[[House, dict[str, Any]], None]
) -> None:
    mine, other = house.job(), house.job()
    python_api(house, arguments(other))
    door(house, arguments(mine))
    first, second = house.finish(other, mine)
    assert alike(house, first) == alike(house, second)
    assert second.state is JobState.OPENED
    house.assert_one_room_each(mine, other)


def test_a_webhook_gives_the_record_and_the_room_of_an_urgent_job(house: House) -> None:
    mine, other = house.job(), house.job()
    python_api(house, {"incident_id": other.incident_id, "urgent": True})
    webhook(house, mine.incident_id)
    first, second = house.finish(other, mine)
    assert alike(house, first) == alike(house, second)
    house.assert_one_room_each(mine, other)


def test_one_incident_through_every_door_has_one_record_and_one_room(house: House) -> None:
    job = house.job()
    for door in DOORS:
        door(house, arguments(job))
    webhook(house, job.incident_id)
    house.finish(job)
    house.idle()
    assert house.calls() == {CREATE: 1}
    house.assert_one_room_each(job)
    house.assert_counters_balance(job)
