"""What recovery finds: jobs in the hands of dead workers, and jobs whose message nobody will ever read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import pytest

from tests.desk import BASE, JOB, KEY, Desk, audit, ids, real_desk, some
from tests.fakes import A_ROOM, Clock, FakeLedger, a_job
from worker.errors import OutcomeUnknown
from worker.jobs import JobState, Lane, WarRoomJob
from worker.ledger import DEAD_MS, LOST_MS
from worker.records import Reason

if TYPE_CHECKING:
    from worker.records import Claim
    from worker.redis_store import RedisStore

S: Final = JobState
BULK: Final = "warrooms.acc"
TIMEOUT: Final = OutcomeUnknown("no answer", code="Timeout")
DEAD_S: Final = DEAD_MS / 1000
LOST_S: Final = LOST_MS / 1000
LOOK_S: Final = 0.5
DEAD: Final = [(Reason.DEAD, JOB.id)]


@pytest.fixture(params=["valkey", "fake"])
def desk(request: pytest.FixtureRequest) -> Desk:
    if request.param == "fake":
        clock = Clock()
        return Desk(FakeLedger("acc", clock=clock), clock)
    return real_desk(request.getfixturevalue("store"))


@pytest.fixture
def real(store: RedisStore) -> Desk:
    return real_desk(store)


def held(desk: Desk, worker: str = "w1") -> Claim:
    """A job whose call is out, in the hands of a worker that beats."""
    desk.ledger.enqueue([JOB])
    desk.ledger.beat(worker)
    desk.pop()
    claim = desk.claim(worker=worker)
    assert desk.ledger.begin(claim, sent=True)
    return claim


def looks(desk: Desk, seconds: float, most: int = 200) -> list[tuple[float, Reason, str]]:
    """Somebody looks every half second: what was queued again, and when."""
    found, start = [], desk.clock.now_ms
    while True:
        passed = (desk.clock.now_ms - start) / 1000
        found += [(passed, reason, id_) for reason, id_ in desk.recover(most)]
        if passed >= seconds:
            return found
        desk.clock.forward(LOOK_S)


# --- who is dead --------------------------------------------------------------------------------------------------


def test_a_worker_that_is_silent_while_another_beats_is_dead_after_its_time_and_not_before(desk: Desk) -> None:
    held(desk)
    desk.watch(DEAD_S - 0.001, "w2")
    assert desk.recover() == []
    desk.watch(0.001, "w2")
    assert desk.recover() == DEAD
    assert (desk.state(), desk.line(), desk.queue()) == (S.QUEUED, [JOB.id], [JOB.id])


def test_the_jobs_of_a_dead_worker_stand_in_front_in_the_order_that_they_had(desk: Desk) -> None:
    desk.ledger.enqueue(some(1, 5))
    for n in (1, 2, 3):
        desk.pop()
        claim = desk.claim(a_job(n))
        desk.clock.forward(0.1)
        if n == 2:
            desk.ledger.begin(claim, sent=True)
    desk.let_die()
    assert {id_ for _, id_ in desk.recover()} == set(ids(some(1, 3)))
    assert desk.line() == ids(some(1, 5))
    assert sorted(desk.queue()) == ids(some(1, 5))
    assert [desk.claim(a_job(n)).look_first for n in (1, 2, 3)] == [False, True, False]


def test_a_worker_that_beats_keeps_its_jobs_however_long_a_call_lasts(desk: Desk) -> None:
    claim = held(desk)
    desk.watch(3600, "w1", "w2")
    assert desk.recover() == []
    assert desk.ledger.has_room(claim, S.OPENED, A_ROOM, "r")


def test_a_worker_that_beats_again_in_time_keeps_its_jobs(desk: Desk) -> None:
    held(desk)
    desk.watch(DEAD_S - 1, "w2")
    desk.ledger.beat("w1")
    desk.watch(DEAD_S - 1, "w2")
    assert desk.recover() == []


def test_a_worker_that_beats_between_the_look_and_the_rescue_keeps_its_jobs(desk: Desk) -> None:
    held(desk)
    desk.watch(DEAD_S, "w2")
    strays = desk.strays()
    assert [stray.reason for stray in strays] == [Reason.DEAD]
    desk.ledger.beat("w1")
    assert desk.ledger.requeue(strays) == 0
    assert desk.state() is S.OPENING


def test_a_job_that_another_worker_took_after_the_look_stays_with_it(desk: Desk) -> None:
    held(desk)
    desk.watch(DEAD_S, "w2")
    strays = desk.strays()
    desk.ledger.requeue(strays)
    desk.claim(worker="w2")
    assert desk.ledger.requeue(strays) == 0
    assert desk.record().worker == "w2"


def test_a_worker_that_only_claims_is_heard_too(desk: Desk) -> None:
    held(desk)
    desk.watch(DEAD_S - 1, "w2")
    desk.ledger.enqueue([a_job(2)])
    desk.claim(a_job(2))
    desk.watch(1, "w2")
    assert desk.recover() == []


@pytest.mark.parametrize("silence_s", [5.001, 60.0, 86_400.0])
def test_nobody_is_dead_after_a_time_in_which_nobody_was_heard(desk: Desk, silence_s: float) -> None:
    held(desk)
    desk.watch(60, "w1", "w2")
    desk.clock.forward(silence_s)
    assert desk.recover() == [], "recovery may come before the first heartbeat does"
    desk.watch(DEAD_S - 0.001, "w2")
    assert desk.recover() == []
    desk.watch(0.001, "w2")
    assert desk.recover() == DEAD


def test_a_short_silence_of_all_is_no_break(desk: Desk) -> None:
    held(desk)
    desk.watch(6, "w2")
    desk.clock.forward(4)
    assert desk.recover() == DEAD


@pytest.mark.parametrize("step_s", [3600.0, -3600.0, 6.0, -1.0])
def test_a_clock_that_is_set_kills_nobody_and_saves_nobody(desk: Desk, step_s: float) -> None:
    held(desk)
    desk.watch(60, "w1", "w2")
    desk.clock.forward(step_s)
    assert desk.recover() == []
    desk.watch(DEAD_S - 0.001, "w2")
    assert desk.recover() == []
    desk.watch(2.001, "w2")
    assert desk.recover() == DEAD


def test_after_a_clock_was_set_back_a_worker_that_beats_lives(desk: Desk) -> None:
    held(desk)
    desk.watch(60, "w1", "w2")
    desk.clock.forward(-30)
    desk.watch(120, "w1", "w2")
    assert desk.recover() == []


def test_who_says_goodbye_with_a_job_in_hand_leaves_it_to_the_others(desk: Desk) -> None:
    claim = held(desk)
    desk.ledger.goodbye("w1")
    assert desk.recover() == DEAD
    assert not desk.ledger.has_room(claim, S.OPENED, A_ROOM, "r")
    assert desk.claim(worker="w2").look_first


def test_a_dead_worker_takes_only_its_own_jobs_along(desk: Desk) -> None:
    held(desk)
    desk.ledger.enqueue([a_job(2)])
    desk.claim(a_job(2), worker="w2")
    desk.watch(DEAD_S, "w2")
    assert desk.recover() == DEAD
    assert desk.state(a_job(2)) is S.OPENING


def test_a_job_in_hand_whose_record_is_gone_is_forgotten(real: Desk, store: RedisStore) -> None:
    held(real)
    store.client.delete(KEY)
    real.let_die()
    assert real.recover() == []
    assert store.client.exists(f"{BASE}:claims") == 0


def test_workers_that_were_not_heard_for_an_hour_are_forgotten(real: Desk, store: RedisStore) -> None:
    real.ledger.beat("w1")
    real.watch(3600, "w2")
    real.recover()
    assert store.client.zrange(f"{BASE}:workers", 0, -1) == ["w2"]


# --- what is lost -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("popped_after_s", [0.0, 0.1, 5.0, 9.9])
@pytest.mark.parametrize("others", [0, 1, 120])
def test_a_message_that_was_popped_and_never_used_is_written_again(
    desk: Desk, popped_after_s: float, others: int
) -> None:
    desk.ledger.enqueue(some(1, 1 + others))
    desk.recover()
    desk.clock.forward(popped_after_s)
    desk.pop()
    assert looks(desk, 60) == [(LOST_S, Reason.LOST, a_job(1).id)]
    assert desk.line() == ids(some(1, 1 + others))
    assert sorted(desk.queue()) == ids(some(1, 1 + others))


def test_no_job_waits_for_a_message_of_its_own(desk: Desk) -> None:
    desk.ledger.enqueue(some(1, 3))
    desk.pop()
    assert desk.pop() == a_job(2).id
    assert desk.claim(a_job(2)).job.id == a_job(1).id
    assert desk.pop() == a_job(3).id
    assert desk.claim(a_job(3)).job.id == a_job(2).id


def test_a_message_is_lost_only_after_its_time(desk: Desk) -> None:
    desk.ledger.enqueue([JOB])
    desk.pop()
    assert desk.recover() == []
    desk.clock.forward(LOST_S - 0.001)
    assert desk.recover() == []
    desk.clock.forward(0.001)
    assert desk.recover() == [(Reason.LOST, JOB.id)]


def test_a_message_that_was_popped_late_is_not_lost_early(desk: Desk) -> None:
    """It was still in the queue when somebody looked last, so its time begins with the next look."""
    desk.ledger.enqueue([JOB])
    desk.recover()
    desk.clock.forward(LOST_S - 0.001)
    desk.pop()
    desk.clock.forward(0.001)
    assert desk.recover() == []
    desk.clock.forward(LOST_S)
    assert desk.recover() == [(Reason.LOST, JOB.id)]


def test_messages_under_way_are_not_lost_though_there_always_are_some(desk: Desk) -> None:
    """Each look finds one on its way, or two; never the same."""
    desk.ledger.enqueue(some(1, 100))
    desk.ledger.beat("w1")
    written = 0
    for n in range(40):
        for _ in range(1 + n % 3):
            desk.pop()
        written += len(desk.recover())
        desk.clock.forward(LOOK_S)
        for _ in range(1 + n % 3):
            desk.claim(a_job(1))
    assert written <= 4, "one in a while: it does no harm"


def test_who_claims_in_time_has_it_and_nothing_is_lost(desk: Desk) -> None:
    desk.ledger.enqueue([JOB])
    desk.ledger.beat("w1")
    desk.pop()
    desk.recover()
    desk.clock.forward(LOST_S - 0.001)
    desk.claim()
    desk.watch(60, "w1")
    assert desk.recover() == []


def test_a_claim_between_the_look_and_the_rescue_is_kept(desk: Desk) -> None:
    desk.ledger.enqueue([JOB])
    desk.pop()
    desk.recover()
    desk.clock.forward(LOST_S)
    strays = desk.strays()
    desk.claim()
    assert desk.ledger.requeue(strays) == 0
    assert desk.state() is S.OPENING


def test_a_lost_message_costs_no_attempt(desk: Desk) -> None:
    desk.ledger.enqueue([JOB])
    desk.pop()
    looks(desk, 30)
    claim = desk.claim()
    assert (claim.attempt, claim.look_first) == (1, False)


def test_as_many_messages_are_written_as_are_lost(desk: Desk) -> None:
    desk.ledger.enqueue(some(1, 9))
    desk.ledger.beat("w1")
    for _ in range(5):
        desk.pop()
    desk.claim(a_job(1))
    desk.recover()
    desk.watch(LOST_S, "w1")
    assert desk.recover() == [(Reason.LOST, a_job(n).id) for n in (2, 3, 4, 5)]
    assert len(desk.queue()) == len(desk.line()) == 8


def test_each_lane_finds_its_own(desk: Desk) -> None:
    desk.ledger.enqueue([*some(1, 2), *some(3, 4, lane=Lane.URGENT)])
    desk.pop(Lane.URGENT)
    assert [id_ for _, _, id_ in looks(desk, 30)] == [a_job(3).id]
    desk.pop(Lane.BULK)
    assert [id_ for _, _, id_ in looks(desk, 30)] == [a_job(1).id]
    assert (len(desk.queue()), len(desk.queue(Lane.URGENT))) == (2, 2)


def test_a_message_that_was_written_again_may_be_lost_again(desk: Desk) -> None:
    desk.ledger.enqueue(some(1, 2))
    for _ in range(2):
        desk.pop()
        assert len(looks(desk, 60)) == 1
        assert len(desk.queue()) == 2, "no doubles"


def test_nothing_is_missing_however_long_it_waits(desk: Desk) -> None:
    desk.ledger.enqueue([*some(1, 300), *some(301, 310, lane=Lane.URGENT)])
    for _ in range(20):
        desk.clock.forward(LOST_S)
        assert desk.recover() == []


def test_a_surplus_is_used_before_anything_is_missing(desk: Desk) -> None:
    """Cancelled and enqueued again: one message more than jobs."""
    desk.ledger.enqueue(some(1, 3))
    desk.ledger.cancel([a_job(2).id])
    desk.ledger.enqueue([a_job(2)])
    desk.pop()
    assert looks(desk, 60) == []
    taken = []
    while desk.pop():
        taken.append(desk.claim().job.id)
    assert taken == [a_job(n).id for n in (1, 3, 2)]


def test_a_surplus_does_no_harm(desk: Desk) -> None:
    desk.ledger.enqueue([JOB])
    desk.ledger.beat("w1")
    desk.claim()
    assert desk.ledger.claim(JOB, "w2") is S.OPENING
    assert desk.ledger.claim(JOB, "w2") is S.OPENING


def test_a_clock_that_is_set_back_delays_the_finding_by_a_round(desk: Desk) -> None:
    desk.ledger.enqueue([JOB])
    desk.pop()
    desk.recover()
    desk.clock.forward(-3600)
    ((after_s, _, _),) = looks(desk, 60)
    assert after_s == LOST_S


def test_a_queue_that_was_purged_is_written_again(real: Desk, store: RedisStore) -> None:
    jobs = some(1, 500)
    real.ledger.enqueue(jobs)
    store.client.delete(BULK)  # `celery purge`
    found = looks(real, 30)
    assert len(found) == 500
    assert found[-1][0] - found[0][0] <= 2 * LOOK_S, "the looks do not wait for their time again"
    assert (real.line(), len(real.queue())) == (ids(jobs), 500)
    audit(store)


def test_behind_junk_what_is_missing_shows_when_the_junk_is_gone(real: Desk, store: RedisStore) -> None:
    real.ledger.enqueue(some(1, 3))
    real.pop()
    store.client.rpush(BULK, *["junk"] * 100)
    assert looks(real, 60) == []
    store.client.ltrim(BULK, 0, 1)
    assert [id_ for _, _, id_ in looks(real, 30)] == [a_job(1).id]


def test_a_place_without_a_record_is_given_up(real: Desk, store: RedisStore) -> None:
    real.ledger.enqueue([JOB])
    real.pop()
    store.client.delete(KEY)
    assert looks(real, 60) == []
    assert store.client.exists(f"{BASE}:line:bulk") == 0
    real.ledger.enqueue([JOB, a_job(2)])
    store.client.delete(KEY)
    assert real.claim(a_job(2)).job.id == a_job(2).id
    store.client.delete(f"{BASE}:account")  # it counts the one that was lost


def test_a_looks_work_does_not_grow_with_what_waits(real: Desk, store: RedisStore) -> None:
    few, many = _work(real, store, some(1, 100)), _work(real, store, some(101, 6000))
    assert few == many
    assert sum(few.values()) <= 30


def _work(desk: Desk, store: RedisStore, jobs: list[WarRoomJob]) -> dict[str, int]:
    """The commands of a look that finds a lost message."""
    for at in range(0, len(jobs), 1000):
        desk.ledger.enqueue(jobs[at : at + 1000])
    desk.pop()
    desk.recover()
    desk.clock.forward(LOST_S)
    store.client.delete(f"{BASE}:nudged")
    store.client.config_resetstat()
    (stray,) = desk.ledger.strays(200, 1000)
    stats = cast("dict[str, dict[str, int]]", store.client.info("commandstats"))
    assert desk.ledger.requeue([stray]) == 1
    return {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in stats.items() if "|" not in name}
