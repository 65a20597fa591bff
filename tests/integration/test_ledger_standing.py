"""What the ledger tells of those who wait: messages that nobody has read, the last job of a batch, the last retry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.desk import BASE, Desk, ids, real_desk, some
from tests.fakes import a_job
from worker.errors import OutcomeUnknown
from worker.jobs import JobState, Lane
from worker.ledger import LOST_MS, Ledger
from worker.messages import nudge, queue_name

if TYPE_CHECKING:
    from worker.redis_store import RedisStore

TIMEOUT: Final = OutcomeUnknown("no answer", code="Timeout")


@pytest.fixture
def desk(store: RedisStore) -> Desk:
    return real_desk(store)


def unread(desk: Desk) -> tuple[int, int]:
    """Urgent and bulk messages of other clients, as the ledger tells them."""
    assert isinstance(desk.ledger, Ledger)
    standing = desk.ledger.standing()
    return standing.unread_urgent, standing.unread_bulk


def last_ranks(desk: Desk, batch: str) -> dict[Lane, int]:
    assert isinstance(desk.ledger, Ledger)
    return desk.ledger.last_ranks(batch)


def send(desk: Desk, first: int, last: int, lane: Lane = Lane.BULK) -> None:
    """Another client sends messages that name jobs of which there is no record."""
    assert desk.store is not None
    for job in some(first, last, lane=lane):
        desk.store.client.lpush(queue_name("acc", lane), nudge(job))


def reads(desk: Desk, lane: Lane = Lane.BULK) -> None:
    """A worker reads the next message of a queue."""
    id_ = desk.pop(lane)
    assert id_ is not None
    desk.ledger.claim(next(job for job in some(1, 99, lane=lane) if job.id == id_), "w1")


def test_messages_of_other_clients_are_counted_until_they_are_read(desk: Desk) -> None:
    desk.ledger.enqueue(some(1, 10))
    assert unread(desk) == (0, 0)
    send(desk, 11, 13)
    send(desk, 21, 22, Lane.URGENT)
    assert unread(desk) == (2, 3)
    for left in (3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 2, 1, 0):
        reads(desk)
        assert unread(desk) == (2, left)
    assert desk.ledger.progress().states[JobState.OPENING] == 13


def test_messages_of_jobs_that_were_cancelled_are_nobodys(desk: Desk) -> None:
    desk.ledger.enqueue(some(1, 10))
    send(desk, 11, 12)
    desk.ledger.cancel(ids(some(1, 8)))
    assert unread(desk) == (0, 2)
    for _ in range(4):
        reads(desk)
    assert (len(desk.line()), unread(desk)) == (0, (0, 2)), "two jobs, and two messages that found nothing to do"


def test_messages_of_jobs_that_were_hurried_are_nobodys(desk: Desk) -> None:
    desk.ledger.enqueue(some(1, 5))
    desk.ledger.enqueue(some(1, 5, lane=Lane.URGENT))
    assert unread(desk) == (0, 0)
    for _ in range(5):
        reads(desk)
    assert (desk.line(Lane.URGENT), unread(desk)) == ([], (0, 0)), "bulk messages served the urgent jobs"
    desk.strays()
    assert desk.store is not None
    assert desk.store.client.hget(f"{BASE}:account", "bulk.idle") is None, "an empty queue has nothing idle"


def test_after_a_restart_the_messages_of_what_was_put_aside_are_nobodys(desk: Desk) -> None:
    desk.ledger.enqueue(some(1, 5))
    assert desk.store is not None
    desk.store.client.hset(f"{BASE}:account", "run", "before")
    desk.ledger.beat("w1")
    assert (desk.line(), unread(desk)) == ([], (0, 0))


def test_a_message_that_was_only_late_is_not_told_as_another_clients(desk: Desk) -> None:
    desk.ledger.enqueue(some(1, 3))
    assert desk.store is not None
    late = desk.store.client.rpop(queue_name("acc", Lane.BULK))
    desk.strays()
    desk.clock.forward(LOST_MS / 1000)
    assert len(desk.recover()) == 1
    desk.store.client.rpush(queue_name("acc", Lane.BULK), str(late))
    assert unread(desk) == (0, 0)


def test_the_last_job_of_a_batch_is_found_in_its_line(desk: Desk) -> None:
    desk.ledger.enqueue(some(1, 40), "large")
    desk.ledger.enqueue(some(51, 55), "small")
    assert last_ranks(desk, "large") == {Lane.BULK: 44}
    assert last_ranks(desk, "small") == {Lane.BULK: 9}
    desk.ledger.enqueue([a_job(53, lane=Lane.URGENT)])
    assert last_ranks(desk, "small") == {Lane.URGENT: 0, Lane.BULK: 8}
    assert last_ranks(desk, "nobody's") == {}


def test_a_batch_of_jobs_that_stood_in_line_already_ends_where_they_stand(desk: Desk) -> None:
    desk.ledger.enqueue(some(1, 40), "large")
    desk.ledger.enqueue(some(11, 20), "again")
    assert last_ranks(desk, "again") == {Lane.BULK: 19}
    desk.ledger.enqueue(some(61, 62), "again")
    assert last_ranks(desk, "again") == {Lane.BULK: 21}


def test_the_last_retry_is_known(desk: Desk) -> None:
    assert isinstance(desk.ledger, Ledger)
    assert desk.ledger.standing().last_retry_s == 0
    desk.ledger.enqueue(some(1, 2))
    claims = [desk.claim(), desk.claim()]
    assert desk.ledger.standing().opening == 2
    assert desk.store is not None
    seconds, _ = desk.store.client.time()
    desk.clock.now_ms = seconds * 1000
    for claim, delay_s in zip(claims, (600, 30), strict=True):
        desk.ledger.retry(claim, TIMEOUT, delay_s, look_first=False)
    standing = desk.ledger.standing()
    assert (standing.opening, standing.retrying) == (0, 2)
    assert 500 < standing.last_retry_s <= 600
