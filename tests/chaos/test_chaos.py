"""One sentence per way of being hurt, and a short storm of all of them. `make chaos` is the long one."""

from __future__ import annotations

import time
from random import Random
from typing import TYPE_CHECKING, Final

import pytest

from sandbox.stack import until
from worker.jobs import JobState

from . import storm
from .faults import FAULTS, cut_after_creating, keep_messages, start_producer, start_producer_again
from .ground import ACCOUNT, QUEUE, Ground
from .schedule import schedule

if TYPE_CHECKING:
    from collections.abc import Iterator

CREATE: Final = "/incident/war-room/create"
SEED: Final = 1
SETTLE_S: Final = 60.0
"""How long a test waits for the end before it counts all the same; the count then says what is missing."""


@pytest.fixture
def ground() -> Iterator[Ground]:
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


def hurt(ground: Ground, fault: str, while_s: float = 0.0) -> None:
    """One fault for some time; the time is the load's, no result depends on it."""
    with FAULTS[fault](ground, Random(SEED)):
        time.sleep(while_s)


def test_jobs_of_a_killed_and_of_a_frozen_worker_are_opened_by_another(ground: Ground) -> None:
    ground.stack.control("limits", latency="constant:1")
    under_load(ground, 150, workers=3)
    until(lambda: states(ground)[JobState.OPENING] >= 20, "calls under way")
    killed, frozen, _ = ground.workers
    frozen.freeze()
    ground.dismissed.add(killed.name)
    killed.kill()
    ledger = ground.queue.ledger(ACCOUNT)
    until(lambda: not ledger.progress().waiting, "every job's end while one is dead and one is frozen", within_s=60)
    before = states(ground)
    frozen.thaw()  # it goes on with what it held, and writes it down too late
    assert_balances(ground)
    assert states(ground) == before


def test_a_half_open_connection_heals_by_itself(ground: Ground) -> None:
    under_load(ground, 300)
    ground.stack.proxy.freeze()  # and it is never thawed
    assert_balances(ground)


def test_copies_and_stale_messages_change_nothing(ground: Ground) -> None:
    jobs = ground.jobs(100, "load")
    ground.hand_in("load")
    old = keep_messages(ground)
    hurt(ground, "copies")
    ground.stack.control("limits", latency="constant:1")
    ground.start_workers(2)
    until(lambda: states(ground)[JobState.OPENING] >= 10, "calls under way")
    hurt(ground, "second_messages")
    assert_balances(ground)
    for message in old:
        ground.stack.redis.rpush(QUEUE, message)
    hurt(ground, "stale_copies")
    assert_balances(ground)
    assert ground.stack.stats()["by_endpoint"] == {CREATE: len(jobs)}, "no call was made for any of them"


def test_a_producer_that_is_killed_in_the_middle_and_run_again_doubles_nothing(ground: Ground) -> None:
    ground.start_workers(2)
    for number, kill_after_s in enumerate((0.0, 0.02, 0.05)):
        batch = f"killed-{number}"
        start_producer(ground, 250, batch, kill_after_s=kill_after_s)
        again = start_producer_again(ground, batch)
        assert again.popen.wait(30) == 0, again.last_words()
    assert_balances(ground)


def test_killed_under_load_and_without_power_valkey_comes_back_and_no_incident_gets_a_second_room(
    ground: Ground,
) -> None:
    cut_after_creating(ground)
    under_load(ground, 400)
    hurt(ground, "kill_valkey", while_s=1)
    hurt(ground, "power_failure", while_s=1)
    ground.hand_all_in()  # with fsync every second the last one may be gone
    assert_balances(ground)


def test_a_redis_without_memory_costs_no_job(ground: Ground) -> None:
    under_load(ground, 300)
    hurt(ground, "out_of_memory", while_s=2)
    assert_balances(ground)


def test_after_a_short_storm_everything_balances(ground: Ground) -> None:
    strikes = schedule(SEED, 15, longest_s=3)
    balance = storm.run(ground, strikes, jobs=600, settle_s=SETTLE_S)
    assert balance.holds, f"seed {SEED}: {balance}"
