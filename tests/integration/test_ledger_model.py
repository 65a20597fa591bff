"""The ledger against its independent twin: random histories, the same replies, records and counters."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes import A_ROOM, Clock, FakeLedger, a_job
from worker.errors import OutcomeUnknown, RequestRefused
from worker.jobs import JobState, Lane
from worker.ledger import LEASE_MS, Ledger
from worker.records import Claim, Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.redis_store import RedisStore

IDS: Final = [a_job(n).id for n in (1, 2)]
BATCHES: Final = [None, "b1", "b2"]
TIMEOUT: Final = OutcomeUnknown("no answer", code="Timeout", request_id="r1", status=502)
REFUSED: Final = RequestRefused("no", code="ResourceNotFound", hint="look")

number = st.integers(1, 2)
job = st.builds(
    lambda n, lane, members, observers: a_job(n, lane=lane, member_ids=members, add_observers=observers),
    number,
    st.sampled_from(Lane),
    st.sampled_from([(), (1,), (2, 3)]),
    st.booleans(),
)
enqueue = st.tuples(st.just("enqueue"), st.lists(job, min_size=1, max_size=3), st.sampled_from(BATCHES))
claim = st.tuples(st.just("claim"), number)
back = st.integers(0, 2)  # of the claims: the last, or one of those before it
write = st.one_of(
    st.tuples(st.sampled_from(["mark_sent", "release", "found", "opened", "failed"]), back),
    st.tuples(st.just("retry"), back, st.sampled_from([0.0, 0.5, 60.0]), st.booleans()),
)
take_due = st.tuples(st.just("take_due"), st.integers(1, 2))
forward = st.tuples(st.just("forward"), st.sampled_from([LEASE_MS / 1000, 60.0, LEASE_MS / 1000 - 0.001, 0.5, 0.001]))
anything = st.one_of(enqueue, claim, write, take_due, forward)


def ways(n: int) -> st.SearchStrategy[tuple[tuple[object, ...], ...]]:
    """Ways that job `n` goes: with steps of pure chance most of a history would be refusals."""
    mine = st.just(("claim", n))
    return st.one_of(
        st.tuples(mine, write),
        st.tuples(forward, take_due, mine, write),
        st.tuples(mine, forward, mine, write),
        st.tuples(mine, forward, take_due, mine, anything),
        st.tuples(enqueue, mine, write, enqueue),
        st.tuples(anything),
    )


history = st.lists(number.flatmap(ways), min_size=3, max_size=8).map(
    lambda parts: [step for way in parts for step in way]
)


@dataclass
class Pair:
    """Both ledgers on one clock, and every claim that either gave: a late writer may come with any of them."""

    real: Ledger
    fake: FakeLedger
    clock: Clock
    forget_lock: Callable[[], object]
    claims: list[tuple[Claim, Claim]] = field(default_factory=list)

    def do(self, command: str, *args: object) -> None:
        getattr(self, f"_{command}")(*args)
        self._same_state()

    def _enqueue(self, jobs: list[object], batch: str | None) -> None:
        assert self.real.enqueue(jobs, batch) == self.fake.enqueue(jobs, batch)  # type: ignore[arg-type]

    def _claim(self, n: int) -> None:
        real, fake = self.real.claim(IDS[n - 1], "w"), self.fake.claim(IDS[n - 1], "w")
        if isinstance(real, Claim) and isinstance(fake, Claim):
            assert (real.attempt, real.look_first) == (fake.attempt, fake.look_first)
            self.claims.append((real, fake))
        else:
            assert real == fake

    def _mark_sent(self, back: int) -> None:
        self._with_claim(back, lambda ledger, claim: ledger.mark_sent(claim))

    def _found(self, back: int) -> None:
        self._with_claim(back, lambda ledger, claim: ledger.has_room(claim, JobState.FOUND, A_ROOM, "r2"))

    def _opened(self, back: int) -> None:
        self._with_claim(back, lambda ledger, claim: ledger.has_room(claim, JobState.OPENED, A_ROOM, "r3"))

    def _failed(self, back: int) -> None:
        self._with_claim(back, lambda ledger, claim: ledger.failed(claim, REFUSED, "refused"))

    def _release(self, back: int) -> None:
        self._with_claim(back, lambda ledger, claim: ledger.release(claim))

    def _retry(self, back: int, delay_s: float, look: bool) -> None:  # noqa: FBT001
        self._with_claim(back, lambda ledger, claim: ledger.retry(claim, TIMEOUT, delay_s, look_first=look))

    def _take_due(self, most: int) -> None:
        self.forget_lock()
        assert self.real.take_due(most, 1000) == self.fake.take_due(most)

    def _forward(self, seconds: float) -> None:
        self.clock.forward(seconds)

    def _with_claim(self, back: int, call: Callable[[Ledger | FakeLedger, Claim], bool]) -> None:
        if self.claims:
            real, fake = self.claims[-1 - back % len(self.claims)]
            assert call(self.real, real) == call(self.fake, fake)

    def _same_state(self) -> None:
        for job_id in IDS:
            assert self.real.record(job_id) == self.fake.record(job_id)
        assert self.real.progress() == self.fake.progress()
        for name in self.fake.batch_names:
            assert _counts(self.real.batch(name)) == _counts(self.fake.batch(name)), name


def _counts(progress: Progress | None) -> dict[JobState, int]:
    assert progress is not None
    return dict(progress.states)


@pytest.fixture
def pair(store: RedisStore) -> Callable[[], Pair]:
    def new() -> Pair:
        store.client.flushdb()
        clock = Clock()
        forget_lock = lambda: store.client.delete("warrooms:{acc}:nudged")  # noqa: E731
        return Pair(Ledger(store, "acc", clock=clock), FakeLedger("acc", clock=clock), clock, forget_lock)

    return new


@settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=history)
def test_any_history_leaves_the_same_records_and_counters_in_both(
    pair: Callable[[], Pair], steps: list[tuple[str, object]]
) -> None:
    both = pair()
    both.do("enqueue", [a_job(1), a_job(2)], "b1")
    for command, *args in steps:
        both.do(command, *args)
    for last in ("forward", LEASE_MS / 1000), ("take_due", 9), ("claim", 1), ("claim", 2):  # shows who looks first
        both.do(*last)
