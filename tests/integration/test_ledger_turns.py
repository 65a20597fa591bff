"""Fair turns: who waits takes turns, batch by batch; a message says that there is work, not which."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.desk import JOB, Desk, ids, real_desk, some
from tests.fakes import Clock, FakeLedger, a_job
from worker.errors import OutcomeUnknown
from worker.jobs import JobState, Lane
from worker.records import Claim

if TYPE_CHECKING:
    from worker.redis_store import RedisStore

TIMEOUT: Final = OutcomeUnknown("no answer", code="Timeout")


@pytest.fixture(params=["valkey", "fake"])
def desk(request: pytest.FixtureRequest) -> Desk:
    if request.param == "fake":
        return _fake()
    return real_desk(request.getfixturevalue("store"))


def _fake() -> Desk:
    clock = Clock()
    return Desk(FakeLedger("acc", clock=clock), clock)


def took(desk: Desk, many: int, lane: Lane = Lane.BULK) -> list[int]:
    """The numbers of the next jobs, as workers take them."""
    return [int(desk.claim(a_job(1, lane=lane)).job.incident_id, 16) for _ in range(many)]


@pytest.fixture
def busy(desk: Desk) -> Desk:
    """A thousand jobs of one batch came, and a hundred of them were taken."""
    desk.ledger.enqueue(some(1, 1000), "large")
    assert took(desk, 100) == list(range(1, 101))
    return desk


def test_a_small_batch_alternates_with_a_large_one_and_keeps_its_order(busy: Desk) -> None:
    busy.ledger.enqueue(some(2001, 2010), "small")
    numbers = took(busy, 20)
    assert [n for n in numbers if n > 2000] == list(range(2001, 2011))
    assert [n for n in numbers if n < 2000] == list(range(101, 111))
    assert took(busy, 3) == [111, 112, 113]


def test_several_batches_get_equal_shares(busy: Desk) -> None:
    for batch in range(1, 4):
        busy.ledger.enqueue(some(batch * 2000, batch * 2000 + 49), f"b{batch}")
    assert Counter(n // 2000 for n in took(busy, 100)) == {0: 25, 1: 25, 2: 25, 3: 25}


def test_jobs_of_no_batch_are_a_row_of_their_own(busy: Desk) -> None:
    for n in range(2001, 2011):
        busy.ledger.enqueue([a_job(n)])
    assert sorted(took(busy, 20)) == [*range(101, 111), *range(2001, 2011)]


def test_who_comes_late_has_saved_no_turns_and_owes_none(busy: Desk) -> None:
    busy.ledger.enqueue(some(2001, 2002), "small")
    assert sorted(took(busy, 4)) == [101, 102, 2001, 2002]
    took(busy, 200)
    busy.ledger.enqueue(some(2003, 2022), "small")
    assert sum(n > 2000 for n in took(busy, 20)) == 10


def test_a_batch_that_is_handed_in_again_and_again_gains_nothing(busy: Desk) -> None:
    for n in range(2001, 2101):
        busy.ledger.enqueue([a_job(n)], "trickle")
    assert sum(n > 2000 for n in took(busy, 20)) == 10


def test_what_comes_back_stands_in_front_in_its_order(busy: Desk) -> None:
    busy.ledger.enqueue(some(2001, 2010), "small")
    claims = [busy.claim() for _ in range(6)]
    before = ids([claim.job for claim in claims])
    for claim in claims[::2]:
        busy.ledger.release(claim)
    for claim in claims[1::2]:
        busy.ledger.retry(claim, TIMEOUT, 1, look_first=False)
    busy.clock.forward(1)
    busy.recover()
    assert busy.line()[:6] == before


def test_a_hurried_job_takes_its_turn_among_the_urgent_ones(busy: Desk) -> None:
    busy.ledger.enqueue(some(2001, 2003, lane=Lane.URGENT))
    busy.ledger.enqueue([a_job(500, lane=Lane.URGENT)])
    assert sorted(took(busy, 2, Lane.URGENT)) == [500, 2001], "a row of its own"
    assert took(busy, 2, Lane.URGENT) == [2002, 2003]
    assert took(busy, 400)[-1] == 501


@pytest.mark.parametrize("state", [JobState.RETRYING, JobState.OPENING])
def test_a_job_that_is_hurried_while_it_does_not_wait_comes_back_among_the_urgent_ones(
    busy: Desk, state: JobState
) -> None:
    claim = busy.claim()
    if state is JobState.RETRYING:
        busy.ledger.retry(claim, TIMEOUT, 1, look_first=False)
    busy.ledger.enqueue(some(2001, 2002, lane=Lane.URGENT))
    busy.ledger.enqueue([claim.job.model_copy(update={"lane": Lane.URGENT})])
    busy.ledger.enqueue([a_job(2003, lane=Lane.URGENT)])
    if state is JobState.RETRYING:
        busy.clock.forward(1)
        busy.recover()
    else:
        busy.ledger.release(claim)
    assert sorted(took(busy, 2, Lane.URGENT)) == [101, 2001], "a row of its own"
    assert took(busy, 2, Lane.URGENT) == [2002, 2003]


def test_turns_of_cancelled_jobs_are_given_back(desk: Desk) -> None:
    alone, night, big = some(1, 50), some(101, 150), some(201, 250)
    desk.ledger.enqueue(alone)
    desk.ledger.enqueue(night, "night")
    desk.ledger.cancel(ids([*alone, *night]))
    desk.ledger.enqueue(big, "big")
    desk.ledger.enqueue([a_job(300)])
    desk.ledger.enqueue(some(301, 303), "night")
    assert {300, 301, 302, 303} <= set(took(desk, 8))


def test_turns_of_hurried_jobs_are_given_back(desk: Desk) -> None:
    desk.ledger.enqueue(some(1, 50))
    desk.ledger.enqueue(some(1, 50, lane=Lane.URGENT))
    desk.ledger.enqueue(some(201, 250), "big")
    desk.ledger.enqueue([a_job(300)])
    took(desk, 50, Lane.URGENT)
    assert 300 in took(desk, 2)


def test_who_is_queued_anew_stands_in_the_row_of_its_new_batch(busy: Desk) -> None:
    anew = some(500, 504)
    busy.ledger.cancel(ids(anew))
    busy.ledger.enqueue(anew, "small")
    assert [n for n in took(busy, 10) if n >= 500] == [500, 501, 502, 503, 504]
    busy.ledger.cancel([a_job(600).id])
    busy.ledger.enqueue([a_job(600)])
    assert 600 in took(busy, 2)


def test_a_message_of_a_job_that_was_hurried_meanwhile_brings_an_urgent_one(desk: Desk) -> None:
    desk.ledger.enqueue(some(1, 9))
    claim = desk.claim(a_job(1))
    desk.ledger.enqueue([a_job(1, lane=Lane.URGENT)])
    desk.ledger.release(claim)
    assert desk.claim(claim.job).job.id == a_job(1).id


# --- messages -----------------------------------------------------------------------------------------------------


def test_a_message_of_another_job_brings_the_next(desk: Desk) -> None:
    desk.ledger.enqueue(some(1, 2))
    assert desk.claim(a_job(2)).job.id == a_job(1).id


def test_a_foreign_message_is_an_enqueue_and_waits_for_its_turn(desk: Desk) -> None:
    desk.ledger.enqueue(some(1, 2), "b")
    claim = desk.claim(a_job(3, member_ids=(7,)))
    assert claim.job.id == a_job(1).id
    assert (desk.state(a_job(3)), desk.record(a_job(3)).job.member_ids) == (JobState.QUEUED, (7,))
    assert sorted(took(desk, 2)) == [2, 3]


def test_a_foreign_flood_shares_with_a_batch(busy: Desk) -> None:
    numbers = [int(busy.claim(a_job(n)).job.incident_id, 16) for n in range(2001, 2041)]
    assert sum(n > 2000 for n in numbers) == 20


@pytest.mark.parametrize("lane", list(Lane))
def test_a_message_of_a_lane_where_nobody_waits_serves_the_other(desk: Desk, lane: Lane) -> None:
    desk.ledger.enqueue([a_job(1, lane=Lane.URGENT if lane is Lane.BULK else Lane.BULK)])
    claim = desk.claim(a_job(1, lane=lane))
    assert claim.job.id == a_job(1).id


def test_a_foreign_message_in_a_hurry_hurries_a_waiting_job(busy: Desk) -> None:
    claim = busy.claim(a_job(700, lane=Lane.URGENT))
    assert (claim.job.id, claim.job.lane) == (a_job(700).id, Lane.URGENT)


def test_where_nobody_waits_there_is_nothing_to_do(desk: Desk) -> None:
    desk.ledger.enqueue([JOB])
    assert isinstance(desk.ledger.claim(JOB, "w1"), Claim)
    assert desk.ledger.claim(JOB, "w2") is JobState.OPENING


# --- whatever comes -----------------------------------------------------------------------------------------------

arrivals = st.lists(
    st.one_of(st.tuples(st.sampled_from("abc"), st.integers(1, 12)), st.integers(1, 9)), min_size=5, max_size=30
)


@given(arrivals)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_while_two_batches_wait_neither_gets_more_than_one_turn_ahead(store: RedisStore, steps: list[object]) -> None:
    store.client.flushdb()
    for desk in (real_desk(store), _fake()):
        _check(desk, steps)


def _check(desk: Desk, steps: list[object]) -> None:
    number = 0
    waiting: dict[str, list[int]] = {"a": [], "b": [], "c": []}
    since: dict[tuple[str, str], Counter[str]] = {}
    for step in steps:
        if isinstance(step, tuple):
            batch, many = step
            mine = range(number + 1, number + many + 1)
            number += many
            desk.ledger.enqueue([a_job(n) for n in mine], batch)
            waiting[batch] += mine
        elif isinstance(step, int):
            for _ in range(min(step, sum(map(len, waiting.values())))):
                (taken,) = _next(desk)
                batch = next(name for name, line in waiting.items() if taken in line)
                assert waiting[batch][0] == taken, "first in, first out within a batch"
                both = [name for name, line in waiting.items() if line]
                waiting[batch].pop(0)
                for pair in [(one, other) for one in both for other in both if one < other]:
                    since.setdefault(pair, Counter())[batch] += 1
                    assert abs(since[pair][pair[0]] - since[pair][pair[1]]) <= 2
        for pair in list(since):
            if not all(waiting[name] for name in pair):
                del since[pair]  # one of them has nothing to wait for


def _next(desk: Desk) -> list[int]:
    claim = desk.claim(a_job(1))
    return [int(claim.job.incident_id, 16)]
