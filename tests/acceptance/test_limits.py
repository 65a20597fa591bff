"""A 429 is a fact about the account: all workers obey it, and it costs no job an attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from worker.jobs import JobState

from .house import CREATE, House

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_a_pause_with_retry_after_is_obeyed_by_all_workers(house: House) -> None:
    # From the 429 on the sandbox refuses every call for 2 s. Those few that were under way or had their slot
    # reserved may still arrive in the pause; after its end nothing is refused.
    house.fault("limit-pause", calls=1, skip=10, retry_after_s=2)
    jobs = house.jobs(60)
    records = house.open(*jobs)
    stats = house.stack.stats()
    assert stats["arrivals_in_pause"] < 40, "the slots within the horizon of 0.125 s, not all that waited"
    assert {record.attempts for record in records} == {1}
    assert house.calls() == {CREATE: 61 + stats["arrivals_in_pause"]}
    house.assert_one_room_each(*jobs)
    house.assert_counters_balance(*jobs)


@pytest.mark.parametrize(
    "how",
    [{"retry_after_s": 1}, {"retry_after_s": 1, "http_date": True}, {}, {"retry_after_s": 0}],
    ids=["Retry-After in seconds", "Retry-After as a date", "without Retry-After", "Retry-After 0"],
)
def test_a_429_costs_no_attempt_and_every_room_opens(house: House, how: dict[str, Any]) -> None:
    house.fault("too-frequent", calls=2, skip=3, **how)
    jobs = house.jobs(12)
    records = house.open(*jobs)
    assert {record.state for record in records} == {JobState.OPENED}
    assert {record.attempts for record in records} == {1}
    assert house.calls() == {CREATE: 14}, "refused calls were repeated, and nothing else"
    house.assert_one_room_each(*jobs)
    house.assert_counters_balance(*jobs)


def test_a_429_while_looking_costs_no_attempt_either(house: House) -> None:
    job = house.job()
    house.fault("cut", job, when="after", calls=1)
    house.fault("too-frequent", job, calls=1, retry_after_s=1)
    (record,) = house.open(job)
    assert (record.state, record.attempts) == (JobState.FOUND, 2)
    house.assert_one_room_each(job)
    house.assert_counters_balance(job)


@pytest.fixture(scope="module")
def real() -> Iterator[House]:
    """The documented limits, counted by the strictest model, two workers."""
    with House(rates="50/second;1000/minute", api=("--latency", "uniform:0:0.3")) as house:
        house.start_workers(2)
        yield house


def test_at_the_real_limits_nothing_is_refused(real: House) -> None:
    jobs = real.jobs(30)
    real.open(*jobs)
    stats = real.stack.stats()
    assert (stats["refusals"], stats["by_status"]) == (0, {"200": 30})
    real.assert_one_room_each(*jobs)
    real.assert_counters_balance(*jobs)
