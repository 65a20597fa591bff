"""Who acknowledges a message: the thread of its task, or the consumer's loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from kombu import Connection, Queue
from kombu.transport import virtual

from worker.acknowledgement import at_once
from worker.gate import GATE
from worker.messages import RECORDED
from worker.transport import Stops

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFETCH = 2


class Desk:
    """A channel with a queue of messages, and what was left to the loop."""

    def __init__(self, connection: Connection) -> None:
        self.left: list[tuple[Any, ...]] = []
        self.woken: list[str] = []
        self.call_soon_ack = at_once(lambda *call, **options: self.left.append((*call, options)))
        self._channel = connection.channel()
        self._channel.QoS = type("Noted", (Stops, virtual.QoS), {})
        self._channel.basic_qos(0, PREFETCH, False)
        self._queue = Queue("jobs", channel=self._channel)
        self._queue.declare()

    def message(self, **headers: object) -> Any:  # noqa: ANN401
        self._channel.basic_publish(self._channel.prepare_message("{}", headers=headers), "", "jobs")
        return self._queue.get()

    @property
    def can_consume(self) -> bool:
        return bool(self._channel.qos.can_consume())


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with Connection("memory://") as connection:
        desk = Desk(connection)
        monkeypatch.setattr(GATE, "wake", lambda: desk.woken.append("woken"))
        yield desk
        connection.default_channel.queue_purge("jobs")


def test_the_ledgers_own_message_is_acknowledged_at_once_and_wakes_nobody(desk: Desk) -> None:
    message = desk.message(**{RECORDED: True})
    desk.call_soon_ack(message.ack_log_error, None, ())
    assert message.acknowledged
    assert (desk.left, desk.woken) == ([], [])


def test_a_loop_that_stopped_because_there_were_enough_is_woken(desk: Desk) -> None:
    one, two = (desk.message(**{RECORDED: True}) for _ in range(PREFETCH))
    desk.call_soon_ack(one.ack_log_error, None, ())
    assert desk.woken == [], "it has not looked: it will ask for more by itself"
    desk.message(**{RECORDED: True})
    assert not desk.can_consume, "the loop looks, and stops"
    desk.call_soon_ack(two.ack_log_error, None, ())
    assert desk.woken == ["woken"]
    assert desk.can_consume


@pytest.mark.parametrize("headers", [{}, {RECORDED: True, "eta": "2026-11-26T09:30:00+00:00"}])
def test_another_clients_message_is_the_loops(desk: Desk, headers: dict[str, object]) -> None:
    message = desk.message(**headers)
    desk.call_soon_ack(message.ack_log_error, "log", ("errors",))
    assert not message.acknowledged
    assert desk.left == [(message.ack_log_error, "log", ("errors",), {})]


def test_what_goes_back_to_its_queue_is_the_loops(desk: Desk) -> None:
    message = desk.message(**{RECORDED: True})
    desk.call_soon_ack(message.reject_log_error, None, (), requeue=True)
    assert not message.acknowledged
    assert desk.left == [(message.reject_log_error, None, (), {"requeue": True})]
