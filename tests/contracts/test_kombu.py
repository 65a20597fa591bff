"""What we lean on in kombu and is not promised. A red test here says what broke for us: read its message first."""

from __future__ import annotations

import json
from base64 import b64decode
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import pytest
from celery.worker.request import Request
from kombu import Connection, Consumer, Queue
from kombu.transport import redis as kombu_redis
from kombu.utils.scheduling import cycle_by_name

import celeryconfig
from tests.fakes import a_job
from worker import tasks
from worker.celery_app import DIRECT, app
from worker.gate import GATE, Gate, GatedCycle
from worker.jobs import Lane, WarRoomJob
from worker.messages import RECORDED, TASK, arguments_of, nudge, queue_name
from worker.slots import Lines
from worker.transport import PRIORITIES_EVERY, Transport

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
    for forget in (Recorder.calls, received, holding):
        forget.clear()
    Recorder.gate.add("acc", 0.001, [(BULK, Lane.BULK), (URGENT, Lane.URGENT)])
    options = {**OPTIONS, "queue_order_strategy": Recorder}
    with Connection(valkey_url, transport_options=options) as connection:
        channel = connection.default_channel
        queues = [Queue(name, DIRECT, routing_key=name) for name in (BULK, URGENT)]
        with Consumer(channel, queues, callbacks=[_receive], accept=["json"]):
            yield channel


received: list[Any] = []
holding: list[bool] = []


def _receive(_: object, message: Any) -> None:  # noqa: ANN401
    received.append(message)
    if not holding:
        message.ack()


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
    for job in (a_job(1), a_job(2, lane=Lane.URGENT)):
        _queue(channel, job)
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


# --- messages -----------------------------------------------------------------------------------------------------

FULL: Final = a_job(lane=Lane.URGENT, member_ids=(1, 2), batch="b", add_observers=True)


@pytest.mark.parametrize("job", [FULL, a_job()], ids=["urgent", "bulk"])
def test_a_nudge_is_what_celery_itself_would_have_sent(store: RedisStore, valkey_url: str, job: WarRoomJob) -> None:
    name = queue_name("acc", job.lane)
    with Connection(valkey_url, transport_options=OPTIONS) as connection:
        queue = Queue(name, DIRECT, routing_key=name)
        tasks.open_war_room.apply_async(kwargs=arguments_of(job), task_id="same", queue=queue, connection=connection)
    (sent,) = store.client.lrange(name, 0, -1)
    theirs, ours = json.loads(str(sent)), json.loads(nudge(job))
    broke = "Celery's messages have changed: workers may refuse, or read otherwise, what the ledger queues"
    assert json.loads(b64decode(ours.pop("body"))) == json.loads(b64decode(theirs.pop("body"))), broke
    for own in ("kwargsrepr", "origin"):  # for people only: what it is about, and who sent it
        assert isinstance(ours["headers"].pop(own), str)
        assert isinstance(theirs["headers"].pop(own), str), broke
    assert ours["headers"].pop(RECORDED) is True, "a worker keeps no books of it"
    for part, name in (("headers", "id"), ("headers", "root_id"), ("properties", "correlation_id")):
        ours[part][name] = "same"
    assert ours["properties"].pop("delivery_tag") != theirs["properties"].pop("delivery_tag"), broke
    assert (ours["properties"].pop("reply_to"), type(theirs["properties"].pop("reply_to"))) == ("", str), (
        broke
    )  # no results
    assert ours == theirs, broke


def test_sending_to_a_lane_leaves_its_list_and_nothing_else_in_redis(store: RedisStore, valkey_url: str) -> None:
    with Connection(valkey_url, transport_options=OPTIONS) as connection:
        queue = Queue(BULK, DIRECT, routing_key=BULK)
        app.send_task(TASK, kwargs=arguments_of(a_job()), queue=queue, connection=connection)
    broke = "publishing to the default exchange left something else in Redis, such as a binding"
    assert store.client.keys("*") == [BULK], broke


def test_kombu_and_celery_read_a_nudge(channel: kombu_redis.Channel) -> None:
    _queue(channel, FULL)
    _drain(channel)
    (message,) = received
    broke = "kombu reads the ledger's messages otherwise: workers would refuse them, or open something else"
    assert message.decode() == [[], arguments_of(FULL), message.payload[2]], broke
    assert message.delivery_info == {"exchange": "", "routing_key": URGENT}, broke
    request = Request(message, app=app, task=tasks.open_war_room)
    assert (request.name, request.args, request.kwargs) == (TASK, [], arguments_of(FULL)), broke
    assert (request.eta, request.expires, request.time_limits) == (None, None, [None, None]), broke


def test_messages_are_read_from_the_right_end_of_the_list(channel: kombu_redis.Channel) -> None:
    jobs = [a_job(n, lane=Lane.URGENT) for n in (1, 2, 3)]
    for job in jobs:
        _queue(channel, job)
    for _ in jobs:
        _drain(channel)
    broke = "kombu pops the other end: foreign clients' jobs enter the line upside down"
    assert [message.payload[1]["incident_id"] for message in received] == [job.incident_id for job in jobs], broke


def _queue(channel: kombu_redis.Channel, job: WarRoomJob) -> None:
    channel.client.lpush(queue_name(job.account, job.lane), nudge(job))


def test_the_bookkeeping_of_all_messages_has_one_client_for_a_pool(store: RedisStore, valkey_url: str) -> None:
    broke = "kombu makes a client for each acknowledgement: an eighth of a job's CPU"
    assert store.client.dbsize() == 0
    with Connection(valkey_url, transport=Transport) as connection:
        channel = connection.channel()
        with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
            assert first is second, broke
        assert first.ping()
        assert channel.client is not first, "what waits in BRPOP must not be what acknowledges"
        channel._pool = None  # kombu does so when its connection is lost
        with channel.conn_or_acquire() as third:
            assert third is not first, "the client of a pool that is gone"


@pytest.fixture
def books(store: RedisStore, valkey_url: str) -> Iterator[kombu_redis.Channel]:
    """A channel of a worker that consumes the bulk lane; what it receives stays in hand."""
    assert store.client.dbsize() == 0
    received.clear()
    holding[:] = [True]
    options = {name: value for name, value in OPTIONS.items() if name != "queue_order_strategy"}
    with Connection(valkey_url, transport=Transport, transport_options=options) as connection:
        channel = connection.channel()
        with Consumer(channel, [Queue(BULK, DIRECT, routing_key=BULK)], callbacks=[_receive], accept=["json"]):
            yield channel
        holding.clear()


def test_no_books_are_kept_of_a_message_whose_job_has_a_record(books: kombu_redis.Channel) -> None:
    _queue(books, a_job())
    _drain(books)
    broke = "kombu writes down what the ledger knows already: eight commands and two round trips a job"
    assert books.client.exists("unacked", "unacked_index") == 0, broke
    books.qos.prefetch_count = 1
    assert not books.qos.can_consume(), "it counts as in hand all the same, or a worker would fetch without end"
    received[0].ack()
    assert books.qos.can_consume()


def test_books_are_kept_of_what_other_clients_send(books: kombu_redis.Channel, valkey_url: str) -> None:
    with Connection(valkey_url, transport_options=OPTIONS) as connection:
        queue = Queue(BULK, DIRECT, routing_key=BULK)
        app.send_task(TASK, kwargs=arguments_of(a_job()), queue=queue, connection=connection)
    _drain(books)
    broke = "a foreign message that a dead worker had in hand would never come back"
    assert (books.client.hlen("unacked"), books.client.zcard("unacked_index")) == (1, 1), broke
    received[0].ack()
    assert books.client.exists("unacked", "unacked_index") == 0


@pytest.mark.parametrize("how", ["rejected", "channel closed"])
def test_a_recorded_message_goes_back_to_the_head_of_its_queue(books: kombu_redis.Channel, how: str) -> None:
    for number in (1, 2):
        _queue(books, a_job(number))
    _drain(books)
    if how == "rejected":
        received[0].requeue()
    else:
        books.qos.restore_unacked_once()
    heads = [json.loads(text) for text in reversed(books.client.lrange(BULK, 0, -1))]
    named = [json.loads(b64decode(head["body"]))[1]["incident_id"] for head in heads]
    assert named == [a_job(1).incident_id, a_job(2).incident_id], "a job's message was lost, or came last"
    assert all(RECORDED in head["headers"] for head in heads)
    assert books.client.exists("unacked", "unacked_index") == 0


def test_a_message_that_is_done_with_does_not_go_back(books: kombu_redis.Channel) -> None:
    _queue(books, a_job())
    _drain(books)
    received[0].ack()
    books.qos.restore_unacked_once()
    assert books.client.llen(BULK) == 0, "a copy of each message would come back when a worker ends"


def test_messages_with_a_priority_are_read_too_if_less_often(books: kombu_redis.Channel, valkey_url: str) -> None:
    assert books.priority_steps == [0, 3, 6, 9]
    with Connection(valkey_url, transport_options=OPTIONS) as connection:
        queue = Queue(BULK, DIRECT, routing_key=BULK)
        app.send_task(TASK, kwargs=arguments_of(a_job()), queue=queue, connection=connection, priority=9)
    assert books.client.llen(BULK) == 0, "kombu puts them into lists of their own"
    with suppress(TimeoutError):
        _drain(books, 0.2)  # connects
    asked: list[list[str]] = []
    send = books.client.connection.send_command

    def note_and_send(*words: object) -> None:
        asked.append([*map(str, words)])
        send(*words)

    books.client.connection.send_command = note_and_send
    for _ in range(PRIORITIES_EVERY):
        with suppress(TimeoutError):
            _drain(books, 0.3)
        if received:
            break
    broke = "kombu asks for the lists of all priorities elsewhere now: they would stay unread, or cost again"
    assert len(received) == 1, broke
    assert {len(words) for words in asked if words[0] == "BRPOP"} <= {1 + 1 + 1, 1 + 4 + 1}, broke
