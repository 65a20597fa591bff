"""What we lean on in kombu and is not promised. A red test here says what broke for us: read its message first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest
from kombu import Connection, Consumer, Queue
from kombu.transport import redis as kombu_redis
from kombu.utils.scheduling import cycle_by_name

import celeryconfig
from tests.fakes import a_job
from worker.celery_app import DIRECT, app, publish
from worker.gate import GATE, Gate, GatedCycle
from worker.jobs import Lane
from worker.slots import Lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from worker.redis_store import RedisStore

BULK, URGENT = "warrooms.acc", "warrooms.acc.urgent"
OPTIONS: Final[dict[str, Any]] = celeryconfig.broker_transport_options


class Recorder(GatedCycle):
    """A gated cycle with a gate of its own that writes down how kombu calls it."""

    calls: Final[list[tuple[str, object]]] = []
    gate: Final = Gate()

    def __init__(self) -> None:
        super().__init__(gate=self.gate)
        self.calls.append(("new", None))

    def update(self, it: Iterable[str]) -> None:
        super().update(it)
        self.calls.append(("update", sorted(it)))

    def consume(self, n: int) -> list[str]:
        showing = super().consume(n)
        self.calls.append(("consume", n))
        return showing

    def rotate(self, last_used: str) -> str:
        self.calls.append(("rotate", last_used))
        return super().rotate(last_used)


@pytest.fixture
def channel(store: RedisStore, valkey_url: str) -> Iterator[kombu_redis.Channel]:
    """A real channel with the worker's options that consumes both lanes; its cycle is a Recorder."""
    assert store.client.dbsize() == 0
    Recorder.calls.clear()
    Recorder.gate.add("acc", 0.1, [(BULK, Lane.BULK), (URGENT, Lane.URGENT)])
    options = {**OPTIONS, "queue_order_strategy": Recorder}
    with Connection(valkey_url, transport_options=options) as connection:
        channel = connection.default_channel
        queues = [Queue(name, DIRECT, routing_key=name) for name in (BULK, URGENT)]
        with Consumer(channel, queues, callbacks=[lambda _, message: message.ack()], accept=["json"]):
            yield channel


# --- the gate -----------------------------------------------------------------------------------------------------


def test_a_queue_order_strategy_may_be_a_dotted_name() -> None:
    broke = "kombu no longer takes our class as queue_order_strategy: nothing gates the queues, workers fill with jobs"
    assert cycle_by_name(OPTIONS["queue_order_strategy"]) is GatedCycle, broke
    cycle = cycle_by_name(OPTIONS["queue_order_strategy"])()
    assert (cycle.items, cycle._gate) == ([], GATE), "kombu builds it without arguments, so it must find GATE itself"


def test_a_channel_builds_the_cycle_and_tells_it_its_queues(channel: kombu_redis.Channel) -> None:
    assert isinstance(channel._queue_cycle, Recorder), (
        "the channel keeps its cycle elsewhere: is the gate asked at all?"
    )
    assert Recorder.calls[0] == ("new", None)
    assert Recorder.calls[-1] == ("update", [BULK, URGENT]), "the gate no longer learns which queues there are"


def test_the_cycle_decides_which_queues_are_popped(channel: kombu_redis.Channel) -> None:
    with Connection(channel.connection.client.as_uri(include_password=True)) as producer:
        for job in (a_job(1), a_job(2, lane=Lane.URGENT)):
            publish(producer.Producer(), job)
    _drain(channel)
    assert ("consume", 2) in Recorder.calls, "BRPOP goes out without asking the gate: limits hold, memory does not"
    rotated = [call for call in Recorder.calls if call[0] == "rotate"]
    assert rotated == [("rotate", URGENT)], "rotate() is called otherwise: the gate counts wrong, or nothing"


def test_no_queue_shown_means_no_brpop(channel: kombu_redis.Channel) -> None:
    Recorder.gate.learn("acc", Lines(60.0, 60.0, 60.0))
    before = _brpops(channel)
    with pytest.raises(TimeoutError):
        _drain(channel, timeout_s=0.1)
    assert ("consume", 2) in Recorder.calls
    broke = "an empty consume() sends a BRPOP all the same: it may be without keys, or pop what is hidden"
    assert _brpops(channel) == before, broke


def _drain(channel: kombu_redis.Channel, timeout_s: float = 5.0) -> None:
    channel.connection.client.drain_events(timeout=timeout_s)


def _brpops(channel: kombu_redis.Channel) -> int:
    stats = channel.client.info("commandstats")
    return int(stats.get("cmdstat_brpop", {}).get("calls", 0))


def test_rotate_gets_the_plain_name_of_a_queue_also_for_a_priority(channel: kombu_redis.Channel) -> None:
    raw = {"body": "e30=", "headers": {}, "content-type": "application/json", "content-encoding": "utf-8"}
    raw |= {"properties": {"delivery_tag": "t", "delivery_info": {"exchange": "", "routing_key": BULK}}}
    raw["properties"] |= {"body_encoding": "base64"}  # type: ignore[operator]
    channel.client.lpush(f"{BULK}{channel.sep}9", json.dumps(raw))
    _drain(channel)
    broke = "rotate() gets the priority's list, not the queue: the gate would not count a foreign client's messages"
    assert ("rotate", BULK) in Recorder.calls, broke


@pytest.mark.parametrize("option", sorted(OPTIONS))
def test_every_option_of_ours_is_one_that_kombu_reads(option: str) -> None:
    if option == "polling_interval":  # it belongs to the transport: the length of a BRPOP, see below
        return
    broke = f"kombu no longer reads {option!r} and says nothing about it; celeryconfig.py tells what it was for"
    assert option in kombu_redis.Channel.from_transport_options, broke


def test_the_options_arrive(channel: kombu_redis.Channel) -> None:
    assert channel.brpop_timeout == OPTIONS["polling_interval"], "the gate can no longer change its mind every 0.1 s"
    arrived = {
        name: getattr(channel, name) for name in OPTIONS if name not in {"polling_interval", "queue_order_strategy"}
    }
    assert arrived == {name: OPTIONS[name] for name in arrived}


# --- publishing ---------------------------------------------------------------------------------------------------


def test_batches_are_supported_with_our_options(valkey_url: str) -> None:
    with Connection(valkey_url, transport_options=OPTIONS) as connection:
        producer = connection.Producer()
        assert producer.supports_batch_publish, "an option of ours switches batches off: enqueueing is 20 times slower"
        producer.channel  # noqa: B018 - the answer may change once there is a real channel
        assert producer.supports_batch_publish, "the channel's connection arguments switch batches off"


@pytest.mark.usefixtures("publishing")
def test_a_batch_lands_in_the_plain_lists_in_its_order_and_only_at_its_end(store: RedisStore) -> None:
    jobs = [a_job(n) for n in range(1, 6)] + [a_job(6, lane=Lane.URGENT)]
    with app.producer_pool.acquire(block=True) as producer:
        with producer.batch(max_size=100):
            for job in jobs:
                publish(producer, job)
            assert store.client.llen(BULK) == 0, "publish() inside batch() goes out one by one: 20 times slower"
        assert store.client.llen(BULK) == 5, "leaving batch() sent nothing: jobs would wait for a second enqueue"
    ids = [json.loads(raw)["headers"]["id"] for raw in reversed(store.client.lrange(BULK, 0, -1))]
    assert ids == [job.id for job in jobs[:5]]
    assert store.client.llen(URGENT) == 1
    broke = "publishing to the default exchange left something else in Redis, such as a binding"
    assert sorted(map(str, store.client.keys("*"))) == [BULK, URGENT], broke


@pytest.mark.usefixtures("publishing")
def test_a_nudge_has_the_shape_of_a_message_of_celerys(store: RedisStore) -> None:
    job = a_job(lane=Lane.URGENT, member_ids=(1, 2), batch="b", add_observers=True)
    kwargs = {
        "account": "acc",
        "incident_id": job.incident_id,
        "integration_id": job.integration_id,
        "member_ids": [1, 2],
        "add_observers": True,
        "batch": "b",
        "urgent": True,
    }
    with app.producer_pool.acquire(block=True) as producer:
        publish(producer, job)
    app.send_task("warrooms.open", kwargs=kwargs, task_id=job.id, queue=Queue(URGENT, DIRECT, routing_key=URGENT))
    theirs, ours = (json.loads(raw) for raw in store.client.lrange(URGENT, 0, -1))
    broke = "Celery's messages have changed: workers may refuse, or read otherwise, what publish() sends"
    assert _shape(ours) == _shape(theirs), broke
    assert ours["body"] == theirs["body"], broke
    same = ("id", "task", "lang", "root_id", "parent_id", "retries", "eta", "expires", "group", "timelimit", "argsrepr")
    assert {name: ours["headers"][name] for name in same} == {name: theirs["headers"][name] for name in same}, broke
    assert ours["properties"]["delivery_info"] == theirs["properties"]["delivery_info"], broke
    assert ours["properties"]["delivery_mode"] == theirs["properties"]["delivery_mode"], broke


def _shape(message: dict[str, Any]) -> dict[str, set[str]]:
    return {
        "message": set(message),
        "headers": set(message["headers"]),
        "properties": set(message["properties"]),
        "delivery": set(message["properties"]["delivery_info"]),
    }
