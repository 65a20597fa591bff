"""Recovery: what would wait for ever is queued again, by whichever worker looks first."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import pytest

from sandbox.stack import until
from tests.desk import id_of, messages
from tests.fakes import Clock, a_job
from worker import bootstrap, recovery
from worker.errors import OutcomeUnknown, QueueUnavailable
from worker.gate import Gate
from worker.jobs import JobState, Lane, WarRoomJob
from worker.ledger import DEAD_MS, LOST_MS, Ledger
from worker.messages import queue_name
from worker.records import Claim, Stray
from worker.recovery import EVERY_S, MOST, recover, recovery_rounds
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.bootstrap import Runtime
    from worker.redis_store import RedisStore

TIMEOUT: Final = OutcomeUnknown("no answer", code="Timeout")


@pytest.fixture
def runtime(store: RedisStore, valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    assert store.client.dbsize() == 0
    monkeypatch.delenv("WARROOMS_ACCOUNTS_FILE", raising=False)
    monkeypatch.setenv("REDIS_URL", valkey_url)
    monkeypatch.setenv("FLASHDUTY_APP_KEY", "key")
    monkeypatch.setenv("WARROOMS_RATES", "600/minute")
    runtime = bootstrap.build(Settings.load(), "w1", Gate())
    yield runtime
    runtime.stopping.set()
    runtime.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(store: RedisStore, clock: Clock) -> Ledger:
    return Ledger(store, "default", clock=clock)


def default_job(number: int = 1, lane: Lane = Lane.BULK) -> WarRoomJob:
    return a_job(number, account="default", lane=lane, member_ids=(7,))


def take(ledger: Ledger, store: RedisStore, job: WarRoomJob) -> Claim:
    """As a worker does: its message leaves the queue, and it claims."""
    ledger.enqueue([job])
    store.client.rpop(queue_name("default", job.lane))
    claim = ledger.claim(job, "w0")
    assert isinstance(claim, Claim)
    return claim


def put_aside(ledger: Ledger, store: RedisStore, job: WarRoomJob, delay_s: float = 5.0) -> None:
    ledger.retry(take(ledger, store, job), TIMEOUT, delay_s, look_first=True)


def look(ledger: Ledger, store: RedisStore) -> int:
    """Looks, when nobody else has just looked."""
    store.client.delete("warrooms:{default}:nudged")
    return recover(ledger)


def queued(store: RedisStore, lane: Lane = Lane.BULK) -> list[str]:
    return [id_of(text) for text in messages(store, queue_name("default", lane))]


def test_nothing_due_queues_nothing(ledger: Ledger, clock: Clock, store: RedisStore) -> None:
    put_aside(ledger, store, default_job())
    clock.forward(4.999)
    assert look(ledger, store) == 0
    assert queued(store) == []


@pytest.mark.parametrize("lane", list(Lane))
def test_a_due_retry_brings_a_message(ledger: Ledger, clock: Clock, store: RedisStore, lane: Lane) -> None:
    job = default_job(lane=lane)
    put_aside(ledger, store, job)
    ledger.enqueue([default_job(2, lane)])
    clock.forward(5)
    assert look(ledger, store) == 1
    record = ledger.record(job.id)
    assert record is not None
    assert (record.state, record.job) == (JobState.QUEUED, job)
    assert queued(store, lane) == [default_job(2).id, job.id]


def test_a_message_of_recovery_tells_the_whole_job(ledger: Ledger, clock: Clock, store: RedisStore) -> None:
    put_aside(ledger, store, default_job(lane=Lane.URGENT))
    before = messages(store, "warrooms.default.urgent")
    ledger.enqueue([default_job(2, Lane.URGENT)])
    clock.forward(5)
    look(ledger, store)
    other, ours = (_body(text) for text in messages(store, "warrooms.default.urgent"))
    assert before == []
    assert ours != other
    assert len(ours) == len(other), "the same fields"


def _body(text: str) -> str:
    return text.partition('"body": "')[2].partition('"')[0]


def test_the_jobs_of_a_dead_worker_are_queued_again_and_it_is_said(
    ledger: Ledger, clock: Clock, store: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    for n in (1, 2):
        ledger.begin(take(ledger, store, default_job(n)), sent=True)
    for _ in range(DEAD_MS // 2000 + 1):
        ledger.beat("w1")
        clock.forward(2)
    with caplog.at_level(logging.WARNING):
        assert look(ledger, store) == 2
    assert queued(store) == [default_job(1).id, default_job(2).id]
    assert caplog.messages == ["queued again: 2 jobs that a dead worker had in hand"]
    again = ledger.claim(default_job(), "w1")
    assert isinstance(again, Claim)
    assert again.look_first


def test_lost_messages_are_written_again_and_it_is_said(
    ledger: Ledger, clock: Clock, store: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.enqueue([default_job()])
    store.client.delete("warrooms.default")
    assert look(ledger, store) == 0
    clock.forward(LOST_MS / 1000)
    with caplog.at_level(logging.WARNING):
        assert look(ledger, store) == 1
    assert queued(store) == [default_job().id]
    assert caplog.messages == ["written again: 1 messages that were lost on their way to a worker"]


def test_of_due_retries_nothing_is_said(
    ledger: Ledger, clock: Clock, store: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    put_aside(ledger, store, default_job())
    clock.forward(5)
    with caplog.at_level(logging.INFO):
        look(ledger, store)
    assert caplog.messages == []


def test_one_look_queues_a_bounded_number_and_the_next_ones_the_rest(
    ledger: Ledger, clock: Clock, store: RedisStore
) -> None:
    jobs = [default_job(n) for n in range(1, 2 * MOST + 11)]
    ledger.enqueue(jobs)
    store.client.delete("warrooms.default")
    for job in jobs:
        claim = ledger.claim(job, "w0")
        assert isinstance(claim, Claim)
        ledger.retry(claim, TIMEOUT, 5, look_first=False)
    clock.forward(5)
    assert [look(ledger, store) for _ in range(4)] == [MOST, MOST, 10, 0]
    assert queued(store) == [job.id for job in jobs]


def test_workers_that_look_at_the_same_time_queue_once(ledger: Ledger, clock: Clock, store: RedisStore) -> None:
    put_aside(ledger, store, default_job())
    clock.forward(5)
    assert recover(ledger) == 1
    assert recover(Ledger(store, "default", clock=clock)) == 0
    assert queued(store) == [default_job().id]
    assert 0 < store.client.pttl("warrooms:{default}:nudged") <= EVERY_S * 1000


def test_a_look_whose_worker_died_before_it_queued_is_looked_again(
    ledger: Ledger, clock: Clock, store: RedisStore
) -> None:
    put_aside(ledger, store, default_job())
    clock.forward(5)
    assert len(ledger.strays(MOST, 1000)) == 1
    assert queued(store) == []
    assert look(ledger, store) == 1


def test_a_record_that_is_gone_is_not_queued(ledger: Ledger, clock: Clock, store: RedisStore) -> None:
    put_aside(ledger, store, default_job())
    store.client.delete(*store.client.keys("warrooms:{default}:job:*"))
    clock.forward(5)
    assert look(ledger, store) == 0
    assert store.client.exists("warrooms:{default}:retries") == 0


class Troubled(Ledger):
    """A ledger that raises first one error and then another."""

    troubles = 0

    def strays(self, most: int, every_ms: int) -> list[Stray]:
        self.troubles += 1
        if self.troubles % 2:
            raise QueueUnavailable("cannot reach Redis")
        raise ZeroDivisionError(most, every_ms)


def test_a_workers_thread_looks_after_all_accounts_whatever_becomes_of_one(
    runtime: Runtime, store: RedisStore, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "EVERY_S", 0.01)
    good = runtime.desks["default"]
    bad: Any = replace(good, ledger=Troubled(runtime.store, "bad"))
    put_aside(good.ledger, store, default_job(1), delay_s=0)
    thread = recovery_rounds(replace(runtime, desks={"bad": bad, "default": good}))
    thread.start()
    until(lambda: bad.ledger.troubles >= 2, "both kinds of trouble")
    assert store.client.brpop(["warrooms.default"], timeout=5)
    put_aside(good.ledger, store, default_job(2), delay_s=0)
    assert store.client.brpop(["warrooms.default"], timeout=5), "the thread went on after both kinds of trouble"
    runtime.stopping.set()
    thread._thread.join(5)
    assert not thread._thread.is_alive()
    assert "cannot reach Redis" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_second_signal_in_the_middle_of_the_first_stops_the_worker_all_the_same(runtime: Runtime) -> None:
    with runtime.stopping._cond:  # type: ignore[attr-defined] # as the first handler holds it when it is interrupted
        runtime.stop()
    assert runtime.stopping.wait(10)
