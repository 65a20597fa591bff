"""What we lean on in Celery's worker. A red test here says what broke for us: read its message first."""

from __future__ import annotations

import inspect
import logging
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
from worker.celery_app import app, declare_queues
from worker.guard import Checked
from worker.messages import TASK
from worker.task_events import EVERY_S, TaskEvents
from worker.tasks import GateTick
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


def test_the_consumer_has_a_hub_and_it_ticks(worker: WorkController) -> None:
    broke = "without an event loop the gate is asked once a second at best: every account slows down"
    assert worker.should_use_eventloop(), broke
    worker.blueprint.apply(worker)
    hub = getattr(worker.consumer, "hub", None)
    assert isinstance(hub, Hub), broke
    assert _ticks(hub) == 0
    GateTick(worker.consumer).start(worker.consumer)
    assert _ticks(hub) == 1, "hub.call_repeatedly() does nothing: with all queues hidden the worker sleeps for ever"


def _ticks(hub: Hub) -> int:
    return sum(getattr(scheduled.entry.fun, "__wrapped__", None) is tasks._nothing for scheduled in hub.timer.queue)


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
    assert len(calls) > 2, "call_repeatedly() calls once: the gate is never asked again"


def test_the_gates_tick_is_a_step_of_the_consumer() -> None:
    assert GateTick in app.steps["consumer"], "nothing wakes the consumer while every queue is hidden"


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
