"""A message without an integration, where nobody has set one: a worker takes the only one there is, or says which."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sandbox.stack import INTEGRATION_ID, until
from worker.im_integration import Memory
from worker.redis_store import RedisStore
from worker.refusals import Refusals

from .house import House
from .test_foreign_clients import _by_hand

if TYPE_CHECKING:
    from collections.abc import Iterator

ENABLED = "/datasource/im/war-room-enabled/list"


@pytest.fixture(scope="module")
def unset() -> Iterator[House]:
    with House(env={"FLASHDUTY_INTEGRATION_ID": ""}, settings={"integration_id": None}) as house:
        yield house


@pytest.fixture
def house(unset: House) -> House:
    unset.fresh()
    return unset


def _enabled(house: House, *numbers: int) -> None:
    house.stack._control("POST", "integrations", [{"data_source_id": number} for number in numbers])


def _start(house: House) -> None:
    if not house.stack.workers:
        house.start_workers(1)


def _send(house: House, *incidents: str) -> None:
    house.stack.redis.lpush("warrooms.default", *[_by_hand({"incident_id": one}) for one in incidents])


def _memory(house: House) -> Memory:
    return Memory(RedisStore(house.stack.redis_url), "default")


def test_a_worker_that_starts_finds_it_for_every_door(house: House) -> None:
    _enabled(house, INTEGRATION_ID)
    _start(house)
    until(lambda: _memory(house).recall() == INTEGRATION_ID, "the worker to have asked")
    assert house.calls()[ENABLED] == 1
    assert house.queue.defaults.integration_ids["default"] == INTEGRATION_ID


def test_messages_without_an_integration_get_the_only_one_and_it_is_asked_for_once(house: House) -> None:
    _enabled(house, INTEGRATION_ID)
    _start(house)
    jobs = house.jobs(20)
    _send(house, *(job.incident_id for job in jobs))
    house.finish(*jobs)
    house.idle()
    house.assert_one_room_each(*jobs)
    assert house.calls()[ENABLED] <= 2, "once for the messages, and once if the worker was about to ask anyway"


def test_where_there_are_several_the_refusal_says_which(house: House) -> None:
    _enabled(house, INTEGRATION_ID, 8)
    _start(house)
    _send(house, "a" * 24, "b" * 24)
    house.idle()
    refused = Refusals(RedisStore(house.stack.redis_url)).newest()
    assert len(refused) == 2
    assert all(
        f"2 have war rooms enabled: {INTEGRATION_ID} (Feishu Ops, feishu), 8 (Feishu Ops, feishu)" in one.reason
        for one in refused
    )
    assert house.rooms() == []
    for told in (house.log(), str(_memory(house).recall())):
        assert "secret-" not in told, "the API's answer holds a push key and settings"
    named = house.job()
    house.stack.redis.lpush(
        "warrooms.default", _by_hand({"incident_id": named.incident_id, "integration_id": INTEGRATION_ID})
    )
    house.finish(named)
    house.assert_one_room_each(named)


def test_while_nobody_can_tell_the_messages_wait_and_are_opened_later(house: House) -> None:
    _enabled(house, INTEGRATION_ID)
    _start(house)
    house.fault("error", code="ServiceUnavailable", endpoints=[ENABLED], calls=3)
    jobs = house.jobs(5)
    _send(house, *(job.incident_id for job in jobs))
    until(lambda: house.calls().get(ENABLED, 0) >= 3, "three calls without an answer")
    house.probe_now()
    house.finish(*jobs)
    house.idle()
    house.assert_one_room_each(*jobs)
    assert Refusals(RedisStore(house.stack.redis_url)).newest() == []
