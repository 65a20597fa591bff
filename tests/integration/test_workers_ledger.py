"""A job, its slot and the beginning of its attempt, in one step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.desk import BASE, audit
from tests.fakes import A_ROOM, a_job
from worker.errors import QueueUnavailable
from worker.jobs import JobState, Lane
from worker.rate_limit import plan_of
from worker.retry_policy import MAX_ATTEMPTS
from worker.slots import NotYet, Reserved, Taken
from worker.token_bucket import TokenBucket
from worker.workers_ledger import WorkersLedger

if TYPE_CHECKING:
    from worker.records import Record
    from worker.redis_store import RedisStore

JOB = a_job(1)
PLAN = plan_of("1000/minute")


class Desk:
    """A ledger beside its bucket, whose first slot is there when `ready`."""

    def __init__(self, store: RedisStore) -> None:
        self.store = store
        self.now_us = 1_790_000_000_000_000
        self.bucket = TokenBucket(store, "acc", PLAN, clock=lambda: self.now_us)
        self.ledger = WorkersLedger(store, "acc", clock=lambda: self.now_us // 1000).beside(self.bucket)

    def ready(self) -> None:
        """The bucket was seen, and has filled."""
        self.bucket.hit()
        self.now_us += 60_000_000

    def take(self) -> Taken:
        taken = self.ledger.take(JOB, "w1")
        assert isinstance(taken, Taken)
        return taken

    def record(self) -> Record:
        record = self.ledger.record(JOB.id)
        assert record is not None
        return record

    def held(self) -> list[tuple[bool, bool]]:
        return [(held.began, held.sent) for held in self.ledger._hands.all()[0]]


@pytest.fixture
def desk(store: RedisStore) -> Desk:
    desk = Desk(store)
    desk.ledger.beat("w1")
    desk.ledger.enqueue([JOB], "night")
    return desk


def test_with_a_slot_the_attempt_has_begun(desk: Desk) -> None:
    desk.ready()
    taken = desk.take()
    assert isinstance(taken.answer, Reserved)
    assert (desk.record().state, desk.record().attempts, desk.held()) == (JobState.OPENING, 1, [(True, True)])
    assert desk.record().began_at is not None
    assert desk.ledger.has_room(taken.claim, JobState.OPENED, A_ROOM, "r")
    audit(desk.store, popped=1)


def test_without_one_it_waits_in_hand_and_begins_with_the_next(desk: Desk) -> None:
    taken = desk.take()
    assert isinstance(taken.answer, NotYet)
    assert (desk.record().state, desk.record().attempts, desk.held()) == (JobState.OPENING, 0, [(False, False)])
    assert isinstance(desk.ledger.slot(taken.claim, sent=True), NotYet)
    assert (desk.record().began_at, desk.held()) == (None, [(False, False)]), "it is not sent: it got no slot"
    desk.now_us += 10_000_000
    assert isinstance(desk.ledger.slot(taken.claim, sent=True, ticket=True), Reserved)
    assert (desk.record().attempts, desk.held()) == (1, [(True, True)])


def test_what_looks_first_is_not_sent_with_its_first_slot(desk: Desk) -> None:
    desk.ready()
    claim = desk.take().claim
    desk.ledger.release(claim, look_first=True)
    again = desk.take()
    assert (again.claim.look_first, desk.held()) == (True, [(True, False)])
    assert isinstance(desk.ledger.slot(again.claim, sent=True), Reserved)
    assert desk.held() == [(True, True)]


def test_a_lost_claim_gets_no_slot(desk: Desk) -> None:
    claim = desk.take().claim
    desk.now_us += 10_000_000
    desk.ledger.cancel([JOB.id])
    before = desk.bucket.peek().tokens
    assert desk.ledger.slot(claim, sent=True) is None
    assert (desk.bucket.peek().tokens, desk.held()) == (before, [])


def test_who_has_used_up_its_attempts_asks_for_none(desk: Desk) -> None:
    desk.ready()
    desk.store.client.hset(f"{BASE}:job:{JOB.incident_id}.{JOB.integration_id}", "attempts", MAX_ATTEMPTS)
    before = desk.bucket.peek().tokens
    taken = desk.take()
    assert (taken.answer, taken.claim.attempt) == (None, MAX_ATTEMPTS + 1)
    assert desk.bucket.peek().tokens == before


def test_nobody_waits_and_nobody_asks(desk: Desk) -> None:
    desk.ledger.cancel([JOB.id])
    assert desk.ledger.take(JOB, "w1") is JobState.CANCELLED


def test_a_defect_in_the_bucket_leaves_the_job_in_hand_and_not_between_two_places(desk: Desk) -> None:
    """Redis takes nothing back when a script fails in its middle."""
    desk.store.client.set(desk.bucket.key, "not a hash")
    with pytest.raises(QueueUnavailable, match="WRONGTYPE"):
        desk.ledger.take(JOB, "w1")
    assert desk.record().state is JobState.OPENING
    audit(desk.store, popped=1)
    desk.store.client.delete(desk.bucket.key)
    desk.ledger.goodbye("w1")
    (stray,) = desk.ledger.strays(10, 1000)
    assert desk.ledger.requeue([stray]) == 1
    assert (desk.record().state, desk.record().attempts) == (JobState.QUEUED, 0)
    assert desk.ledger.position(JOB) == 0
    audit(desk.store)


def test_a_claim_of_a_job_that_still_reads_as_queued_gives_it_its_place_again(desk: Desk) -> None:
    line = f"{BASE}:line:{Lane.BULK}"
    short = f"{JOB.incident_id}.{JOB.integration_id}"
    desk.store.client.zrem(line, short)
    desk.store.client.hset(f"{BASE}:claims", "w1/abc", short)
    desk.ledger.strays(10, 1000)
    assert desk.ledger.position(JOB) == 0
    audit(desk.store)


def test_what_an_earlier_version_kept_in_two_hashes_is_taken_over(desk: Desk, store: RedisStore) -> None:
    client = store.client
    client.rename(f"{BASE}:account", f"{BASE}:counts")
    for name in ("run", "beat", "since", "bulk.turn"):
        client.hset(f"{BASE}:watch", name, str(client.hget(f"{BASE}:counts", name)))
        client.hdel(f"{BASE}:counts", name)
    client.hset(f"{BASE}:counts", "opened", 7)
    desk.ledger.beat("w1")
    states = desk.ledger.progress().states
    assert (states[JobState.OPENED], states[JobState.QUEUED] + states[JobState.RETRYING]) == (7, 1)
    assert client.exists(f"{BASE}:counts", f"{BASE}:watch") == 0
    assert desk.record().look_first, "as after a restart: it may have been sent"
