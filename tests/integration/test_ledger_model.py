"""The ledger against its independent twin: random histories, the same replies, records, lines and counters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.desk import Desk, audit, real_desk
from tests.fakes import A_ROOM, Clock, FakeLedger, a_job
from worker.errors import OutcomeUnknown, RequestRefused
from worker.jobs import JobState, Lane, WarRoomJob
from worker.ledger import DEAD_MS, LOST_MS, Ledger
from worker.records import Claim, Progress, Stray

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.redis_store import RedisStore

JOBS: Final = 3
IDS: Final = [a_job(n).id for n in range(1, JOBS + 1)]
BATCHES: Final = [None, "b1", "b2"]
WORKERS: Final = ["w1", "w2", "w3"]
TIMEOUT: Final = OutcomeUnknown("no answer", code="Timeout", request_id="r1", status=502)
REFUSED: Final = RequestRefused("no", code="ResourceNotFound", hint="look")

number = st.integers(1, JOBS)
lane = st.sampled_from(Lane)
worker = st.sampled_from(WORKERS)
job = st.builds(
    lambda n, lane, members, observers, batch: a_job(
        n, lane=lane, member_ids=members, add_observers=observers, batch=batch
    ),
    number,
    lane,
    st.sampled_from([(), (1,), (2, 3)]),
    st.booleans(),
    st.sampled_from(BATCHES),
)
jobs = st.lists(job, min_size=1, max_size=4)
enqueue = st.tuples(st.just("enqueue"), jobs, st.sampled_from(BATCHES))
claim = st.tuples(st.just("claim"), job, worker)  # a message from nowhere: foreign, or an old copy
take = st.tuples(st.just("take"), lane, worker)  # pops and claims, as a worker does
pop = st.tuples(st.just("pop"), lane)  # pops and dies
back = st.integers(0, 2)  # of the claims: the last, or one of those before it
write = st.one_of(
    st.tuples(st.sampled_from(["found", "opened", "failed"]), back),
    st.tuples(st.sampled_from(["begin", "release"]), back, st.booleans()),
    st.tuples(st.just("retry"), back, st.sampled_from([0.0, 0.5, 60.0]), st.booleans(), st.booleans()),
)
recover = st.tuples(st.sampled_from(["recover", "recover", "recover_twice"]), st.integers(1, 3))
beat = st.tuples(st.sampled_from(["beat", "beat", "goodbye"]), worker)
forward = st.tuples(
    st.just("forward"), st.sampled_from([2.0, 5.0, DEAD_MS / 1000, LOST_MS / 1000 - 0.001, 60.0, 0.001, -3.0, -60.0])
)
watch = st.tuples(st.just("watch"), st.sets(worker, max_size=2))
people = st.tuples(st.sampled_from(["replay", "drop", "cancel"]), st.lists(number, min_size=1, max_size=3))
anything = st.one_of(enqueue, claim, take, pop, write, recover, beat, forward, watch, people)


ways = st.one_of(  # with steps of pure chance most of a history would be refusals
    st.tuples(take, st.tuples(st.just("begin"), st.just(0), st.booleans()), write),
    st.tuples(take, write, forward, recover),
    st.tuples(take, write, watch, recover, take, write),
    st.tuples(pop, recover, watch, recover, take),
    st.tuples(take, enqueue, write, recover),
    st.tuples(take, st.tuples(st.just("failed"), st.just(0)), people, anything),
    st.tuples(take, people, write, enqueue),
    st.tuples(anything),
)
history = st.lists(ways, min_size=3, max_size=8).map(lambda parts: [step for way in parts for step in way])


@dataclass
class Pair:
    """Both ledgers on one clock, and every claim that either gave: a late writer may come with any of them."""

    real: Desk
    fake: Desk
    clock: Clock
    store: RedisStore
    claims: list[tuple[Claim, Claim]] = field(default_factory=list)
    popped: int = 0

    def do(self, command: str, *args: object) -> None:
        getattr(self, f"_{command}")(*args)
        self.same_state()

    def _enqueue(self, jobs: list[WarRoomJob], batch: str | None) -> None:
        assert self.real.ledger.enqueue(jobs, batch) == self.fake.ledger.enqueue(jobs, batch)

    def _take(self, lane: Lane, worker: str) -> None:
        popped = self._pop(lane)
        if popped is not None:
            self._claim(a_job(IDS.index(popped) + 1, lane=lane), worker)

    def _pop(self, lane: Lane) -> str | None:
        popped = self.real.pop(lane)
        assert popped == self.fake.pop(lane)
        self.popped += popped is not None
        return popped

    def _claim(self, job: WarRoomJob, worker: str) -> None:
        real, fake = self.real.ledger.claim(job, worker), self.fake.ledger.claim(job, worker)
        if isinstance(real, Claim) and isinstance(fake, Claim):
            assert _without_token(real) == _without_token(fake)
            self.claims.append((real, fake))
        else:
            assert real == fake

    def _begin(self, back: int, sent: bool) -> None:  # noqa: FBT001
        self._with_claim(back, lambda ledger, claim: ledger.begin(claim, sent=sent))

    def _found(self, back: int) -> None:
        self._with_claim(back, lambda ledger, claim: ledger.has_room(claim, JobState.FOUND, A_ROOM, "r2"))

    def _opened(self, back: int) -> None:
        self._with_claim(back, lambda ledger, claim: ledger.has_room(claim, JobState.OPENED, A_ROOM, "r3"))

    def _failed(self, back: int) -> None:
        self._with_claim(back, lambda ledger, claim: ledger.failed(claim, REFUSED, "refused"))

    def _release(self, back: int, look: bool) -> None:  # noqa: FBT001
        self._with_claim(back, lambda ledger, claim: ledger.release(claim, look_first=look))

    def _retry(self, back: int, delay_s: float, look: bool, spent: bool) -> None:  # noqa: FBT001
        self._with_claim(
            back, lambda ledger, claim: ledger.retry(claim, TIMEOUT, delay_s, look_first=look, spent=spent)
        )

    def _recover(self, most: int, times: int = 1) -> None:
        strays = [sorted(desk.strays(most), key=_order) for desk in (self.real, self.fake)]
        assert list(map(_without_evidence, strays[0])) == list(map(_without_evidence, strays[1]))
        for _ in range(times):
            assert self.real.ledger.requeue(strays[0]) == self.fake.ledger.requeue(strays[1])

    def _recover_twice(self, most: int) -> None:
        self._recover(most, times=2)

    def _beat(self, worker: str) -> None:
        for desk in (self.real, self.fake):
            desk.ledger.beat(worker)

    def _goodbye(self, worker: str) -> None:
        for desk in (self.real, self.fake):
            desk.ledger.goodbye(worker)

    def _forward(self, seconds: float) -> None:
        self.clock.forward(seconds)

    def _watch(self, workers: set[str]) -> None:
        """Long enough for the others to be dead and for what is gone to be lost."""
        for _ in range(5):
            self.clock.forward(2.0)
            for worker in sorted(workers):
                self._beat(worker)

    def _replay(self, numbers: list[int]) -> None:
        self._people(lambda ledger: ledger.replay([a_job(n) for n in numbers]))

    def _drop(self, numbers: list[int]) -> None:
        self._people(lambda ledger: ledger.drop([IDS[n - 1] for n in numbers]))

    def _cancel(self, numbers: list[int]) -> None:
        self._people(lambda ledger: ledger.cancel([IDS[n - 1] for n in numbers]))

    def _people(self, do: Callable[[Ledger | FakeLedger], object]) -> None:
        assert do(self.real.ledger) == do(self.fake.ledger)

    def _with_claim(self, back: int, call: Callable[[Ledger | FakeLedger, Claim], bool]) -> None:
        if self.claims:
            real, fake = self.claims[-1 - back % len(self.claims)]
            assert call(self.real.ledger, real) == call(self.fake.ledger, fake)

    def same_state(self) -> None:
        for job_id in IDS:
            assert self.real.ledger.record(job_id) == self.fake.ledger.record(job_id)
        for lane in Lane:
            assert self.real.line(lane) == self.fake.line(lane)
            assert self.real.queue(lane) == self.fake.queue(lane)
        assert self.real.ledger.progress() == self.fake.ledger.progress()
        assert isinstance(self.fake.ledger, FakeLedger)
        for name in self.fake.ledger.batch_names:
            assert _counts(self.real.ledger.batch(name)) == _counts(self.fake.ledger.batch(name)), name
        audit(self.store, popped=self.popped)

    def nothing_waits_for_ever(self) -> None:
        """Whatever happened: a worker that lives on gets every job that is not finished."""
        for _ in range(1000):  # the clock may have been set back, and a retry wait long
            self._forward(2.0)
            self._beat("w4")
            self._recover(JOBS)
            for lane in Lane:
                while popped := self._pop(lane):
                    before = len(self.claims)
                    self._claim(a_job(IDS.index(popped) + 1), "w4")
                    if len(self.claims) > before:
                        self._opened(0)
            if not self.real.ledger.progress().waiting:
                break
        self.same_state()
        assert self.real.ledger.progress().waiting == 0


def _without_token(claim: Claim) -> tuple[object, ...]:
    return claim.job, claim.attempt, claim.look_first, claim.failing_s


def _order(stray: Stray) -> tuple[str, str]:
    return stray.reason.value, stray.job.id  # claims are in no order


def _without_evidence(stray: Stray) -> tuple[object, ...]:
    return stray.reason, stray.job


def _counts(progress: Progress | None) -> dict[JobState, int]:
    assert progress is not None
    return dict(progress.states)


@pytest.fixture
def pair(store: RedisStore) -> Callable[[], Pair]:
    def new() -> Pair:
        store.client.flushdb()
        real = real_desk(store)
        return Pair(real, Desk(FakeLedger("acc", clock=real.clock), real.clock), real.clock, store)

    return new


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=history)
def test_any_history_leaves_the_same_in_both_and_no_job_behind(
    pair: Callable[[], Pair], steps: list[tuple[str, object]]
) -> None:
    both = pair()
    both.do("enqueue", [a_job(n) for n in range(1, JOBS + 1)], "b1")
    for command, *args in steps:
        both.do(command, *args)
    both.nothing_waits_for_ever()
