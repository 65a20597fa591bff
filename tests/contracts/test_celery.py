"""What we lean on in Celery's worker. A red test here says what broke for us: read its message first."""

from __future__ import annotations

import inspect
import logging
import socket
from threading import Thread
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import kombu
import pytest
from celery import Celery, signals
from celery.app.trace import build_tracer
from celery.events.state import State
from celery.worker import WorkController
from celery.worker.consumer import consumer, events
from kombu.asynchronous import Hub

from worker import tasks, transport
from worker.acknowledgement import AtOnce
from worker.celery_app import app, declare_queues
from worker.gate import GATE
from worker.guard import Checked
from worker.messages import TASK
from worker.task_events import EVERY_S, TaskEvents
from worker.tasks import GateAlarm
from worker.verdict import Failed, Later

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def worker() -> Iterator[WorkController]:
    """A worker as `celery -A worker worker` builds it, not started."""
    was = app.conf.task_queues
    declare_queues(["acc"])
    signals.worker_init.disconnect(tasks._start)  # it would end a process that has no app key
    built = WorkController(app=app, hostname="contract@test", pool_cls=app.conf.worker_pool, concurrency=1)
    yield built
    signals.worker_init.connect(tasks._start)
    app.conf.task_queues = was
    app.amqp.queues = None
    del app.amqp.queues


def test_the_consumer_has_a_hub_and_the_gate_can_wake_it(
    worker: WorkController, monkeypatch: pytest.MonkeyPatch
) -> None:
    broke = "without an event loop the gate is asked once a second at best: every account slows down"
    assert worker.should_use_eventloop(), broke
    worker.blueprint.apply(worker)
    hub = getattr(worker.consumer, "hub", None)
    assert isinstance(hub, Hub), broke
    for name in ("wake", "wake_in"):
        monkeypatch.setattr(GATE, name, None)
    GateAlarm(worker.consumer).start(worker.consumer)
    assert _looks(hub) == 1, "hub.call_repeatedly() does nothing: whatever goes wrong, the worker sleeps for ever"
    GATE.wake_in(5.0)
    assert _looks(hub) == 2, "hub.call_later() does nothing: with all queues hidden the worker sleeps for a second"
    GATE.wake()
    assert len(hub._ready) == 1, "hub.call_soon() does nothing: a slot that comes sooner is not seen"


def _looks(hub: Hub) -> int:
    look = GATE.look
    return sum(
        getattr(scheduled.entry.fun, "__wrapped__", scheduled.entry.fun) == look for scheduled in hub.timer.queue
    )


class Poller:
    """A hub's own poller, with how long it was asked to wait each time, and whether something came."""

    def __init__(self, hub: Hub) -> None:
        self._inner = hub.poller
        self.asked_s: list[float] = []
        self.came: list[bool] = []
        self.register, self.unregister, self.close = self._inner.register, self._inner.unregister, self._inner.close

    def poll(self, timeout: float) -> Any:  # noqa: ANN401
        self.asked_s.append(timeout)
        events = self._inner.poll(timeout)
        self.came.append(bool(events))
        return events


@pytest.fixture
def polled() -> Iterator[tuple[Hub, Poller]]:
    """A hub that has something to read from, where nothing comes."""
    ours, theirs = socket.socketpair()
    hub = Hub()
    hub.poller = poller = Poller(hub)
    hub.add_reader(ours, lambda: None)
    yield hub, poller
    hub.close()
    ours.close()
    theirs.close()


def test_a_timer_that_is_set_by_what_came_or_by_a_timer_is_in_time(polled: tuple[Hub, Poller]) -> None:
    hub, poller = polled
    hub.call_soon(hub.call_later, 0.02, hub.call_later, 0.01, lambda: None)
    loop = hub.create_loop()
    for _ in range(5):
        next(loop)
    broke = "the loop decides how long it sleeps before it calls what is due: it sleeps past the next slot"
    assert poller.asked_s[0] <= 0.02, broke
    assert any(0 < asked_s <= 0.01 for asked_s in poller.asked_s[1:]), broke


def test_a_timer_that_is_set_on_a_tick_is_not_so_the_gate_wakes_the_loop_besides(polled: tuple[Hub, Poller]) -> None:
    hub, poller = polled
    once = iter([lambda: hub.call_later(0.001, lambda: None)])
    hub.on_tick.add(lambda: [late() for late in once])  # type: ignore[no-untyped-call]
    next(hub.create_loop())
    assert poller.asked_s == [1], "it is in time now: Gate.rests() need not start a thread any more"


def test_another_thread_wakes_the_loop(polled: tuple[Hub, Poller]) -> None:
    hub, poller = polled
    loop = hub.create_loop()
    hub.call_repeatedly(30.0, lambda: None)
    next(loop)
    waker = Thread(target=hub.call_soon, args=(lambda: None,))
    waker.start()
    next(loop)
    waker.join()
    assert any(poller.came), "call_soon() does not wake the loop: a slot that comes sooner is used late"


def test_a_hub_calls_again_and_again() -> None:
    calls: list[int] = []
    hub = Hub()
    hub.call_repeatedly(0.001, calls.append, 1)
    loop = hub.create_loop()
    for _ in range(200):
        next(loop)
        if len(calls) > 2:
            break
    hub.close()
    assert len(calls) > 2, "call_repeatedly() calls once: whatever goes wrong, the worker sleeps for ever"


def test_the_gates_alarm_is_a_step_of_the_consumer() -> None:
    assert GateAlarm in app.steps["consumer"], "nothing wakes the consumer while every queue is hidden"


def test_a_consumer_acknowledges_by_a_method_that_we_may_replace(worker: WorkController) -> None:
    broke = "Celery acknowledges otherwise: each job wakes the loop once more"
    handler = inspect.getsource(consumer.Consumer.create_task_handler)
    assert "call_soon_ack = self.call_soon_ack" in handler, broke
    assert "(message.ack_log_error,)" in handler, broke
    worker.blueprint.apply(worker)
    its_own = worker.consumer.call_soon_ack
    for _ in range(2):  # it is started again when a connection is lost
        AtOnce(worker.consumer).start(worker.consumer)
        assert worker.consumer.call_soon_ack.__closure__[0].cell_contents == its_own, broke


def test_the_queues_are_those_of_the_accounts_urgent_first(worker: WorkController) -> None:
    assert [queue.name for queue in worker.app.amqp.queues.values()] == ["warrooms.acc.urgent", "warrooms.acc"]


def test_the_task_acknowledges_late_and_keeps_no_result() -> None:
    task = app.tasks[TASK]
    assert task.acks_late, "a killed worker would take its jobs' messages with it"
    assert task.ignore_result
    assert app.conf.worker_prefetch_multiplier == 1


def test_the_pool_is_one_of_threads(worker: WorkController) -> None:
    assert worker.pool_cls.__module__ == "celery.concurrency.thread", "a process per job in flight costs 35 MB each"


def test_a_worker_that_lost_redis_tries_again_every_two_seconds() -> None:
    broke = "Celery connects otherwise: after an outage of Redis workers idle for up to half a minute"
    assert app.connection_for_read().ensure_connection.__func__ is transport.Connection.ensure_connection, broke
    assert "conn.ensure_connection(" in inspect.getsource(consumer.Consumer.ensure_connected), broke
    known = inspect.signature(kombu.Connection._ensure_connection).parameters
    assert known.keys() >= transport.PAUSES.keys(), broke
    pauses: list[float] = []
    nowhere = app.connection_for_read("redis://127.0.0.1:1/0")
    with pytest.raises(kombu.exceptions.OperationalError):
        nowhere.ensure_connection(errback=lambda _error, pause_s: pauses.append(pause_s), max_retries=1)
    assert pauses == [0.5], broke


def test_what_is_said_of_a_task_goes_out_in_order() -> None:
    broke = "Flower would show the job that a message named, not the one that it serves"
    assert "c.event_dispatcher" in inspect.getsource(events.Events.start), broke
    assert "buffer_group" in inspect.getsource(events.Events.start), broke
    state = State()
    for kwargs, kind in (("A", "received"), ("A", "started"), ("B", "received"), ("", "succeeded")):
        said = {"kwargs": kwargs} if kwargs else {"result": "'opened'", "runtime": 1.0}
        state.event(
            {
                "type": f"task-{kind}",
                "uuid": "u",
                "hostname": "w",
                "timestamp": 1,
                "local_received": 1,
                "clock": 1,
                **said,
            }
        )
    assert (state.tasks["u"].kwargs, state.tasks["u"].state) == ("B", "SUCCESS"), broke


def test_events_of_tasks_wait_until_they_are_flushed() -> None:
    broke = "every event goes out by itself: a tenth of a job's CPU"
    sent: list[Any] = []
    with kombu.Connection("memory://") as connection:
        dispatcher = app.events.Dispatcher(connection, hostname="w@test", buffer_group=["task"])
        dispatcher._publish = lambda event, *_, **__: sent.append(event)
        asked: list[tuple[float, Any]] = []
        consumer_ = SimpleNamespace(
            hub=SimpleNamespace(call_repeatedly=lambda delay_s, call: asked.append((delay_s, call))),
            event_dispatcher=dispatcher,
        )
        step = TaskEvents(consumer_)
        step.start(consumer_)
        for number in range(3):
            dispatcher.send("task-started", uuid=str(number))
        assert sent == [], broke
        assert asked == [(EVERY_S, dispatcher.flush)]
        dispatcher.flush()
        assert [event["uuid"] for event in sent[0]] == ["0", "1", "2"], broke
        dispatcher.send("task-succeeded", uuid="3")
        step.shutdown(consumer_)
        assert len(sent) == 2, "what is in the buffer when a worker ends is lost"


def test_the_consumer_asks_its_own_hooks_what_to_do_with_what_is_no_task(worker: WorkController) -> None:
    broke = "worker/guard.py replaces these: without them Celery logs whole bodies, and nobody sees what was refused"
    source = inspect.getsource(consumer.Consumer.create_task_handler)
    for hook in ("on_unknown_message", "on_unknown_task", "on_invalid_task", "on_decode_error"):
        assert f"self.{hook}" in source, broke
    assert worker.app.tasks[TASK].Request is Checked, broke


def test_a_request_can_be_given_its_body_decoded() -> None:
    broke = "Checked hands over what it has checked, and leaves out callbacks: else one bad message comes back for ever"
    parameters = inspect.signature(Checked.__mro__[1].__init__).parameters
    assert {"message", "body", "headers", "decoded"} <= parameters.keys(), broke
    assert "if decoded" in inspect.getsource(Checked.__mro__[1].__init__), broke


@pytest.mark.parametrize(
    ("raised", "kind", "told"),
    [
        (Later("back in line: too fast"), "task-retried", {"exception": "back in line: too fast"}),
        (Failed("no responders"), "task-failed", {"exception": "no responders"}),
        (None, "task-succeeded", {"result": "'opened oc_1'"}),
    ],
)
def test_whatever_the_verdict_the_message_is_acknowledged_once_and_nothing_is_sent(
    raised: Exception | None, kind: str, told: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """The ledger decides what happens next, never a second delivery."""
    broke = "a 429 would be delivered again by Celery, or Flower would show no retry, or a traceback would be logged"
    nowhere = Celery(broker="redis://127.0.0.1:1/0", set_as_current=False)
    nowhere.conf.update(
        {name: app.conf[name] for name in ("task_acks_on_failure", "task_store_errors_even_if_ignored")}
    )

    @nowhere.task(name="t", ignore_result=True, acks_late=True, throws=(Failed,), Request=Checked)  # type: ignore[untyped-decorator]
    def task() -> str:
        if raised is not None:
            raise raised
        return "opened oc_1"

    said: list[tuple[str, dict[str, object]]] = []
    done: list[str] = []
    request = Checked(
        kombu.Message(delivery_info={"routing_key": "q"}, properties={}),
        body=([], {}, {}),
        headers={"id": "u", "task": "t"},
        decoded=True,
        app=nowhere,
        task=task,
        eventer=_Events(said),
        on_ack=lambda *_: done.append("acknowledged"),
        on_reject=lambda *_: done.append("rejected"),
    )
    with caplog.at_level(logging.WARNING):
        result, info, took_s, shown = build_tracer("t", task, app=nowhere)("u", (), {}, {"id": "u"})
        request.on_success((1, result, took_s) if info else (0, shown, took_s))
    assert done == ["acknowledged"], broke
    (event,) = said
    assert event[0] == kind, broke
    assert event[1].items() >= told.items(), broke
    assert "traceback" not in event[1], broke
    assert caplog.records == [], broke


class _Events:
    """Celery's event dispatcher, as a request needs it."""

    enabled = True

    def __init__(self, said: list[tuple[str, dict[str, object]]]) -> None:
        self._said = said

    def send(self, kind: str, **fields: object) -> None:
        self._said.append((kind, fields))
