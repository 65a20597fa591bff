"""Recovery: what waits in the ledger is queued again, by whichever worker looks first."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from tests.fakes import Clock, a_job
from worker import bootstrap
from worker.errors import OutcomeUnknown, QueueUnavailable
from worker.gate import Gate
from worker.jobs import JobState, Lane, WarRoomJob
from worker.ledger import LEASE_MS, NUDGE_AGAIN_MS, Ledger
from worker.records import Claim
from worker.recovery import SOON_S, Recovery, queue_due
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.bootstrap import AccountDesk, Runtime
    from worker.redis_store import RedisStore

URGENT: Final = "warrooms.default.urgent"
AGAIN: Final = "warrooms.default.again"
TIMEOUT: Final = OutcomeUnknown("no answer", code="Timeout")


@pytest.fixture
def runtime(publishing: None, valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:  # noqa: ARG001
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
def desk(runtime: Runtime, clock: Clock) -> AccountDesk:
    """The account's desk, its ledger on a clock the test sets."""
    return replace(runtime.desks["default"], ledger=Ledger(runtime.store, "default", clock=clock))


def default_job(number: int = 1, lane: Lane = Lane.BULK) -> WarRoomJob:
    return a_job(number, account="default", lane=lane, member_ids=(7,))


def put_aside(ledger: Ledger, job: WarRoomJob, delay_s: float = 5.0) -> None:
    ledger.enqueue([job])
    claim = ledger.claim(job.id, "w0")
    assert isinstance(claim, Claim)
    ledger.retry(claim, TIMEOUT, delay_s, look_first=True)


def look(desk: AccountDesk, store: RedisStore) -> int:
    """Looks, when nobody else has just looked."""
    store.client.delete("warrooms:{default}:nudged")
    return queue_due(desk, store)


def nudged(store: RedisStore) -> list[str]:
    queues = (URGENT, AGAIN)
    return [json.loads(raw)["headers"]["id"] for q in queues for raw in reversed(store.client.lrange(q, 0, -1))]


def test_nothing_due_publishes_nothing(desk: AccountDesk, clock: Clock, store: RedisStore) -> None:
    put_aside(desk.ledger, default_job())
    clock.forward(4.999)
    assert look(desk, store) == 0
    assert nudged(store) == []


@pytest.mark.parametrize("lane", list(Lane))
def test_a_due_retry_goes_to_the_head_of_the_line_and_keeps_its_lane(
    desk: AccountDesk, clock: Clock, store: RedisStore, lane: Lane
) -> None:
    job = default_job(lane=lane)
    put_aside(desk.ledger, job)
    clock.forward(5)
    assert look(desk, store) == 1
    record = desk.ledger.record(job.id)
    assert record is not None
    assert (record.state, record.job.lane) == (JobState.QUEUED, lane)
    assert nudged(store) == [job.id]
    assert store.client.llen("warrooms.default") == 0


def test_a_job_whose_worker_died_is_queued_again(desk: AccountDesk, clock: Clock, store: RedisStore) -> None:
    desk.ledger.enqueue([default_job()])
    desk.ledger.claim(default_job().id, "w0")
    clock.forward(LEASE_MS / 1000)
    assert look(desk, store) == 1
    assert nudged(store) == [default_job().id]
    again = desk.ledger.claim(default_job().id, "w1")
    assert isinstance(again, Claim)
    assert again.look_first


def test_not_more_is_nudged_than_can_be_served_until_the_next_look(
    desk: AccountDesk, clock: Clock, store: RedisStore
) -> None:
    for n in range(1, 101):
        put_aside(desk.ledger, default_job(n))
    clock.forward(5)
    at_once = look(desk, store)
    assert at_once == math.ceil(desk.account.plan.rate_per_s * SOON_S)
    assert look(desk, store) == 0  # while nobody fetches them
    while nudged(store):
        store.client.delete(AGAIN)
        at_once += look(desk, store)
    assert at_once == 100


def test_workers_that_look_at_the_same_time_nudge_once(desk: AccountDesk, clock: Clock, store: RedisStore) -> None:
    for n in range(1, 101):
        put_aside(desk.ledger, default_job(n))
    clock.forward(5)
    assert queue_due(desk, store) > 0
    assert queue_due(desk, store) == 0
    assert len(nudged(store)) < 100


def test_a_nudge_that_was_lost_is_sent_again(desk: AccountDesk, clock: Clock, store: RedisStore) -> None:
    put_aside(desk.ledger, default_job())
    clock.forward(5)
    look(desk, store)
    store.client.delete(URGENT, AGAIN)
    clock.forward(NUDGE_AGAIN_MS / 1000)
    assert look(desk, store) == 1
    assert nudged(store) == [default_job().id]


def test_a_record_that_is_gone_is_not_nudged(desk: AccountDesk, clock: Clock, store: RedisStore) -> None:
    put_aside(desk.ledger, default_job())
    store.client.delete(*store.client.keys("warrooms:{default}:job:*"))
    clock.forward(5)
    assert look(desk, store) == 0
    assert store.client.exists("warrooms:{default}:retries") == 0


class Troubled(Ledger):
    """A ledger that raises first one error and then another, and counts."""

    def take_due(self, most: int, every_ms: int) -> list[tuple[str, Lane]]:
        troubles.append(most)
        if len(troubles) % 2:
            raise QueueUnavailable("cannot reach Redis")
        raise ZeroDivisionError(every_ms)


troubles: list[int] = []


def test_a_workers_thread_looks_after_all_accounts_whatever_becomes_of_one(
    runtime: Runtime, store: RedisStore, caplog: pytest.LogCaptureFixture
) -> None:
    good = runtime.desks["default"]
    bad = replace(good, ledger=Troubled(runtime.store, "bad"))
    put_aside(good.ledger, default_job(1), delay_s=0)
    recovery = Recovery(replace(runtime, desks={"bad": bad, "default": good}))
    recovery.start()
    assert store.client.brpop([AGAIN], timeout=5)
    put_aside(good.ledger, default_job(2), delay_s=0)
    assert store.client.brpop([AGAIN], timeout=5), "the thread went on after both kinds of trouble"
    runtime.stopping.set()
    recovery._thread.join(5)
    assert not recovery._thread.is_alive()
    assert "cannot reach Redis" in caplog.text
    assert "ZeroDivisionError" in caplog.text
