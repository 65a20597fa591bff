"""The ledger: every state under every command, who may change what, and what is left behind.

The first half is the contract of the use case's port: it holds for the real ledger and for its fake alike. What a dead
worker, a lost message and a restart of Redis do is in test_ledger_rescue.py and test_ledger_restart.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

from tests.desk import BASE, JOB, KEY, STARTED_S, Desk, audit, ids, messages, real_desk, some
from tests.fakes import A_ROOM, START_MS, Clock, FakeLedger, a_job
from worker.errors import AccessDenied, NotSent, OutcomeUnknown, QueueUnavailable, RequestRefused
from worker.jobs import INT64_MAX, JobState, Lane, WarRoom
from worker.ledger import PARTS, Ledger
from worker.records import Claim, Entered, Reason

if TYPE_CHECKING:
    from worker.redis_store import RedisStore

REFUSED: Final = RequestRefused("no such incident", code="ResourceNotFound", status=400, request_id="r1", hint="look")
TIMEOUT: Final = OutcomeUnknown("no answer", code="Timeout")
DENIED: Final = AccessDenied("no", code="AccessDenied", status=403)
NOT_SENT: Final = NotSent("no route", code="Connect")
DAY_MS: Final = 86_400_000


@pytest.fixture(params=["valkey", "fake"])
def desk(request: pytest.FixtureRequest) -> Desk:
    if request.param == "fake":
        clock = Clock()
        return Desk(FakeLedger("acc", clock=clock), clock)
    return real_desk(request.getfixturevalue("store"))


@pytest.fixture
def real(store: RedisStore) -> Desk:
    return real_desk(store)


# --- the table: state x command -----------------------------------------------------------------------------------

NOBODY: Final = Claim(JOB, "w0/never", 1, look_first=False)


def absent(_: Desk) -> Claim:
    return NOBODY


def queued(desk: Desk) -> Claim:
    desk.ledger.enqueue([JOB])
    return NOBODY


def claimed(desk: Desk) -> Claim:
    queued(desk)
    return desk.claim()


def begun(desk: Desk) -> Claim:
    claim = claimed(desk)
    assert desk.ledger.begin(claim, sent=True)
    return claim


def released(desk: Desk) -> Claim:
    claim = begun(desk)
    desk.ledger.release(claim)
    return claim


def bereft(desk: Desk) -> Claim:
    """Its worker is dead, and nobody has noticed yet."""
    claim = begun(desk)
    desk.let_die()
    return claim


def lost(desk: Desk) -> Claim:
    """Another worker has it now."""
    claim = bereft(desk)
    desk.recover()
    desk.claim(worker="w2")
    return claim


def retrying(desk: Desk) -> Claim:
    claim = begun(desk)
    desk.ledger.retry(claim, TIMEOUT, 5.0, look_first=False)
    return claim


def opened(desk: Desk) -> Claim:
    claim = begun(desk)
    desk.ledger.has_room(claim, JobState.OPENED, A_ROOM, "r")
    return claim


def found(desk: Desk) -> Claim:
    claim = begun(desk)
    desk.ledger.has_room(claim, JobState.FOUND, A_ROOM, "r")
    return claim


def failed(desk: Desk) -> Claim:
    claim = begun(desk)
    desk.ledger.failed(claim, REFUSED, "no")
    return claim


def cancelled(desk: Desk) -> Claim:
    claim = claimed(desk)
    desk.ledger.cancel([JOB.id])
    return claim


def dropped(desk: Desk) -> Claim:
    claim = failed(desk)
    desk.ledger.drop([JOB.id])
    return claim


def requeued(desk: Desk) -> Claim:
    claim = failed(desk)
    desk.ledger.enqueue([JOB])
    return claim


def resumed(desk: Desk) -> Claim:
    claim = cancelled(desk)
    desk.ledger.enqueue([JOB])
    return claim


State = Callable[[Desk], Claim]
Command = Callable[[Desk, Claim], object]

COMMANDS: Final[dict[str, Command]] = {
    "enqueue": lambda desk, _: desk.ledger.enqueue([JOB])[0].new,
    "claim": lambda desk, _: _short(desk.ledger.claim(JOB, "w3")),
    "begin": lambda desk, claim: desk.ledger.begin(claim, sent=True),
    "has_room": lambda desk, claim: desk.ledger.has_room(claim, JobState.OPENED, A_ROOM, "r"),
    "failed": lambda desk, claim: desk.ledger.failed(claim, REFUSED, "no"),
    "retry": lambda desk, claim: desk.ledger.retry(claim, TIMEOUT, 5.0, look_first=False),
    "release": lambda desk, claim: desk.ledger.release(claim),
    "recover": lambda desk, _: [reason for reason, _ in desk.recover()],
    "replay": lambda desk, _: desk.ledger.replay([JOB]),
    "drop": lambda desk, _: desk.ledger.drop([JOB.id]),
    "cancel": lambda desk, _: desk.ledger.cancel([JOB.id]),
}


def _short(reply: object) -> object:
    return "claimed" if isinstance(reply, Claim) else reply


S: Final = JobState
WRITES: Final = ("begin", "has_room", "failed", "retry", "release")
IN_HAND: Final[dict[str, tuple[object, JobState | None]]] = {
    "enqueue": (False, S.OPENING),
    "claim": (S.OPENING, S.OPENING),
    "begin": (True, S.OPENING),
    "has_room": (True, S.OPENED),
    "failed": (True, S.FAILED),
    "retry": (True, S.RETRYING),
    "release": (True, S.QUEUED),
    "cancel": ([S.OPENING], S.OPENING),
}
IN_LINE: Final[dict[str, tuple[object, JobState | None]]] = {
    "enqueue": (False, S.QUEUED),
    "claim": ("claimed", S.OPENING),
    "cancel": ([S.CANCELLED], S.CANCELLED),
}

# For each state: what each command answers, and the state it leaves. What is not named changes nothing: writes answer
# False, replay and drop [False], recover [], cancel the state.
TABLE: Final[dict[State, dict[str, tuple[object, JobState | None]]]] = {
    absent: {
        "enqueue": (True, S.QUEUED),
        "claim": ("claimed", S.OPENING),  # a foreign client's message: its record begins now
        "has_room": (True, S.OPENED),  # Redis lost the record in a crash, the room is there
        "cancel": ([None], None),
    },
    queued: IN_LINE,
    claimed: {**IN_HAND, "cancel": ([S.CANCELLED], S.CANCELLED)},
    begun: IN_HAND,
    # Nobody else took it yet, so a worker that was only slow may still finish.
    bereft: {**IN_HAND, "recover": ([Reason.DEAD], S.QUEUED)},
    lost: {
        "enqueue": (False, S.OPENING),
        "claim": (S.OPENING, S.OPENING),
        "cancel": ([S.CANCELLED], S.CANCELLED),  # the other one has not begun
    },
    # A command that is repeated because its reply was lost says again what it said.
    released: {**IN_LINE, "release": (True, S.QUEUED)},
    retrying: {
        "enqueue": (False, S.RETRYING),
        "claim": (S.RETRYING, S.RETRYING),
        "retry": (True, S.RETRYING),
        "cancel": ([S.CANCELLED], S.CANCELLED),
    },
    opened: {"enqueue": (False, S.OPENED), "claim": (S.OPENED, S.OPENED), "has_room": (True, S.OPENED)},
    found: {"enqueue": (False, S.FOUND), "claim": (S.FOUND, S.FOUND)},
    failed: {
        "enqueue": (True, S.QUEUED),
        "claim": (S.FAILED, S.FAILED),
        "failed": (True, S.FAILED),
        "replay": ([True], S.QUEUED),
        "drop": ([True], S.CANCELLED),
    },
    cancelled: {"enqueue": (True, S.QUEUED), "claim": (S.CANCELLED, S.CANCELLED)},
    dropped: {"enqueue": (True, S.QUEUED), "claim": (S.CANCELLED, S.CANCELLED)},
    requeued: IN_LINE,
    resumed: IN_LINE,
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("before", TABLE, ids=lambda state: state.__name__)
def test_every_state_under_every_command(desk: Desk, before: State, command: str) -> None:
    claim = before(desk)
    was, record = desk.state(), desk.ledger.record(JOB.id)
    nothing = {"recover": [], "replay": [False], "drop": [False], "cancel": [was]}.get(command, False)
    reply, after = TABLE[before].get(command, (nothing, was))
    assert COMMANDS[command](desk, claim) == reply
    assert desk.state() == after
    assert desk.counted() == ({after: 1} if after else {})
    if command not in TABLE[before]:
        assert desk.ledger.record(JOB.id) == record, "a lost claim, or a command out of place, changed something"
    if command in WRITES:
        record = desk.ledger.record(JOB.id)
        again = COMMANDS[command](desk, claim)
        assert again == reply, "the same command twice must say the same: its first reply may have been lost"
        assert desk.ledger.record(JOB.id) == record
    _agrees(desk)


def _agrees(desk: Desk) -> None:
    """Places, messages, records and counters; the fake keeps lines and messages only."""
    for lane in Lane:
        standing = [id_ for n, id_ in enumerate(desk.queue(lane)) if id_ in desk.line(lane)[: n + 1]]
        assert list(dict.fromkeys(standing)) == desk.line(lane)
    if desk.store is not None:
        audit(desk.store)


# --- what a record tells ------------------------------------------------------------------------------------------


def test_a_job_comes_back_as_it_was_handed_in(desk: Desk) -> None:
    job = a_job(7, member_ids=(INT64_MAX, 1), add_observers=True, lane=Lane.URGENT, batch="b.1")
    desk.ledger.enqueue([job], "b.1")
    record = desk.record(job)
    assert (record.job, record.state, record.batches, record.attempts) == (job, S.QUEUED, ("b.1",), 0)
    assert (record.created_at, record.updated_at) == (STARTED_S, STARTED_S)
    assert (record.due_at, record.first_failed_at, record.finished_at) == (None, None, None)
    assert (record.room, record.code, record.worker) == (None, "", "")


def test_a_claim_knows_the_job_better_than_the_message_that_made_it(desk: Desk) -> None:
    job = a_job(member_ids=(1, 2), add_observers=True, lane=Lane.URGENT, batch="b")
    desk.ledger.enqueue([job], "b")
    claim = desk.claim(JOB)
    assert claim.job == job
    assert (claim.attempt, claim.look_first, claim.failing_s) == (1, False, 0.0)


def test_a_message_without_a_record_brings_its_own(desk: Desk) -> None:
    foreign = a_job(member_ids=(5,), add_observers=True, lane=Lane.URGENT, batch="theirs")
    claim = desk.claim(foreign)
    assert claim.job == foreign
    record = desk.record()
    assert (record.job, record.state, record.batches, record.worker) == (foreign, S.OPENING, ("theirs",), "w1")
    assert desk.of_batch("theirs") == {S.OPENING: 1}
    assert desk.line(Lane.URGENT) == []


def test_a_foreign_message_in_a_hurry_hurries_a_waiting_job(desk: Desk) -> None:
    queued(desk)
    claim = desk.claim(a_job(lane=Lane.URGENT))
    assert claim.job.lane is Lane.URGENT
    desk.ledger.release(claim)
    assert (desk.line(Lane.URGENT), desk.line()) == ([JOB.id], [])


def test_who_has_a_job_in_hand_is_told_while_he_has_it(desk: Desk) -> None:
    claim = claimed(desk)
    assert desk.record().worker == "w1"
    desk.ledger.release(claim)
    assert desk.record().worker == ""


def test_an_opened_job_has_its_room(desk: Desk) -> None:
    claim = begun(desk)
    desk.clock.forward(2)
    desk.ledger.has_room(claim, S.OPENED, A_ROOM, "req")
    record = desk.record()
    assert (record.room, record.request_id, record.finished_at) == (A_ROOM, "req", STARTED_S + 2)
    assert desk.ledger.enqueue([JOB]) == [
        Entered(JOB.id, S.OPENED, False, Lane.BULK, A_ROOM.chat_id, A_ROOM.share_link)
    ]


def test_a_room_without_a_link_is_a_room(desk: Desk) -> None:
    room = WarRoom(chat_id="oc_2")
    desk.ledger.has_room(begun(desk), S.FOUND, room, "")
    assert desk.record().room == room


def test_a_room_is_written_down_even_if_redis_has_forgotten_the_job(desk: Desk) -> None:
    forgotten = Claim(a_job(member_ids=(1,), lane=Lane.URGENT, batch="b"), "w1/x", 2, look_first=False)
    assert desk.ledger.has_room(forgotten, S.FOUND, A_ROOM, "req")
    record = desk.record()
    assert (record.state, record.room, record.request_id, record.batches) == (S.FOUND, A_ROOM, "req", ())
    assert desk.ledger.claim(JOB, "w1") is S.FOUND


def test_a_dead_letter_says_why_and_since_when(desk: Desk) -> None:
    desk.ledger.retry(begun(desk), TIMEOUT, 0, look_first=False)
    desk.clock.forward(9)
    desk.recover()
    claim = desk.claim()
    assert claim.failing_s == 9
    desk.ledger.begin(claim, sent=True)
    desk.ledger.failed(claim, REFUSED, "no")
    record = desk.record()
    assert (record.code, record.message, record.hint) == ("ResourceNotFound", "no", "look")
    assert (record.status, record.request_id, record.attempts) == (400, "r1", 2)
    assert (record.first_failed_at, record.finished_at) == (STARTED_S, STARTED_S + 9)


def test_an_error_is_forgotten_when_the_room_is_there(desk: Desk) -> None:
    desk.ledger.retry(begun(desk), REFUSED, 0, look_first=True)
    desk.recover()
    claim = desk.claim()
    desk.ledger.begin(claim, sent=False)
    desk.ledger.has_room(claim, S.FOUND, A_ROOM, "r2")
    record = desk.record()
    assert (record.code, record.message, record.hint, record.status) == ("", "", "", None)
    assert (record.request_id, record.attempts, record.first_failed_at) == ("r2", 2, None)


def test_a_retry_tells_when_it_is_due(desk: Desk) -> None:
    retrying(desk)
    record = desk.record()
    assert (record.due_at, record.code, record.message) == (STARTED_S + 5, "Timeout", "Timeout: no answer")
    assert record.first_failed_at == STARTED_S


# --- attempts and looking first -----------------------------------------------------------------------------------


def test_a_claim_is_no_attempt(desk: Desk) -> None:
    claim = claimed(desk)
    assert desk.record().attempts == 0
    desk.ledger.begin(claim, sent=True)
    assert desk.record().attempts == 1
    desk.ledger.begin(claim, sent=True)
    assert desk.record().attempts == 1, "looking first and creating then is one attempt"


def test_a_release_costs_no_attempt(desk: Desk) -> None:
    released(desk)
    assert desk.record().attempts == 0
    assert desk.claim().attempt == 1


def test_a_job_given_back_before_it_began_has_the_attempts_that_it_had(desk: Desk) -> None:
    retrying(desk)
    desk.clock.forward(5)
    desk.recover()
    desk.ledger.release(desk.claim())
    assert desk.record().attempts == 1
    assert desk.claim().attempt == 2


@pytest.mark.parametrize(("spent", "attempts"), [(True, 1), (False, 0)])
def test_a_retry_costs_an_attempt_if_it_is_the_jobs_own_fault(desk: Desk, spent: bool, attempts: int) -> None:  # noqa: FBT001
    desk.ledger.retry(begun(desk), TIMEOUT, 0, look_first=False, spent=spent)
    assert desk.record().attempts == attempts
    desk.recover()
    assert desk.claim().attempt == attempts + 1


def test_denials_that_count_are_counted_until_the_job_ends(desk: Desk) -> None:
    desk.ledger.enqueue([JOB])
    denials = []
    for error, spent in ((TIMEOUT, True), (DENIED, True), (DENIED, False), (TIMEOUT, True), (DENIED, True)):
        claim = begun(desk)
        denials.append(claim.denials)
        desk.ledger.retry(claim, error, 0, look_first=False, spent=spent)
        desk.recover()
    assert denials == [0, 0, 1, 1, 1]
    claim = begun(desk)
    assert claim.denials == 2
    desk.ledger.failed(claim, DENIED, "no")
    desk.ledger.enqueue([JOB])
    assert desk.claim().denials == 0


def test_an_attempt_of_a_dead_worker_counts_if_it_had_begun(desk: Desk) -> None:
    bereft(desk)
    desk.recover()
    assert desk.claim().attempt == 2


def test_a_claim_of_a_dead_worker_that_had_not_begun_is_no_attempt_and_sent_nothing(desk: Desk) -> None:
    claimed(desk)
    desk.let_die()
    desk.recover()
    again = desk.claim()
    assert (again.attempt, again.look_first) == (1, False)


def test_a_first_attempt_looks_not(desk: Desk) -> None:
    assert not claimed(desk).look_first


def test_a_job_whose_call_went_out_before_its_worker_died_looks_first(desk: Desk) -> None:
    bereft(desk)
    desk.recover()
    assert desk.claim().look_first


def test_a_job_that_was_only_looking_when_its_worker_died_still_looks_first(desk: Desk) -> None:
    desk.ledger.retry(begun(desk), TIMEOUT, 0, look_first=True)
    desk.recover()
    desk.ledger.begin(desk.claim(), sent=False)
    desk.let_die()
    desk.recover()
    assert desk.claim().look_first


def test_a_released_job_was_not_sent(desk: Desk) -> None:
    released(desk)
    desk.claim()
    desk.let_die()
    desk.recover()
    assert not desk.claim().look_first


def test_a_job_given_back_may_have_to_look_first(desk: Desk) -> None:
    desk.ledger.release(begun(desk), look_first=True)
    assert desk.claim().look_first


def test_a_job_that_had_to_look_looks_until_it_has_a_room(desk: Desk) -> None:
    desk.ledger.retry(begun(desk), TIMEOUT, 0, look_first=True)
    desk.recover()
    desk.ledger.release(desk.claim())
    desk.ledger.retry(desk.claim(), NOT_SENT, 0, look_first=False)
    desk.recover()
    assert desk.claim().look_first


def test_a_dead_letter_that_is_enqueued_again_starts_anew_but_still_looks_first(desk: Desk) -> None:
    desk.ledger.retry(begun(desk), TIMEOUT, 0, look_first=True)
    desk.recover()
    desk.ledger.failed(desk.claim(), TIMEOUT, "after 6 attempts")
    desk.clock.forward(9)
    job = a_job(member_ids=(5,), lane=Lane.URGENT)
    assert desk.ledger.enqueue([job]) == [Entered(JOB.id, S.QUEUED, True, job.lane, position=0)]
    record = desk.record()
    assert (record.job, record.attempts, record.code, record.message) == (job, 0, "", "")
    assert (record.finished_at, record.due_at, record.status, record.first_failed_at) == (None, None, None, None)
    again = desk.claim()
    assert (again.attempt, again.look_first, again.failing_s) == (1, True, 0.0)


def test_a_dead_letter_whose_last_outcome_is_unknown_looks_first_when_it_is_enqueued_again(desk: Desk) -> None:
    desk.ledger.failed(begun(desk), TIMEOUT, "after 6 attempts")
    desk.ledger.enqueue([JOB])
    assert desk.claim().look_first


def test_a_dead_letter_that_was_refused_does_not_look(desk: Desk) -> None:
    requeued(desk)
    assert not desk.claim().look_first


# --- lanes, lines and batches -------------------------------------------------------------------------------------


def test_jobs_stand_in_the_order_in_which_they_came_each_lane_its_own(desk: Desk) -> None:
    desk.ledger.enqueue([*some(1, 2), a_job(3, lane=Lane.URGENT)])
    desk.ledger.enqueue([a_job(4, lane=Lane.URGENT), a_job(5)])
    for lane, numbers in ((Lane.BULK, (1, 2, 5)), (Lane.URGENT, (3, 4))):
        assert desk.line(lane) == desk.queue(lane) == [a_job(n).id for n in numbers]


def test_a_released_job_keeps_its_turn_and_brings_a_message(desk: Desk) -> None:
    desk.ledger.enqueue(some(1, 3))
    desk.pop()
    claim = desk.claim(a_job(1))
    desk.ledger.release(claim)
    assert desk.line() == ids(some(1, 3))
    assert desk.queue() == [a_job(n).id for n in (2, 3, 1)]


def test_an_urgent_enqueue_makes_a_waiting_job_urgent(desk: Desk) -> None:
    queued(desk)
    assert desk.ledger.progress().queued_urgent == 0
    assert not desk.ledger.enqueue([a_job(lane=Lane.URGENT)])[0].new
    assert desk.record().job.lane is Lane.URGENT
    assert desk.ledger.progress().queued_urgent == 1
    assert (desk.line(), desk.line(Lane.URGENT), desk.queue(Lane.URGENT)) == ([], [JOB.id], [JOB.id])


def test_the_old_message_of_a_job_that_was_hurried_changes_nothing_any_more(desk: Desk) -> None:
    queued(desk)
    desk.ledger.enqueue([a_job(lane=Lane.URGENT)])
    assert desk.queue() == [JOB.id]
    desk.claim(a_job(lane=Lane.URGENT))
    assert desk.ledger.claim(JOB, "w2") is S.OPENING


def test_a_bulk_enqueue_makes_no_urgent_job_bulk(desk: Desk) -> None:
    desk.ledger.enqueue([a_job(lane=Lane.URGENT), JOB])
    assert desk.ledger.progress().queued_urgent == 1


def test_an_urgent_enqueue_of_a_retry_hurries_it_too(desk: Desk) -> None:
    retrying(desk)
    desk.ledger.enqueue([a_job(lane=Lane.URGENT)])
    assert desk.ledger.progress().queued_urgent == 0
    desk.clock.forward(5)
    desk.recover()
    assert desk.ledger.progress().queued_urgent == 1
    assert desk.line(Lane.URGENT) == [JOB.id]


@pytest.mark.parametrize("end", [opened, found], ids=lambda state: state.__name__)
def test_a_job_that_is_done_with_stays_in_its_lane(desk: Desk, end: State) -> None:
    end(desk)
    desk.ledger.enqueue([a_job(lane=Lane.URGENT)])
    assert desk.record().job.lane is Lane.BULK


def test_whoever_enqueues_a_waiting_job_again_may_invite_more_people_each_once(desk: Desk) -> None:
    desk.ledger.enqueue([a_job(member_ids=(11, 2))])
    for members, observers in (((2, 1), False), ((11,), True), ((), False)):
        desk.ledger.enqueue([a_job(member_ids=members, add_observers=observers)])
    assert desk.record().job == a_job(member_ids=(11, 2, 1), add_observers=True)


def test_a_job_in_hand_invites_nobody_more(desk: Desk) -> None:
    claimed(desk)
    desk.ledger.enqueue([a_job(member_ids=(1,), add_observers=True)])
    assert desk.record().job == JOB


def test_one_call_may_hold_the_same_job_twice(desk: Desk) -> None:
    first, second = desk.ledger.enqueue([JOB, JOB], "b")
    assert (first.new, second.new) == (True, False)
    assert desk.of_batch("b") == {S.QUEUED: 1}
    assert desk.queue() == [JOB.id]


def test_a_job_counts_in_every_batch_it_was_handed_in_with(desk: Desk) -> None:
    for name in ("a", "b", "a"):
        desk.ledger.enqueue([JOB], name)
    desk.ledger.has_room(desk.claim(), S.OPENED, A_ROOM, "")
    desk.ledger.enqueue([JOB], "late")
    record = desk.record()
    assert record.batches == ("a", "b", "late")
    for name in record.batches:
        batch = desk.ledger.batch(name)
        assert batch is not None
        assert (batch.states[S.OPENED], batch.total, batch.waiting, batch.with_room) == (1, 1, 0, 1)


def test_a_job_counts_in_64_batches_at_most(desk: Desk) -> None:
    for n in range(65):
        desk.ledger.enqueue([JOB], f"b{n}")
    assert desk.record().batches == tuple(f"b{n}" for n in range(64))


def test_an_unknown_batch_is_none(desk: Desk) -> None:
    assert desk.ledger.batch("nobody") is None


# --- what is due --------------------------------------------------------------------------------------------------


def test_a_retry_is_queued_again_when_it_is_due_and_not_before(desk: Desk) -> None:
    retrying(desk)
    desk.clock.forward(4.999)
    assert desk.recover() == []
    desk.clock.forward(0.001)
    assert desk.recover() == [(Reason.DUE, JOB.id)]
    assert desk.state() is S.QUEUED
    assert desk.record().due_at is None
    assert desk.recover() == []


def test_due_retries_stand_in_front_in_the_order_that_they_had(desk: Desk) -> None:
    jobs = some(1, 5)
    desk.ledger.enqueue([*jobs, a_job(6), a_job(7, lane=Lane.URGENT)])
    for delay_s, job in zip((5, 1, 4, 2, 3), jobs, strict=True):
        desk.pop()
        desk.ledger.retry(desk.claim(job), TIMEOUT, delay_s, look_first=False)
    desk.clock.forward(60)
    assert len(desk.recover()) == 5
    assert desk.line() == ids(some(1, 6))
    assert sorted(desk.queue()) == ids(some(1, 6))
    assert desk.line(Lane.URGENT) == [a_job(7).id]


def test_more_due_retries_than_one_look_takes_come_with_the_next_looks(desk: Desk) -> None:
    jobs = some(1, 5)
    desk.ledger.enqueue(jobs)
    for delay_s, job in enumerate(jobs, 1):
        desk.pop()
        desk.ledger.retry(desk.claim(job), TIMEOUT, delay_s, look_first=False)
    desk.clock.forward(60)
    assert [len(desk.recover(most=2)) for _ in range(4)] == [2, 2, 1, 0]
    assert desk.line() == desk.queue() == ids(jobs)


def test_a_stray_that_is_none_any_more_is_left_alone(desk: Desk) -> None:
    retrying(desk)
    desk.clock.forward(5)
    strays = desk.strays()
    assert desk.ledger.requeue(strays) == 1
    assert desk.ledger.requeue(strays) == 0, "its reply was lost, and it is asked again"
    assert desk.queue().count(JOB.id) == 2, "the first enqueue's message, and one more"
    desk.ledger.cancel([JOB.id])
    assert desk.ledger.requeue(strays) == 0


@pytest.mark.parametrize("end", [opened, failed, cancelled], ids=lambda state: state.__name__)
def test_a_job_that_is_done_with_is_no_stray(desk: Desk, end: State) -> None:
    end(desk)
    desk.let_die()
    assert desk.recover() == []


# --- what people do -----------------------------------------------------------------------------------------------


def test_a_dead_letter_that_is_replayed_starts_anew_at_the_end_of_its_line(desk: Desk) -> None:
    desk.ledger.enqueue([a_job(lane=Lane.URGENT, member_ids=(1,))], "b")
    claim = desk.claim()
    desk.ledger.begin(claim, sent=True)
    desk.ledger.failed(claim, TIMEOUT, "no")
    desk.ledger.enqueue([a_job(2, lane=Lane.URGENT)], "b")
    assert desk.ledger.replay([desk.record().job, a_job(2), a_job(3)]) == [True, False, False]
    assert desk.line(Lane.URGENT) == [a_job(2).id, JOB.id]
    assert desk.queue(Lane.URGENT)[-1] == JOB.id
    record = desk.record()
    assert (record.attempts, record.code, record.finished_at, record.job.member_ids) == (0, "", None, (1,))
    assert desk.of_batch("b") == {S.QUEUED: 2}
    assert [desk.claim().look_first for _ in range(2)] == [False, True]
    assert not desk.ledger.failed(claim, REFUSED, "late"), "the old claim means nothing any more"


def test_a_dead_letter_that_is_dropped_is_cancelled_and_keeps_its_reason(desk: Desk) -> None:
    desk.ledger.enqueue([JOB], "b")
    desk.ledger.failed(desk.claim(), REFUSED, "no")
    desk.clock.forward(3)
    assert desk.ledger.drop([JOB.id, a_job(9).id]) == [True, False]
    record = desk.record()
    assert (record.state, record.code, record.message) == (S.CANCELLED, "ResourceNotFound", "no")
    assert record.finished_at == STARTED_S + 3
    assert desk.of_batch("b") == {S.CANCELLED: 1}


def test_what_is_cancelled_leaves_the_line_and_its_message_serves_another_or_nobody(desk: Desk) -> None:
    jobs = some(1, 3)
    desk.ledger.enqueue(jobs, "b")
    assert desk.ledger.cancel([jobs[1].id, a_job(9).id]) == [S.CANCELLED, None]
    assert desk.line() == [jobs[0].id, jobs[2].id]
    claims = [desk.ledger.claim(jobs[1], "w1") for _ in jobs]
    assert [claim.job.id if isinstance(claim, Claim) else claim for claim in claims] == [
        jobs[0].id,
        jobs[2].id,
        S.CANCELLED,
    ]
    for claim in claims[:2]:
        assert isinstance(claim, Claim)
        desk.ledger.release(claim)
    assert desk.of_batch("b") == {S.CANCELLED: 1, S.QUEUED: 2}
    assert desk.record(jobs[1]).finished_at == STARTED_S


def test_a_worker_whose_job_was_cancelled_before_the_call_may_not_call(desk: Desk) -> None:
    claim = claimed(desk)
    assert desk.ledger.cancel([JOB.id]) == [S.CANCELLED]
    assert not desk.ledger.begin(claim, sent=True)
    assert not desk.ledger.release(claim)
    assert desk.state() is S.CANCELLED


def test_a_job_whose_call_is_out_cannot_be_cancelled(desk: Desk) -> None:
    claim = begun(desk)
    assert desk.ledger.cancel([JOB.id]) == [S.OPENING]
    assert desk.ledger.has_room(claim, S.OPENED, A_ROOM, "r")
    assert desk.ledger.cancel([JOB.id]) == [S.OPENED]


def test_a_cancelled_retry_that_may_have_a_room_looks_first_when_it_is_enqueued_again(desk: Desk) -> None:
    desk.ledger.retry(begun(desk), TIMEOUT, 5, look_first=True)
    desk.ledger.cancel([JOB.id])
    desk.clock.forward(60)
    assert desk.recover() == []
    assert desk.ledger.enqueue([JOB]) == [Entered(JOB.id, S.QUEUED, True, Lane.BULK, position=0)]
    claim = desk.claim()
    assert (claim.look_first, claim.attempt) == (True, 1)


def test_whoever_cancels_or_drops_twice_changes_nothing_more(desk: Desk) -> None:
    queued(desk)
    assert [desk.ledger.cancel([JOB.id]) for _ in range(2)] == [[S.CANCELLED]] * 2
    assert desk.counted() == {S.CANCELLED: 1}
    assert desk.ledger.drop([JOB.id]) == [False]


def test_nothing_to_do_is_nothing_done(desk: Desk) -> None:
    assert (desk.ledger.enqueue([]), desk.ledger.replay([])) == ([], [])
    assert (desk.ledger.drop([]), desk.ledger.cancel([]), desk.ledger.requeue([])) == ([], [], 0)


# --- the real one: keys, times, sizes -----------------------------------------------------------------------------


def _ledger(desk: Desk) -> Ledger:
    assert isinstance(desk.ledger, Ledger)
    return desk.ledger


def test_only_one_worker_at_a_time_looks_for_strays(real: Desk, store: RedisStore) -> None:
    retrying(real)
    real.clock.forward(5)
    other = Ledger(store, "acc", clock=real.clock)
    assert len(other.strays(10, 30_000)) == 1
    assert other.strays(10, 30_000) == []
    assert 0 < store.client.pttl(f"{BASE}:nudged") <= 30_000
    store.client.delete(f"{BASE}:nudged")
    assert len(other.strays(10, 30_000)) == 1, "looking alone queues nothing: who looked may have died"


def test_a_claim_whose_reply_was_lost_is_given_again_and_no_other(real: Desk) -> None:
    queued(real)
    call = cast("Any", real.ledger)._call
    rest = ("w1", "", "bulk", "", "")
    first = call("claim", JOB.id.partition(".")[2], "w1/a", *rest)
    assert first[0] == "claimed"
    assert call("claim", JOB.id.partition(".")[2], "w1/a", *rest) == first
    assert call("claim", JOB.id.partition(".")[2], "w1/b", *rest) == ["opening"]
    assert real.counted() == {S.OPENING: 1}


def test_a_claim_says_who_holds_it(real: Desk) -> None:
    claim = claimed(real)
    assert claim.token.startswith("w1/")
    assert replace(claim, token="") == Claim(JOB, "", 1, look_first=False)


@pytest.mark.parametrize("before", [queued, released, retrying, claimed, resumed], ids=lambda state: state.__name__)
def test_a_live_job_is_kept_without_end(real: Desk, store: RedisStore, before: State) -> None:
    before(real)
    assert store.client.pttl(KEY) == -1


@pytest.mark.parametrize("end", [opened, failed, cancelled, dropped], ids=lambda state: state.__name__)
def test_a_finished_job_is_kept_for_the_retention(store: RedisStore, end: State) -> None:
    end(real_desk(store, retention_s=3 * 86_400))
    assert 3 * DAY_MS - 60_000 < store.client.pttl(KEY) <= 3 * DAY_MS


@pytest.mark.parametrize("how", ["enqueue", "replay"])
def test_a_dead_letter_that_is_queued_again_is_kept_without_end(real: Desk, store: RedisStore, how: str) -> None:
    failed(real)
    ledger = _ledger(real)
    assert [record.job.id for record in ledger.dead_letters()] == [JOB.id]
    COMMANDS[how](real, NOBODY)
    assert store.client.pttl(KEY) == -1
    assert list(ledger.dead_letters()) == []


def test_a_batch_outlives_the_records_it_counts(real: Desk, store: RedisStore) -> None:
    real.ledger.enqueue([JOB], "b")
    assert 14 * DAY_MS - 60_000 < store.client.pttl(f"{BASE}:batch:b") <= 14 * DAY_MS


@pytest.mark.parametrize("rest", [opened, retrying, released, cancelled], ids=lambda state: state.__name__)
def test_a_job_that_outlives_its_batch_does_not_bring_it_back(real: Desk, store: RedisStore, rest: State) -> None:
    real.ledger.enqueue([JOB], "old")
    store.client.delete(f"{BASE}:batch:old")  # its retention ended
    rest(real)
    assert real.ledger.batch("old") is None


def test_dead_letters_and_batches_come_newest_first(real: Desk) -> None:
    ledger = _ledger(real)
    for job in some(1, 3):
        real.clock.forward(1)
        ledger.enqueue([job], f"b{int(job.incident_id, 16)}")
        ledger.failed(real.claim(job), REFUSED, "no")
    assert [record.job.id for record in ledger.dead_letters()] == ids(some(1, 3))[::-1]
    assert ledger.batches(2) == ["b3", "b2"]
    batch = ledger.batch("b3")
    assert batch is not None
    assert batch.created_at == START_MS / 1000 + 3


def test_dead_letters_and_batches_are_forgotten_after_their_time(real: Desk) -> None:
    ledger = _ledger(real)
    for n, days in ((1, 0), (2, 15)):
        real.clock.forward(days * 86_400)
        ledger.enqueue([a_job(n)], f"b{n}")
        ledger.failed(real.claim(a_job(n)), REFUSED, "no")
    assert [record.job.id for record in ledger.dead_letters()] == [a_job(2).id]
    assert ledger.batches() == ["b2"]


def test_a_dead_letter_whose_record_is_gone_is_not_shown(real: Desk, store: RedisStore) -> None:
    failed(real)
    store.client.delete(KEY)
    assert list(_ledger(real).dead_letters()) == []


def test_everything_that_is_not_finished_can_be_listed(real: Desk) -> None:
    ledger = _ledger(real)
    ledger.enqueue([*some(1, 250), a_job(300, lane=Lane.URGENT), a_job(301)])
    real.claim(a_job(1))
    ledger.retry(real.claim(a_job(2)), TIMEOUT, 5, look_first=True)
    ledger.cancel([a_job(301).id])
    assert [record.job.id for record in ledger.unfinished()] == [a_job(n).id for n in (1, 2, 300, *range(3, 251))]


def test_a_thousand_jobs_go_in_with_one_call(real: Desk, store: RedisStore) -> None:
    jobs = [
        a_job(n, integration_id=INT64_MAX - n, member_ids=tuple(range(INT64_MAX - 20, INT64_MAX)))
        for n in range(1, 1001)
    ]
    assert all(entered.new for entered in real.ledger.enqueue(jobs, "big"))
    assert not any(entered.new for entered in real.ledger.enqueue(jobs, "big"))
    assert real.of_batch("big") == {S.QUEUED: 1000}
    assert real.record(jobs[-1]).job == jobs[-1].model_copy(update={"batch": "big"})
    assert real.queue() == ids(jobs)
    audit(store)


def test_a_record_does_not_grow_with_every_enqueue(real: Desk, store: RedisStore) -> None:
    for _ in range(3):
        real.ledger.enqueue([a_job(member_ids=(1, 21, 2))], "b")
    assert store.client.hget(KEY, "members") == "1,21,2"


def test_nothing_to_enqueue_leaves_no_key(real: Desk, store: RedisStore) -> None:
    assert real.ledger.enqueue([]) == []
    assert set(store.client.keys("*")) <= {f"{BASE}:account"}


def test_two_accounts_have_nothing_in_common(real: Desk, store: RedisStore) -> None:
    other = Ledger(store, "other", clock=real.clock)
    queued(real)
    assert other.progress().total == 0
    assert other.record(JOB.id.replace("acc", "other", 1)) is None
    assert messages(store, "warrooms.other") == []


def test_redis_gives_the_time(store: RedisStore) -> None:
    ledger = Ledger(store, "acc")
    ledger.enqueue([JOB])
    seconds, _ = store.client.time()
    record = ledger.record(JOB.id)
    assert record is not None
    assert abs(record.created_at - int(seconds)) < 60


def test_the_workers_that_were_heard_are_known_with_their_silence(store: RedisStore) -> None:
    ledger = Ledger(store, "acc")
    ledger.beat("w1")
    ledger.beat("w2")
    ledger.goodbye("w2")
    (only,) = ledger.workers().items()
    assert only[0] == "w1"
    assert 0 <= only[1] < 60


def test_a_command_that_nobody_knows_is_refused(store: RedisStore) -> None:
    with pytest.raises(QueueUnavailable, match="unknown command"):
        store.script(*PARTS)([BASE, "warrooms.acc", "warrooms.acc.urgent"], ["dance", "", 1, 1, 1, 1])
