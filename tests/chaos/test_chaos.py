"""One sentence per way of being hurt, and a short storm of all of them. `make chaos` is the long one.

Most of what happens after a fault is waiting: until a worker counts as dead, until a message counts as lost. So all
installations are hurt first, one after another, and each test then looks at its own, which has recovered meanwhile.
"""

from __future__ import annotations

import contextlib
import time
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

from sandbox.stack import until
from worker.jobs import JobState

from . import storm
from .faults import FAULTS, cut_after_creating, keep_messages, start_producer, start_producer_again
from .ground import ACCOUNT, QUEUE, Ground
from .schedule import schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

pytestmark = pytest.mark.timeout(300)  # the first test's set-up hurts everything

CREATE: Final = "/incident/war-room/create"
SEED: Final = 1
SETTLE_S: Final = 60.0
"""How long a test waits for the end before it counts all the same; the count then says what is missing."""

HURTING: Final[dict[str, Callable[[Ground], None]]] = {}


class Hurt(NamedTuple):
    """An installation that was hurt, and what went wrong while it was."""

    ground: Ground
    error: Exception | None


def after(hurting: Callable[[Ground], None]) -> Callable[[Callable[[Ground], None]], Callable[[Ground], None]]:
    """The test looks at an installation to which this was done."""

    def mark(test: Callable[[Ground], None]) -> Callable[[Ground], None]:
        HURTING[test.__name__] = hurting
        return test

    return mark


@pytest.fixture(scope="module")
def hurt(request: pytest.FixtureRequest) -> Iterator[Mapping[str, Hurt]]:
    """The installations of all tests that were asked for, by the test's name."""
    with contextlib.ExitStack() as opened:
        done: dict[str, Hurt] = {}
        for name in [item.name for item in request.session.items if item.name in HURTING]:
            ground = opened.enter_context(Ground(SEED))
            error = None
            try:
                HURTING[name](ground)
            except Exception as caught:  # noqa: BLE001 - that test's own affair; it is raised there
                error = caught
            done[name] = Hurt(ground, error)
        yield done


@pytest.fixture
def ground(hurt: Mapping[str, Hurt], request: pytest.FixtureRequest) -> Iterator[Ground]:
    mine = hurt[request.node.name]
    if mine.error is not None:
        raise mine.error
    with contextlib.closing(mine.ground):
        yield mine.ground


@pytest.fixture
def fresh() -> Iterator[Ground]:
    with Ground(SEED) as ground:
        yield ground


def states(ground: Ground) -> dict[JobState, int]:
    return dict(ground.queue.ledger(ACCOUNT).progress().states)


def under_load(ground: Ground, jobs: int, workers: int = 2) -> None:
    """Jobs handed in, workers started, and the first of them at work."""
    ground.jobs(jobs, "load")
    ground.hand_in("load")
    ground.start_workers(workers)
    until(lambda: ground.stack.stats()["arrivals"] > jobs / 10, "the load")


def assert_balances(ground: Ground) -> None:
    ground.settle(SETTLE_S)
    balance = ground.balance()
    assert balance.holds, str(balance)
    assert JobState.FAILED not in balance.states


def do(ground: Ground, fault: str, while_s: float = 0.0) -> None:
    """One fault for some time; the time is the load's, no result depends on it."""
    with FAULTS[fault](ground, Random(SEED)):
        time.sleep(while_s)


# --- workers ---


def one_is_killed_and_one_frozen(ground: Ground) -> None:
    ground.stack.control("limits", latency="constant:1")
    under_load(ground, 150, workers=3)
    until(lambda: states(ground)[JobState.OPENING] >= 20, "calls under way")
    killed, frozen, _ = ground.workers
    frozen.freeze()
    ground.dismissed.add(killed.name)
    killed.kill()


@after(one_is_killed_and_one_frozen)
def test_jobs_of_a_killed_and_of_a_frozen_worker_are_opened_by_another(ground: Ground) -> None:
    ledger = ground.queue.ledger(ACCOUNT)
    until(lambda: not ledger.progress().waiting, "every job's end while one is dead and one is frozen", within_s=60)
    before = states(ground)
    for worker in ground.workers:
        worker.thaw()  # the frozen one goes on with what it held, and writes it down too late
    assert_balances(ground)
    assert states(ground) == before


# --- Redis and the way to it ---


def all_connections_turn_half_open(ground: Ground) -> None:
    under_load(ground, 300)
    ground.stack.proxy.freeze()  # and is never thawed


@after(all_connections_turn_half_open)
def test_a_half_open_connection_heals_by_itself(ground: Ground) -> None:
    assert_balances(ground)


def valkey_is_killed_and_then_loses_power(ground: Ground) -> None:
    cut_after_creating(ground)
    under_load(ground, 400)
    do(ground, "kill_valkey", while_s=1)
    do(ground, "power_failure", while_s=1)
    ground.hand_all_in()  # with fsync every second the last one may be gone


@after(valkey_is_killed_and_then_loses_power)
def test_after_a_crash_of_valkey_under_load_no_incident_has_a_second_room(ground: Ground) -> None:
    assert_balances(ground)


def redis_has_no_memory(ground: Ground) -> None:
    under_load(ground, 300)
    do(ground, "out_of_memory", while_s=2)


@after(redis_has_no_memory)
def test_a_redis_without_memory_costs_no_job(ground: Ground) -> None:
    assert_balances(ground)


# --- messages and producers ---


def test_copies_and_stale_messages_change_nothing(fresh: Ground) -> None:
    ground = fresh
    jobs = ground.jobs(100, "load")
    ground.hand_in("load")
    old = keep_messages(ground)
    do(ground, "copies")
    ground.stack.control("limits", latency="constant:1")
    ground.start_workers(2)
    until(lambda: states(ground)[JobState.OPENING] >= 10, "calls under way")
    do(ground, "second_messages")
    assert_balances(ground)
    for message in old:
        ground.stack.redis.rpush(QUEUE, message)
    do(ground, "stale_copies")
    assert_balances(ground)
    assert ground.stack.stats()["by_endpoint"] == {CREATE: len(jobs)}, "no call was made for any of them"


def producers_are_killed_and_run_again(ground: Ground) -> None:
    ground.start_workers(2)
    for number, kill_after_s in enumerate((0.0, 0.02, 0.05)):
        batch = f"killed-{number}"
        start_producer(ground, 250, batch, kill_after_s=kill_after_s)
        again = start_producer_again(ground, batch)
        assert again.popen.wait(30) == 0, again.last_words()


@after(producers_are_killed_and_run_again)
def test_a_producer_that_is_killed_in_the_middle_and_run_again_doubles_nothing(ground: Ground) -> None:
    assert_balances(ground)


# --- everything ---


def a_short_storm(ground: Ground) -> None:
    storm.run(ground, schedule(SEED, 15, longest_s=3), jobs=600)


@after(a_short_storm)
def test_after_a_short_storm_everything_balances(ground: Ground) -> None:
    ground.settle(SETTLE_S)
    balance = ground.balance()
    assert balance.holds, f"seed {SEED}: {balance}"
