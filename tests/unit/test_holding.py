"""Holding while Redis is away: what the log says of it, and its end when the worker must stop."""

from __future__ import annotations

import threading

import pytest

from worker.errors import QueueUnavailable
from worker.holding import REMIND_S, SETTLES_S, Holding

AWAY = QueueUnavailable("cannot reach Redis at r:6379/0 (no answer in time)")


class Event(threading.Event):
    """Waits no time; `set` says whether the worker must stop."""

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        return self.is_set()


class Outage:
    """A hold with a clock that the test sets."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.stopping = Event()
        self.hold = Holding(self.stopping, clock=lambda: self.now_s)

    def fails(self, after_s: float, tries: int = 1) -> bool:
        self.now_s += after_s
        return self.hold(tries, AWAY)

    def answers(self, after_s: float) -> None:
        self.now_s += after_s
        self.hold.back()


@pytest.fixture
def outage() -> Outage:
    return Outage()


def test_a_process_says_once_that_it_holds_and_why_and_once_that_it_is_over(
    outage: Outage, caplog: pytest.LogCaptureFixture
) -> None:
    assert all(outage.fails(0.1) for _thread in range(6))
    assert all(outage.fails(1.0, tries) for tries in range(2, 22))
    for _thread in range(6):
        outage.answers(0.1)
    assert caplog.messages == [
        f"holding, no call goes out until Redis answers: {AWAY}",
        "Redis answers again after 20.6 s",
    ]


def test_it_reminds_of_it_now_and_then(outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(62):
        outage.fails(1.0)
    assert [message.split(":")[0] for message in caplog.messages[1:]] == [
        f"still holding, for {REMIND_S:.0f} s now",
        f"still holding, for {2 * REMIND_S:.0f} s now",
    ]


def test_a_straggler_begins_no_new_outage_but_what_lasts_does(outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    outage.fails(0.0)
    outage.answers(1.0)
    outage.fails(0.1, tries=4)
    assert len(caplog.messages) == 2
    outage.fails(SETTLES_S, tries=5)
    assert len(caplog.messages) == 3
    outage.answers(1.0)
    outage.fails(0.1)
    assert len(caplog.messages) == 5, "a first failure is a new outage"


def test_a_worker_that_must_stop_tries_a_little_longer(outage: Outage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _s: None)
    outage.stopping.set()
    assert outage.fails(0.0)
    assert outage.fails(4.9)
    assert not outage.fails(0.2)
