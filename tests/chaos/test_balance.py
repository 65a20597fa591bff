"""The count itself: a count that finds nothing wrong is worth nothing unless it finds what is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from worker.jobs import JobState, WarRoom
from worker.records import Progress, Record

from .balance import Findings, weigh
from .ground import numbered

if TYPE_CHECKING:
    from collections.abc import Callable

JOBS = numbered(1, 0, 3)
FIRST, SECOND, THIRD = (job.id for job in JOBS)


def record(number: int, state: JobState = JobState.OPENED) -> Record:
    job = JOBS[number]
    values: dict[str, Any] = dict.fromkeys(Record.__dataclass_fields__, None)
    values |= {"job": job, "state": state, "batches": ("b",), "attempts": 2}
    values["room"] = WarRoom(chat_id=f"oc_{number}") if state.has_room else None
    return Record(**values)


def room(number: int, chat_id: str = "") -> dict[str, Any]:
    return {"incident_id": JOBS[number].incident_id, "chat_id": chat_id or f"oc_{number}"}


def progress(**counts: int) -> Progress:
    return Progress({state: counts.get(state.value, 0) for state in JobState})


GOOD = Findings(
    records={FIRST: record(0), SECOND: record(1, JobState.FOUND), THIRD: record(2, JobState.FAILED)},
    rooms=[room(0), room(1)],
    progress=progress(opened=1, found=1, failed=1),
    batches={"b": (frozenset({FIRST, SECOND, THIRD}), progress(opened=1, found=1, failed=1))},
    left_over={"unacked": 0},
)


def test_what_is_in_order_balances() -> None:
    balance = weigh(GOOD)
    assert balance.holds, str(balance)
    assert (balance.enqueued, balance.states) == (3, {"opened": 1, "found": 1, "failed": 1})
    assert (balance.rooms, balance.incidents_with_rooms, balance.max_attempts) == (2, 2, 2)
    assert str(balance) == "it balances"


def test_a_dead_letter_may_have_its_room() -> None:
    assert weigh(replace(GOOD, rooms=[room(0), room(1), room(2)])).holds


WRONG: dict[str, tuple[Callable[[Findings], Findings], str]] = {
    "a lost job": (
        lambda good: replace(good, records={**good.records, FIRST: None}),
        f"1 have no record: {FIRST}",
    ),
    "an unfinished job": (
        lambda good: replace(good, records={**good.records, THIRD: record(2, JobState.OPENING)}),
        f"1 are not finished: {THIRD} opening (attempt 2)",
    ),
    "a second room": (
        lambda good: replace(good, rooms=[*good.rooms, room(0, "oc_9")]),
        f"1 have more than one room: {FIRST} opened (2 rooms)",
    ),
    "no room": (
        lambda good: replace(good, rooms=[room(0)]),
        f"1 have a room that the API never made: {SECOND} found",
    ),
    "another one's room": (
        lambda good: replace(good, rooms=[room(0), room(1, "oc_9")]),
        f"1 name a room that is not theirs: {SECOND} found",
    ),
    "a stranger's room": (
        lambda good: replace(good, rooms=[*good.rooms, {"incident_id": "f" * 24, "chat_id": "oc_9"}]),
        f"1 are incidents with a room that nobody asked for: {'f' * 24}",
    ),
    "a wrong counter": (
        lambda good: replace(good, progress=progress(opened=2, found=1, failed=1)),
        "the ledger counts 2 opened, its records say 1",
    ),
    "a wrong counter of a batch": (
        lambda good: replace(good, batches={"b": (frozenset({FIRST}), progress(found=1, opened=1))}),
        "batch b counts 1 found, its records say 0",
    ),
    "a batch that is gone": (
        lambda good: replace(good, batches={"b": (frozenset({FIRST}), None)}),
        "batch b is not known",
    ),
    "a message": (lambda good: replace(good, left_over={"unacked": 2}), "2 left over in unacked"),
    "a worker": (
        lambda good: replace(good, deserters=["w1 with 1: oops"]),
        "a worker ended by itself: w1 with 1: oops",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_it_says_what_does_not_balance(name: str) -> None:
    spoil, sentence = WRONG[name]
    balance = weigh(spoil(GOOD))
    assert not balance.holds
    assert sentence in balance.wrong
    assert sentence in str(balance)


def test_of_many_it_names_some_and_counts_the_rest() -> None:
    jobs = numbered(2, 0, 25)
    balance = weigh(replace(GOOD, records={**GOOD.records, **{job.id: None for job in jobs}}))
    (sentence,) = balance.wrong
    assert sentence.startswith(f"25 have no record: {jobs[0].id}, {jobs[1].id}")
    assert sentence.endswith("and 15 more")
