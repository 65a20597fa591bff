"""What a crash of Redis may have undone: its last moments. A restart is one when the server's run id is another."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
import redis

from tests.desk import BASE, JOB, STARTED_S, Desk, audit, ids, real_desk, some
from tests.fakes import A_ROOM, a_job
from worker.errors import OutcomeUnknown, RequestRefused
from worker.jobs import JobState, Lane
from worker.ledger import DEAD_MS, LOST_MS, Ledger
from worker.records import Claim, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.redis_store import RedisStore

S: Final = JobState
DEAD_S: Final = DEAD_MS / 1000
SUSPECTS: Final = 2
TIMEOUT: Final = OutcomeUnknown("no answer", code="Timeout")
REFUSED: Final = RequestRefused("no such incident", code="ResourceNotFound")


@pytest.fixture
def desk(store: RedisStore) -> Desk:
    return real_desk(store, suspects=SUSPECTS)


class Past:
    """What Redis had on its disk. `comes_back` is a restart that lost everything since."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._keys: dict[Any, Any] = {}

    def begins_here(self) -> None:
        keys = self._client.scan_iter("*")
        self._keys = {key: (max(0, self._client.pttl(key)), self._client.dump(key)) for key in keys}

    def comes_back(self) -> None:
        self._client.flushdb()
        for key, (ttl_ms, value) in self._keys.items():
            self._client.restore(key, ttl_ms, value)
        if self._keys:
            self._client.hset(f"{BASE}:account", "run", "before")


@pytest.fixture
def past(valkey_url: str) -> Iterator[Past]:
    with redis.Redis.from_url(valkey_url) as client:
        yield Past(client)


def restart(desk: Desk) -> None:
    """Redis restarts and has lost nothing."""
    assert desk.store is not None
    desk.store.client.hset(f"{BASE}:account", "run", "before")


def ledger_of(desk: Desk) -> Ledger:
    assert isinstance(desk.ledger, Ledger)
    return desk.ledger


def begun(desk: Desk) -> Claim:
    claim = desk.claim()
    assert desk.ledger.begin(claim, sent=True)
    return claim


# --- what may have been sent looks first --------------------------------------------------------------------------


def test_the_first_jobs_of_each_line_wait_until_their_calls_are_over_and_look_first(
    desk: Desk, store: RedisStore
) -> None:
    bulk, urgent = some(1, 5)[::-1], some(11, 13, lane=Lane.URGENT)[::-1]
    desk.ledger.enqueue([*bulk, *urgent], "b")
    restart(desk)
    desk.ledger.beat("w2")
    suspects = [*bulk[:SUSPECTS], *urgent[:SUSPECTS]]
    for job in suspects:
        record = desk.record(job)
        assert (record.state, record.code, record.attempts) == (S.RETRYING, "RedisRestarted", 0)
        assert record.message == "Redis was restarted: this job may have been sent just before"
        assert STARTED_S + DEAD_S <= (record.due_at or 0) < STARTED_S + DEAD_S + 0.1
    assert (desk.line(), desk.line(Lane.URGENT)) == (ids(bulk[SUSPECTS:]), ids(urgent[SUSPECTS:]))
    audit(store)

    desk.clock.forward(DEAD_S - 0.001)
    assert desk.recover() == []
    desk.clock.forward(SUSPECTS / 1000)
    assert {id_ for _, id_ in desk.recover()} == set(ids(suspects))
    assert (desk.line(), desk.line(Lane.URGENT)) == (ids(bulk), ids(urgent)), "in the order that they had"
    audit(store)
    assert [desk.claim(job).look_first for job in bulk] == [True, True, False, False, False]


def test_retries_that_may_just_have_been_sent_wait_and_look_first(desk: Desk) -> None:
    jobs = some(1, 4)
    desk.ledger.enqueue(jobs)
    for job, delay_s in zip(jobs, (3, 2, DEAD_S + 1, 1), strict=True):
        desk.ledger.retry(desk.claim(job), REFUSED, delay_s, look_first=False)
    restart(desk)
    desk.clock.forward(3)
    assert desk.recover() == [(Reason.DUE, a_job(1).id)], "one too many to be a suspect"
    desk.clock.forward(DEAD_S + SUSPECTS / 1000)
    assert {id_ for _, id_ in desk.recover()} == {a_job(n).id for n in (2, 3, 4)}
    assert desk.line() == ids(some(1, 4)), "in the order that they had"
    assert [desk.claim(a_job(n)).look_first for n in (1, 2, 3, 4)] == [False, True, False, True]


def test_a_job_in_hand_stays_there_and_whoever_gets_it_next_looks_first(desk: Desk) -> None:
    desk.ledger.enqueue([JOB])
    claim = desk.claim()
    restart(desk)
    desk.let_die()
    assert desk.recover() == [(Reason.DEAD, JOB.id)]
    assert desk.claim(worker="w2").look_first, "that it began may be what was lost"
    assert not desk.ledger.begin(claim, sent=True)


def test_a_job_in_hand_ends_as_if_nothing_had_happened(desk: Desk, store: RedisStore) -> None:
    desk.ledger.enqueue([JOB])
    claim = begun(desk)
    restart(desk)
    ledger_of(desk).reconcile("w1")
    assert desk.ledger.has_room(claim, S.OPENED, A_ROOM, "r")
    audit(store)


def test_nobody_is_dead_because_redis_was_away(desk: Desk) -> None:
    desk.ledger.enqueue([JOB])
    desk.watch(60, "w1", "w2")
    begun(desk)
    desk.clock.forward(4)
    restart(desk)
    desk.clock.forward(1)
    assert desk.recover() == []
    desk.watch(DEAD_S - 0.001, "w2")
    assert desk.recover() == []
    desk.watch(0.001, "w2")
    assert desk.recover() == [(Reason.DEAD, JOB.id)]


def test_a_redis_that_nobody_knew_before_is_no_restart(desk: Desk) -> None:
    desk.ledger.enqueue([JOB])
    assert desk.state() is S.QUEUED
    assert not desk.claim().look_first


def test_a_restart_is_one_once(desk: Desk) -> None:
    jobs = some(1, 5)
    desk.ledger.enqueue(jobs)
    restart(desk)
    for _ in range(3):
        desk.ledger.beat("w1")
    assert desk.counted() == {S.RETRYING: SUSPECTS, S.QUEUED: 3}


def test_what_was_about_to_be_lost_is_forgotten_and_found_later(desk: Desk) -> None:
    """Its mark is of another time: the messages of the last moments may be back in their queues."""
    desk.ledger.enqueue(some(1, 5))
    for _ in range(4):
        desk.pop()
    desk.recover()
    desk.clock.forward(LOST_MS / 1000)
    restart(desk)
    assert desk.recover() == []
    assert desk.counted() == {S.RETRYING: SUSPECTS, S.QUEUED: 3}
    found = []
    for _ in range(4):
        desk.clock.forward(LOST_MS / 1000)
        found += desk.recover()
    due, lost = [(Reason.DUE, job.id) for job in some(1, 2)], [(Reason.LOST, job.id) for job in some(3, 4)]
    assert sorted(found) == sorted([*due, *lost])


def test_a_place_without_a_record_is_given_up(desk: Desk, store: RedisStore) -> None:
    desk.ledger.enqueue(some(1, 2))
    store.client.delete(f"{BASE}:job:{a_job(1).id.partition('.')[2]}")
    restart(desk)
    desk.ledger.beat("w1")
    assert desk.line() == []
    assert desk.state(a_job(2)) is S.RETRYING


# --- workers tell what Redis has forgotten ------------------------------------------------------------------------


def nothing(_: Desk) -> None:
    pass


def queued(desk: Desk) -> None:
    desk.ledger.enqueue([a_job(member_ids=(1, 2), batch="b", lane=Lane.URGENT)], "b")


def retrying(desk: Desk) -> None:
    queued(desk)
    desk.ledger.retry(begun(desk), TIMEOUT, 0, look_first=False)


Remembered = Callable[[Desk], None]
EVERYTHING: Final = [nothing, queued, retrying]


@pytest.mark.parametrize("remembered", EVERYTHING, ids=lambda state: state.__name__)
def test_a_job_that_was_sent_is_taken_back_whatever_redis_remembers(
    desk: Desk, store: RedisStore, past: Past, remembered: Remembered
) -> None:
    remembered(desk)
    past.begins_here()
    if remembered is nothing:
        queued(desk)
    desk.recover()
    claim = desk.claim()
    desk.ledger.begin(claim, sent=True)
    job = claim.job
    past.comes_back()
    ledger_of(desk).reconcile("w1")
    record = desk.record()
    assert (record.state, record.job, record.worker) == (S.OPENING, job, "w1")
    assert record.attempts == claim.attempt
    assert desk.of_batch("b") == {S.OPENING: 1}
    audit(store)
    assert desk.ledger.claim(JOB, "w2") is S.OPENING
    assert desk.ledger.has_room(claim, S.OPENED, A_ROOM, "r")
    assert desk.of_batch("b") == {S.OPENED: 1}
    audit(store)


def test_a_job_taken_back_is_its_workers_until_that_is_dead(desk: Desk, past: Past) -> None:
    queued(desk)
    past.begins_here()
    begun(desk)
    past.comes_back()
    ledger_of(desk).reconcile("w1")
    desk.let_die()
    assert desk.recover() == [(Reason.DEAD, JOB.id)]
    assert desk.claim(worker="w2").look_first


@pytest.mark.parametrize("remembered", [queued, retrying], ids=lambda state: state.__name__)
@pytest.mark.parametrize("began", [True, False])
def test_a_claim_that_was_not_sent_is_lost_since_another_may_have_called_before_the_crash(
    desk: Desk,
    store: RedisStore,
    past: Past,
    remembered: Remembered,
    began: bool,  # noqa: FBT001
) -> None:
    remembered(desk)
    past.begins_here()
    desk.recover()
    claim = desk.claim()
    if began:
        desk.ledger.begin(claim, sent=False)
    past.comes_back()
    ledger_of(desk).reconcile("w1")
    assert (desk.state(), desk.record().worker) == (S.RETRYING, "")
    assert not desk.ledger.begin(claim, sent=True)
    audit(store)
    desk.clock.forward(DEAD_S)
    assert desk.recover() == [(Reason.DUE, JOB.id)]
    again = desk.claim(worker="w2")
    assert (again.attempt, again.look_first) == (claim.attempt, True)


def test_a_record_that_is_gone_begins_again_with_an_unsent_claim(desk: Desk, store: RedisStore, past: Past) -> None:
    past.begins_here()
    queued(desk)
    claim = desk.claim()
    past.comes_back()
    ledger_of(desk).reconcile("w1")
    assert (desk.state(), desk.record().worker) == (S.OPENING, "w1")
    assert desk.ledger.begin(claim, sent=True)
    audit(store)


def test_a_claim_that_redis_still_knows_is_kept(desk: Desk, store: RedisStore, past: Past) -> None:
    queued(desk)
    claim = desk.claim()
    past.begins_here()
    desk.ledger.begin(claim, sent=True)
    past.comes_back()
    ledger_of(desk).reconcile("w1")
    assert desk.record().worker == "w1"
    audit(store)
    assert desk.ledger.has_room(claim, S.OPENED, A_ROOM, "r")


@pytest.mark.parametrize("remembered", EVERYTHING, ids=lambda state: state.__name__)
@pytest.mark.parametrize("state", [S.OPENED, S.FOUND])
def test_a_room_of_the_last_moments_is_written_again(
    desk: Desk, store: RedisStore, past: Past, remembered: Remembered, state: JobState
) -> None:
    remembered(desk)
    past.begins_here()
    if remembered is nothing:
        queued(desk)
    desk.recover()
    desk.ledger.has_room(begun(desk), state, A_ROOM, "req")
    past.comes_back()
    for _ in range(2):  # its reply was lost, say
        ledger_of(desk).reconcile("w1")
    record = desk.record()
    assert (record.state, record.room, record.request_id) == (state, A_ROOM, "req")
    assert desk.counted() == {state: 1}
    assert desk.ledger.claim(JOB, "w2") is state
    audit(store)


def test_a_room_whose_claim_redis_still_knows_is_written_again(desk: Desk, store: RedisStore, past: Past) -> None:
    queued(desk)
    claim = begun(desk)
    past.begins_here()
    desk.ledger.has_room(claim, S.OPENED, A_ROOM, "req")
    past.comes_back()
    ledger_of(desk).reconcile("w1")
    assert (desk.state(), desk.record().room) == (S.OPENED, A_ROOM)
    audit(store)


def test_a_claim_that_its_worker_does_not_know_is_nobodys(desk: Desk, store: RedisStore, past: Past) -> None:
    """It gave the job back, and Redis forgot that."""
    queued(desk)
    claim = begun(desk)
    past.begins_here()
    desk.ledger.release(claim)
    past.comes_back()
    desk.ledger.beat("w1")
    assert desk.recover() == []
    ledger_of(desk).reconcile("w1")
    assert (desk.state(), desk.record().worker) == (S.RETRYING, "")
    audit(store)
    desk.watch(DEAD_S - 0.001, "w1")
    assert desk.recover() == [], "a call of it may still be under way"
    desk.watch(0.001, "w1")
    assert desk.recover() == [(Reason.DUE, JOB.id)]
    assert desk.claim(worker="w2").look_first


def test_a_claim_that_ends_while_redis_is_told_of_it_does_not_stay_in_its_workers_name(
    desk: Desk, store: RedisStore, past: Past
) -> None:
    """Its end was refused before the tale arrived, and the tale was of a claim in hand."""
    queued(desk)
    past.begins_here()
    claim = begun(desk)
    past.comes_back()
    ledger = ledger_of(desk)
    held = ledger._hands.all

    def told() -> Any:  # noqa: ANN401
        tale = held()
        ledger._hands.all = held  # type: ignore[method-assign]
        assert not ledger.retry(claim, TIMEOUT, 0, look_first=True)
        return tale

    ledger._hands.all = told  # type: ignore[method-assign]
    ledger.reconcile("w1")
    assert (desk.state(), desk.record().worker) == (S.RETRYING, "")
    audit(store)
    desk.clock.forward(DEAD_S)
    assert desk.recover() == [(Reason.DUE, JOB.id)]
    assert desk.claim(worker="w2").look_first


def test_a_claim_that_is_made_while_redis_is_told_is_kept(desk: Desk, past: Past) -> None:
    queued(desk)
    past.begins_here()
    ledger = ledger_of(desk)
    held = ledger._hands.all
    claims = []

    def told() -> Any:  # noqa: ANN401
        tale = held()
        ledger._hands.all = held  # type: ignore[method-assign]
        claims.append(desk.claim())
        return tale

    ledger._hands.all = told  # type: ignore[method-assign]
    ledger.reconcile("w1")
    assert desk.ledger.begin(claims[0], sent=True)


def test_the_claims_of_others_are_theirs(desk: Desk) -> None:
    queued(desk)
    claim = begun(desk)
    restart(desk)
    other = Ledger(cast("RedisStore", desk.store), "acc", clock=desk.clock)
    other.beat("w2")
    other.reconcile("w2")
    assert desk.recover() == []
    assert desk.ledger.has_room(claim, S.OPENED, A_ROOM, "r")


def test_an_end_that_is_being_written_is_left_to_its_writer(desk: Desk, past: Past) -> None:
    queued(desk)
    claim = begun(desk)
    past.begins_here()
    ledger_of(desk)._hands.ending(claim)
    past.comes_back()
    ledger_of(desk).reconcile("w1")
    assert desk.recover() == [], "its claim is not nobody's"
    assert desk.ledger.failed(claim, REFUSED, "no")


def test_an_end_that_is_being_written_makes_no_record(desk: Desk, past: Past) -> None:
    past.begins_here()
    queued(desk)
    claim = begun(desk)
    ledger_of(desk)._hands.ending(claim)
    past.comes_back()
    ledger_of(desk).reconcile("w1")
    assert desk.state() is None


@pytest.mark.parametrize("end", [S.OPENED, S.FAILED, S.CANCELLED])
def test_a_job_that_is_finished_meanwhile_stays_so(desk: Desk, store: RedisStore, end: JobState) -> None:
    """By somebody else: this worker was silent, and its claim was lost."""
    queued(desk)
    begun(desk)
    desk.let_die()
    desk.recover()
    other = Ledger(store, "acc", clock=desk.clock)
    claim = other.claim(JOB, "w2")
    assert isinstance(claim, Claim)
    if end is S.OPENED:
        other.has_room(claim, end, A_ROOM, "theirs")
    elif end is S.FAILED:
        other.failed(claim, REFUSED, "no")
    else:
        other.cancel([JOB.id])
    record = desk.record()
    ledger_of(desk).reconcile("w1")
    assert desk.record() == record
    audit(store)


def test_a_room_is_not_written_over_the_claim_of_another(desk: Desk, store: RedisStore, past: Past) -> None:
    queued(desk)
    past.begins_here()
    desk.ledger.has_room(begun(desk), S.OPENED, A_ROOM, "r")
    past.comes_back()
    desk.clock.forward(60)
    other = Ledger(store, "acc", clock=desk.clock)
    other.beat("w2")
    desk.clock.forward(DEAD_S)
    desk.recover()
    claim = other.claim(JOB, "w2")
    assert isinstance(claim, Claim)
    assert claim.look_first
    ledger_of(desk).reconcile("w1")
    assert desk.record().worker == "w2"
    assert other.has_room(claim, S.FOUND, A_ROOM, "r")


def test_many_jobs_in_many_hands_are_told_in_one_go(desk: Desk, store: RedisStore, past: Past) -> None:
    past.begins_here()
    jobs = some(1, 64, member_ids=tuple(range(1, 50)), batch="b")
    desk.ledger.enqueue(jobs)
    claims = [desk.claim(job) for job in jobs]
    for claim in claims[:32]:
        desk.ledger.has_room(claim, S.OPENED, A_ROOM, "r")
    past.comes_back()
    ledger_of(desk).reconcile("w1")
    assert desk.counted() == {S.OPENED: 32, S.OPENING: 32}
    audit(store)


def test_a_worker_with_empty_hands_has_nothing_to_tell(desk: Desk, store: RedisStore) -> None:
    ledger_of(desk).reconcile("w1")
    assert ledger_of(desk).holds_nothing()
    assert store.client.keys("*:job:*") == []
