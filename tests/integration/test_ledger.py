"""The ledger: every state under every command, who may change what, and what is left behind.

The first half is the contract of the use case's port: it holds for the real ledger and for its fake alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import pytest

from tests.fakes import A_ROOM, START_MS, Clock, FakeLedger, a_job
from worker.errors import NotSent, OutcomeUnknown, QueueUnavailable, RequestRefused
from worker.jobs import INT64_MAX, JobState, Lane, WarRoom
from worker.ledger import LEASE_MS, NUDGE_AGAIN_MS, Ledger
from worker.records import Claim, Entered

if TYPE_CHECKING:
    from worker.redis_store import RedisStore

JOB: Final = a_job()
BASE: Final = "warrooms:{acc}"
KEY: Final = f"{BASE}:job:{JOB.incident_id}.{JOB.integration_id}"
REFUSED: Final = RequestRefused("no such incident", code="ResourceNotFound", status=400, request_id="r1", hint="look")
TIMEOUT: Final = OutcomeUnknown("no answer", code="Timeout")
DAY_MS: Final = 86_400_000


@dataclass
class Desk:
    ledger: Ledger | FakeLedger
    clock: Clock

    def claim(self, job_id: str = JOB.id) -> Claim:
        claim = self.ledger.claim(job_id, "w1")
        assert isinstance(claim, Claim)
        return claim

    def state(self) -> JobState | None:
        record = self.ledger.record(JOB.id)
        return None if record is None else record.state

    def counted(self) -> dict[JobState, int]:
        return {state: n for state, n in self.ledger.progress().states.items() if n}


@pytest.fixture(params=["valkey", "fake"])
def desk(request: pytest.FixtureRequest) -> Desk:
    clock = Clock()
    if request.param == "fake":
        return Desk(FakeLedger("acc", clock=clock), clock)
    return Desk(Ledger(request.getfixturevalue("store"), "acc", clock=clock), clock)


@pytest.fixture
def real(store: RedisStore) -> Desk:
    clock = Clock()
    return Desk(Ledger(store, "acc", clock=clock), clock)


# --- the table: state x command -----------------------------------------------------------------------------------

NOBODY: Final = Claim(JOB.id, "w0/never", 1, look_first=False)


def absent(_: Desk) -> Claim:
    return NOBODY


def queued(desk: Desk) -> Claim:
    desk.ledger.enqueue([JOB])
    return NOBODY


def opening(desk: Desk) -> Claim:
    queued(desk)
    return desk.claim()


def released(desk: Desk) -> Claim:
    claim = opening(desk)
    desk.ledger.release(claim)
    return claim


def orphan(desk: Desk) -> Claim:
    claim = opening(desk)
    desk.clock.forward(LEASE_MS / 1000)
    return claim


def lost(desk: Desk) -> Claim:
    claim = orphan(desk)
    desk.claim()
    return claim


def retrying(desk: Desk) -> Claim:
    claim = opening(desk)
    desk.ledger.retry(claim, TIMEOUT, 5.0, look_first=False)
    return claim


def opened(desk: Desk) -> Claim:
    claim = opening(desk)
    desk.ledger.has_room(claim, JobState.OPENED, A_ROOM, "r")
    return claim


def failed(desk: Desk) -> Claim:
    claim = opening(desk)
    desk.ledger.failed(claim, REFUSED, "no")
    return claim


def requeued(desk: Desk) -> Claim:
    claim = failed(desk)
    desk.ledger.enqueue([JOB])
    return claim


State = Callable[[Desk], Claim]
Command = Callable[[Desk, Claim], object]

COMMANDS: Final[dict[str, Command]] = {
    "enqueue": lambda desk, _: desk.ledger.enqueue([JOB])[0].new,
    "claim": lambda desk, _: _short(desk.ledger.claim(JOB.id, "w2")),
    "mark_sent": lambda desk, claim: desk.ledger.mark_sent(claim),
    "has_room": lambda desk, claim: desk.ledger.has_room(claim, JobState.OPENED, A_ROOM, "r"),
    "failed": lambda desk, claim: desk.ledger.failed(claim, REFUSED, "no"),
    "retry": lambda desk, claim: desk.ledger.retry(claim, TIMEOUT, 5.0, look_first=False),
    "release": lambda desk, claim: desk.ledger.release(claim),
}


def _short(reply: object) -> object:
    return "claimed" if isinstance(reply, Claim) else reply


S: Final = JobState
WRITES: Final = ("mark_sent", "has_room", "failed", "retry", "release")

# For each state: what each command answers, and the state it leaves; what is not named answers False and leaves it.
TABLE: Final[dict[State, dict[str, tuple[object, JobState | None]]]] = {
    absent: {"enqueue": (True, S.QUEUED), "claim": (None, None)},
    queued: {"enqueue": (False, S.QUEUED), "claim": ("claimed", S.OPENING)},
    opening: {
        "enqueue": (False, S.OPENING),
        "claim": (S.OPENING, S.OPENING),
        "mark_sent": (True, S.OPENING),
        "has_room": (True, S.OPENED),
        "failed": (True, S.FAILED),
        "retry": (True, S.RETRYING),
        "release": (True, S.QUEUED),
    },
    orphan: {  # nobody else took it, so a worker that was only slow may still finish
        "enqueue": (False, S.OPENING),
        "claim": ("claimed", S.OPENING),
        "mark_sent": (True, S.OPENING),
        "has_room": (True, S.OPENED),
        "failed": (True, S.FAILED),
        "retry": (True, S.RETRYING),
        "release": (True, S.QUEUED),
    },
    lost: {"enqueue": (False, S.OPENING), "claim": (S.OPENING, S.OPENING)},
    # A command that is repeated because its reply was lost says again what it said.
    released: {"enqueue": (False, S.QUEUED), "claim": ("claimed", S.OPENING), "release": (True, S.QUEUED)},
    retrying: {"enqueue": (False, S.RETRYING), "claim": (S.RETRYING, S.RETRYING), "retry": (True, S.RETRYING)},
    opened: {"enqueue": (False, S.OPENED), "claim": (S.OPENED, S.OPENED), "has_room": (True, S.OPENED)},
    failed: {"enqueue": (True, S.QUEUED), "claim": (S.FAILED, S.FAILED), "failed": (True, S.FAILED)},
    requeued: {"enqueue": (False, S.QUEUED), "claim": ("claimed", S.OPENING)},
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("before", TABLE, ids=lambda state: state.__name__)
def test_every_state_under_every_command(desk: Desk, before: State, command: str) -> None:
    claim = before(desk)
    reply, after = TABLE[before].get(command, (False, desk.state()))
    record = desk.ledger.record(JOB.id)
    assert COMMANDS[command](desk, claim) == reply
    assert desk.state() == after
    assert desk.counted() == ({after: 1} if after else {})
    if command in WRITES and command not in TABLE[before]:
        assert desk.ledger.record(JOB.id) == record, "a lost claim changed something"
    if command in WRITES:
        again = COMMANDS[command](desk, claim)
        assert again == reply, "the same command twice must say the same: its first reply may have been lost"
        assert desk.counted() == ({after: 1} if after else {})


# --- what a record tells ------------------------------------------------------------------------------------------


def test_a_job_comes_back_as_it_was_handed_in(desk: Desk) -> None:
    job = a_job(7, member_ids=(INT64_MAX, 1), add_observers=True, lane=Lane.URGENT, batch="b.1")
    desk.ledger.enqueue([job], "b.1")
    record = desk.ledger.record(job.id)
    assert record is not None
    assert (record.job, record.state, record.batches, record.attempts) == (job, S.QUEUED, ("b.1",), 0)
    assert (record.created_at, record.updated_at) == (START_MS / 1000, START_MS / 1000)
    assert (record.due_at, record.finished_at, record.room, record.code) == (None, None, None, "")


def test_an_opened_job_has_its_room(desk: Desk) -> None:
    claim = opening(desk)
    desk.clock.forward(2)
    desk.ledger.has_room(claim, S.OPENED, A_ROOM, "req")
    record = desk.ledger.record(JOB.id)
    assert record is not None
    assert (record.room, record.request_id, record.finished_at) == (A_ROOM, "req", START_MS / 1000 + 2)
    assert desk.ledger.enqueue([JOB]) == [Entered(JOB.id, S.OPENED, False, A_ROOM.chat_id, A_ROOM.share_link)]


def test_a_room_without_a_link_is_a_room(desk: Desk) -> None:
    room = WarRoom(chat_id="oc_2")
    desk.ledger.has_room(opening(desk), S.FOUND, room, "")
    record = desk.ledger.record(JOB.id)
    assert record is not None
    assert record.room == room


def test_a_dead_letter_says_why(desk: Desk) -> None:
    failed(desk)
    record = desk.ledger.record(JOB.id)
    assert record is not None
    assert (record.code, record.message, record.hint) == ("ResourceNotFound", "no", "look")
    assert (record.status, record.request_id, record.attempts) == (400, "r1", 1)


def test_an_error_is_forgotten_when_the_room_is_there(desk: Desk) -> None:
    desk.ledger.retry(opening(desk), REFUSED, 0, look_first=True)
    _come_due(desk)
    desk.ledger.has_room(desk.claim(), S.FOUND, A_ROOM, "r2")
    record = desk.ledger.record(JOB.id)
    assert record is not None
    assert (record.code, record.message, record.hint, record.status) == ("", "", "", None)
    assert (record.request_id, record.attempts) == ("r2", 2)


def test_a_retry_tells_when_it_is_due(desk: Desk) -> None:
    retrying(desk)
    record = desk.ledger.record(JOB.id)
    assert record is not None
    assert (record.due_at, record.code, record.message) == (START_MS / 1000 + 5, "Timeout", "Timeout: no answer")


# --- attempts and looking first -----------------------------------------------------------------------------------


def test_a_release_costs_no_attempt(desk: Desk) -> None:
    released(desk)
    assert desk.claim().attempt == 1


def test_each_claim_is_an_attempt(desk: Desk) -> None:
    retrying(desk)
    desk.clock.forward(5)
    _come_due(desk)
    assert desk.claim().attempt == 2


def test_a_first_attempt_looks_not(desk: Desk) -> None:
    assert not opening(desk).look_first


def test_an_orphan_that_was_sent_looks_first(desk: Desk) -> None:
    orphan(desk)
    assert desk.claim().look_first


def test_an_orphan_that_was_only_looking_still_looks_first(desk: Desk) -> None:
    lost(desk)
    desk.clock.forward(LEASE_MS / 1000)
    assert desk.claim().look_first


def test_a_released_job_was_not_sent(desk: Desk) -> None:
    released(desk)
    desk.clock.forward(LEASE_MS / 1000)
    assert not desk.claim().look_first


def test_marking_as_sent_extends_the_lease(desk: Desk) -> None:
    claim = opening(desk)
    desk.clock.forward(LEASE_MS / 1000 - 1)
    assert desk.ledger.mark_sent(claim)
    desk.clock.forward(LEASE_MS / 1000 - 1)
    assert desk.ledger.claim(JOB.id, "w2") is S.OPENING
    desk.clock.forward(1)
    assert desk.claim().look_first


def test_a_job_that_had_to_look_looks_until_it_has_a_room(desk: Desk) -> None:
    desk.ledger.retry(opening(desk), TIMEOUT, 0, look_first=True)
    _come_due(desk)
    desk.ledger.release(desk.claim())
    desk.ledger.retry(desk.claim(), NotSent("no route", code="Connect"), 0, look_first=False)
    _come_due(desk)
    assert desk.claim().look_first


def test_a_dead_letter_that_is_enqueued_again_starts_anew_but_still_looks_first(desk: Desk) -> None:
    claim = opening(desk)
    desk.ledger.retry(claim, TIMEOUT, 0, look_first=True)
    _come_due(desk)
    desk.ledger.failed(desk.claim(), TIMEOUT, "after 6 attempts")
    desk.clock.forward(9)
    job = a_job(member_ids=(5,), lane=Lane.URGENT)
    assert desk.ledger.enqueue([job]) == [Entered(JOB.id, S.QUEUED, new=True)]
    record = desk.ledger.record(JOB.id)
    assert record is not None
    assert (record.job, record.attempts, record.code, record.message) == (job, 0, "", "")
    assert (record.finished_at, record.due_at, record.status) == (None, None, None)
    again = desk.claim()
    assert (again.attempt, again.look_first) == (1, True)


def test_a_dead_letter_that_was_refused_does_not_look(desk: Desk) -> None:
    failed(desk)
    desk.ledger.enqueue([JOB])
    assert not desk.claim().look_first


# --- lanes and batches --------------------------------------------------------------------------------------------


def test_an_urgent_enqueue_makes_a_waiting_job_urgent(desk: Desk) -> None:
    queued(desk)
    assert desk.ledger.progress().queued_urgent == 0
    assert not desk.ledger.enqueue([a_job(lane=Lane.URGENT)])[0].new
    record = desk.ledger.record(JOB.id)
    assert record is not None
    assert record.job.lane is Lane.URGENT
    assert desk.ledger.progress().queued_urgent == 1


def test_a_bulk_enqueue_makes_no_urgent_job_bulk(desk: Desk) -> None:
    desk.ledger.enqueue([a_job(lane=Lane.URGENT), JOB])
    assert desk.ledger.progress().queued_urgent == 1


def test_an_urgent_enqueue_of_a_retry_hurries_it_too(desk: Desk) -> None:
    retrying(desk)
    desk.ledger.enqueue([a_job(lane=Lane.URGENT)])
    assert desk.ledger.progress().queued_urgent == 0
    desk.clock.forward(5)
    _come_due(desk)
    assert desk.ledger.progress().queued_urgent == 1


def test_one_call_may_hold_the_same_job_twice(desk: Desk) -> None:
    first, second = desk.ledger.enqueue([JOB, JOB], "b")
    assert (first.new, second.new) == (True, False)
    batch = desk.ledger.batch("b")
    assert batch is not None
    assert batch.total == 1


def test_a_job_counts_in_every_batch_it_was_handed_in_with(desk: Desk) -> None:
    for name in ("a", "b", "a"):
        desk.ledger.enqueue([JOB], name)
    desk.ledger.has_room(desk.claim(), S.OPENED, A_ROOM, "")
    desk.ledger.enqueue([JOB], "late")
    record = desk.ledger.record(JOB.id)
    assert record is not None
    assert record.batches == ("a", "b", "late")
    for name in record.batches:
        batch = desk.ledger.batch(name)
        assert batch is not None
        assert (batch.states[S.OPENED], batch.total, batch.waiting, batch.with_room) == (1, 1, 0, 1)


def test_a_job_counts_in_64_batches_at_most(desk: Desk) -> None:
    for n in range(65):
        desk.ledger.enqueue([JOB], f"b{n}")
    record = desk.ledger.record(JOB.id)
    assert record is not None
    assert record.batches == tuple(f"b{n}" for n in range(64))


def test_an_unknown_batch_is_none(desk: Desk) -> None:
    assert desk.ledger.batch("nobody") is None


# --- what is due --------------------------------------------------------------------------------------------------


def test_a_retry_is_nudged_when_it_is_due_and_not_before(desk: Desk) -> None:
    retrying(desk)
    desk.clock.forward(4.999)
    assert _come_due(desk) == []
    desk.clock.forward(0.001)
    assert _come_due(desk) == [(JOB.id, Lane.BULK)]
    assert desk.state() is S.QUEUED


def test_a_retry_whose_nudge_was_lost_is_nudged_again(desk: Desk) -> None:
    retrying(desk)
    desk.clock.forward(5)
    _come_due(desk)
    desk.clock.forward(NUDGE_AGAIN_MS / 1000 - 0.001)
    assert _come_due(desk) == []
    desk.clock.forward(0.001)
    assert _come_due(desk) == [(JOB.id, Lane.BULK)]


def test_due_retries_come_in_the_order_of_their_times_and_not_too_many(desk: Desk) -> None:
    jobs = [a_job(n) for n in range(1, 6)]
    desk.ledger.enqueue(jobs)
    for delay_s, job in zip((5, 1, 4, 2, 3), jobs, strict=True):
        desk.ledger.retry(desk.claim(job.id), TIMEOUT, delay_s, look_first=False)
    desk.clock.forward(60)
    ids = [job.id for job in jobs]
    assert [id_ for id_, _ in _come_due(desk, most=3)] == [ids[1], ids[3], ids[4]]
    assert [id_ for id_, _ in _come_due(desk, most=3)] == [ids[2], ids[0]]


def test_a_job_whose_worker_died_is_nudged_when_its_lease_has_ended(desk: Desk) -> None:
    claim = opening(desk)
    desk.clock.forward(LEASE_MS / 1000 - 0.001)
    assert _come_due(desk) == []
    desk.clock.forward(0.001)
    assert _come_due(desk) == [(JOB.id, Lane.BULK)]
    assert not desk.ledger.has_room(claim, S.OPENED, A_ROOM, ""), "the dead worker came back to life, too late"
    again = desk.claim()
    assert (again.attempt, again.look_first) == (2, True)


def test_a_job_marked_as_sent_is_not_nudged_before_its_new_lease_ends(desk: Desk) -> None:
    claim = opening(desk)
    desk.clock.forward(LEASE_MS / 1000 - 1)
    desk.ledger.mark_sent(claim)
    desk.clock.forward(2)
    assert _come_due(desk) == []


def test_a_job_given_back_whose_nudge_got_lost_is_nudged_again(desk: Desk) -> None:
    released(desk)
    desk.clock.forward(NUDGE_AGAIN_MS / 1000 - 1)
    assert _come_due(desk) == []
    desk.clock.forward(1)
    assert _come_due(desk) == [(JOB.id, Lane.BULK)]


def test_a_job_given_back_may_have_to_look_first(desk: Desk) -> None:
    desk.ledger.release(opening(desk), look_first=True)
    assert desk.claim().look_first


def test_a_dead_letter_whose_last_outcome_is_unknown_looks_first_when_it_is_enqueued_again(desk: Desk) -> None:
    desk.ledger.failed(opening(desk), TIMEOUT, "after 6 attempts")
    desk.ledger.enqueue([JOB])
    assert desk.claim().look_first


@pytest.mark.parametrize("end", [opened, failed], ids=lambda state: state.__name__)
def test_a_job_that_is_done_with_is_not_nudged(desk: Desk, end: State) -> None:
    end(desk)
    desk.clock.forward(LEASE_MS / 1000 + 1)
    assert _come_due(desk) == []


# --- the real one: keys, times, sizes -----------------------------------------------------------------------------


def test_only_one_worker_at_a_time_looks_for_due_retries(real: Desk, store: RedisStore) -> None:
    retrying(real)
    real.clock.forward(5)
    ledger = Ledger(store, "acc", clock=real.clock)
    assert ledger.take_due(10, 30_000)
    real.clock.forward(NUDGE_AGAIN_MS / 1000)
    assert ledger.take_due(10, 30_000) == []
    store.client.delete(f"{BASE}:nudged")
    assert ledger.take_due(10, 30_000)
    assert 0 < store.client.pttl(f"{BASE}:nudged") <= 30_000


def test_a_live_job_is_kept_without_end(real: Desk, store: RedisStore) -> None:
    for state in (queued, released, retrying):
        store.client.flushall()
        state(real)
        assert store.client.pttl(KEY) == -1


@pytest.mark.parametrize("end", [opened, failed], ids=lambda state: state.__name__)
def test_a_finished_job_is_kept_for_the_retention(store: RedisStore, end: State) -> None:
    clock = Clock()
    end(Desk(Ledger(store, "acc", retention_s=3 * 86_400, clock=clock), clock))
    assert 3 * DAY_MS - 60_000 < store.client.pttl(KEY) <= 3 * DAY_MS


def test_a_dead_letter_that_is_enqueued_again_is_kept_without_end(real: Desk, store: RedisStore) -> None:
    failed(real)
    ledger = Ledger(store, "acc", clock=real.clock)
    assert ledger.dead_letters() == [JOB.id]
    ledger.enqueue([JOB])
    assert store.client.pttl(KEY) == -1
    assert ledger.dead_letters() == []


def test_a_batch_outlives_the_records_it_counts(real: Desk, store: RedisStore) -> None:
    real.ledger.enqueue([JOB], "b")
    assert 14 * DAY_MS - 60_000 < store.client.pttl(f"{BASE}:batch:b") <= 14 * DAY_MS


@pytest.mark.parametrize("rest", [opened, retrying, released], ids=lambda state: state.__name__)
def test_a_job_that_outlives_its_batch_does_not_bring_it_back(real: Desk, store: RedisStore, rest: State) -> None:
    real.ledger.enqueue([JOB], "old")
    store.client.delete(f"{BASE}:batch:old")  # its retention ended
    rest(real)
    assert real.ledger.batch("old") is None


def test_dead_letters_and_batches_come_newest_first(real: Desk, store: RedisStore) -> None:
    ledger = Ledger(store, "acc", clock=real.clock)
    for n in range(1, 4):
        real.clock.forward(1)
        ledger.enqueue([a_job(n)], f"b{n}")
        ledger.failed(real.claim(a_job(n).id), REFUSED, "no")
    assert ledger.dead_letters(2) == [a_job(3).id, a_job(2).id]
    assert ledger.batches(2) == ["b3", "b2"]
    batch = ledger.batch("b3")
    assert batch is not None
    assert batch.created_at == START_MS / 1000 + 3


def test_dead_letters_and_batches_are_forgotten_after_their_time(real: Desk, store: RedisStore) -> None:
    ledger = Ledger(store, "acc", clock=real.clock)
    for n, days in ((1, 0), (2, 15)):
        real.clock.forward(days * 86_400)
        ledger.enqueue([a_job(n)], f"b{n}")
        ledger.failed(real.claim(a_job(n).id), REFUSED, "no")
    assert ledger.dead_letters() == [a_job(2).id]
    assert ledger.batches() == ["b2"]


def test_a_thousand_jobs_go_in_with_one_call(real: Desk) -> None:
    jobs = [
        a_job(n, integration_id=INT64_MAX - n, member_ids=tuple(range(INT64_MAX - 20, INT64_MAX)))
        for n in range(1, 1001)
    ]
    assert all(entered.new for entered in real.ledger.enqueue(jobs, "big"))
    assert not any(entered.new for entered in real.ledger.enqueue(jobs, "big"))
    batch = real.ledger.batch("big")
    assert batch is not None
    assert (batch.states[S.QUEUED], batch.total) == (1000, 1000)
    assert real.ledger.progress().total == 1000
    last = real.ledger.record(jobs[-1].id)
    assert last is not None
    assert last.job == jobs[-1].model_copy(update={"batch": "big"})


def test_nothing_to_enqueue_is_nothing_done(real: Desk, store: RedisStore) -> None:
    assert real.ledger.enqueue([]) == []
    assert store.client.keys("warrooms:*") == []


def test_two_accounts_have_nothing_in_common(real: Desk, store: RedisStore) -> None:
    other = Ledger(store, "other", clock=real.clock)
    queued(real)
    assert other.progress().total == 0
    assert other.record(JOB.id.replace("acc", "other", 1)) is None


def test_redis_gives_the_time(store: RedisStore) -> None:
    ledger = Ledger(store, "acc")
    ledger.enqueue([JOB])
    seconds, _ = store.client.time()
    record = ledger.record(JOB.id)
    assert record is not None
    assert abs(record.created_at - int(seconds)) < 60


def test_a_claim_says_who_holds_it(real: Desk) -> None:
    claim = opening(real)
    assert claim.token.startswith("w1/")
    assert replace(claim, token="") == Claim(JOB.id, "", 1, look_first=False)


def test_a_command_that_nobody_knows_is_refused(store: RedisStore) -> None:
    with pytest.raises(QueueUnavailable, match="unknown command"):
        store.script("ledger")([BASE], ["dance", ""])


def _come_due(desk: Desk, most: int = 10) -> list[tuple[str, Lane]]:
    if isinstance(desk.ledger, FakeLedger):
        return desk.ledger.take_due(most)
    desk.ledger._store.client.delete(f"{BASE}:nudged")  # nobody else has just looked
    return desk.ledger.take_due(most, 1000)
