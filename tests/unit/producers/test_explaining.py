"""What a job waits for, in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from producers.crew import Crew
from producers.explaining import Explanation
from producers.forecast import Forecast
from producers.halts import Halt
from tests.records import DOWN, JOB, NOW_S, UNAUTHORIZED, dead, record
from worker.jobs import JobState, Lane
from worker.rate_limit import plan_of
from worker.records import Record, Standing
from worker.slots import Lines
from worker.token_bucket import BucketLevel

BULK = JOB.model_copy(update={"lane": Lane.BULK})


def explained(one: Record, rank: int | None = None, *, pause_s: float = 0.0, **changes: Any) -> Explanation:  # noqa: ANN401
    level = BucketLevel(0.0, Lines(pause_s, pause_s, pause_s), (0.0,), plan_of("1000/minute"))
    standing = changes.pop("standing", Standing(urgent=40, bulk=500, retrying=0, took_s=0.8))
    crew = Crew(changes.pop("beats", {"w1": 0.5}))
    at = datetime.fromtimestamp(NOW_S, UTC)
    forecast = Forecast(level, standing, at, halted=not crew.alive)
    return replace(Explanation(one, rank, forecast, crew, None, NOW_S), **changes)


def test_a_job_in_line_is_told_who_goes_first_and_when_it_is_done() -> None:
    line, starts, done = explained(record(job=BULK), 100).sentences()
    assert (
        line
        == "it waits for its turn in the bulk lane: 140 jobs in front, 40 of them urgent ones; batches take turns in it"
    )
    assert starts.startswith("the account may make 992 calls a minute: its own is expected 20")
    assert starts.endswith("(in 9 s)")
    assert done.endswith("(in 9 s); an attempt takes less than 1 s")


def test_the_next_urgent_job_waits_for_nobody() -> None:
    first, *_ = explained(record(), 0).sentences()
    assert first == "it is the next in the urgent lane"
    behind, *_ = explained(record(), 18).sentences()
    assert (
        behind
        == "it waits for its turn in the urgent lane: 20 jobs in front, 2 of them bulk ones that keep their tenth"
    )


def test_retries_that_are_counted_in_are_said() -> None:
    _, starts, _ = explained(record(job=BULK), 100, standing=Standing(0, 500, 12, None)).sentences()
    assert starts.endswith(", 12 that are retried counted in")


def test_without_a_worker_no_time_is_promised() -> None:
    told = explained(record(job=BULK), 3, beats={"w1": 60.0})
    _, worker = told.sentences()
    assert worker.startswith("no worker serves its account: NONE ALIVE, and 1 job waits: start one with: ")
    assert (told.starts_at, told.done_by, told.as_json()["starts_at"]) == (None, None, None)


@pytest.mark.parametrize("trouble", [UNAUTHORIZED, DOWN])
def test_a_halted_account_says_why_and_what_to_do(trouble: Any) -> None:  # noqa: ANN401
    halt = Halt("default", trouble, 20.0)
    told = explained(record(job=BULK), 3, halt=halt)
    told = replace(told, forecast=replace(told.forecast, halted=True))
    _, why, to_do = told.sentences()
    assert (why, to_do) == (halt.sentence(), f"to do: {halt.to_do()}")
    assert told.as_json()["halted"] == halt.as_json()


def test_a_pause_is_said() -> None:
    _, pause, *_ = explained(record(job=BULK), 3, pause_s=12.0).sentences()
    assert pause == "the account is paused for 12 s: the API said 429"


def test_a_job_in_hand_waits_for_its_slot_or_for_the_api() -> None:
    (waits,) = explained(record(JobState.OPENING, worker="w1@a#1")).sentences()
    assert waits == "worker w1@a#1 has it in hand and waits for a slot of the account's limit"
    (calls,) = explained(record(JobState.OPENING, worker="w1@a#1", attempts=2, began_at=NOW_S - 3)).sentences()
    assert calls == "worker w1@a#1 is calling the API, attempt 2, since 3 s; an attempt takes less than 1 s"


def test_a_retry_says_what_went_wrong_and_when_it_goes_on() -> None:
    one = record(
        JobState.RETRYING, attempts=2, message="Timeout: no answer", hint="wait", due_at=NOW_S + 7, look_first=True
    )
    past, due, done = explained(one).sentences()
    assert past == "after 2 attempts: Timeout: no answer; to do: wait"
    assert due.endswith("(in 7 s); it looks for its room before it opens one")
    assert done.endswith("(in 8 s); an attempt takes less than 1 s")
    starts_at = explained(one).starts_at
    assert starts_at is not None
    assert starts_at.timestamp() == NOW_S + 7
    assert explained(one, beats={"w1": 60.0}).done_by is None


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (dead(), ["it waits for nothing: it failed for good", "after 6 attempts: Timeout: no answer"]),
        (record(JobState.CANCELLED), ["it waits for nothing: it was cancelled; open or bulk queues it anew"]),
        (record(JobState.OPENED), ["it waits for nothing: its room is there"]),
        (record(JobState.FOUND), ["it waits for nothing: its room is there"]),
    ],
)
def test_who_is_finished_waits_for_nothing(one: Record, says: list[str]) -> None:
    assert explained(one).sentences() == says


def test_machines_get_the_same() -> None:
    value = explained(record(job=BULK), 100).as_json()
    assert (value["in_front"], value["workers_alive"], value["pause_s"], value["halted"]) == (140, 1, 0.0, None)
    assert str(value["starts_at"]) < str(value["done_by"])
    assert len(value["waits_for"]) == 3  # type: ignore[arg-type]
