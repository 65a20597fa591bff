"""What a backlog is expected to cost, and what became of it."""

from __future__ import annotations

import pytest

from producers.cli.backlog_text import Estimate, Outcome
from producers.cli.exits import Exit
from producers.receipt import Receipt, Status
from worker.rate_limit import plan_of

PLAN = plan_of("50/second;1000/minute")


def test_the_estimate_counts_pages_looks_and_rooms() -> None:
    plain = Estimate(250, more=False, windows=1, look=False, plan=PLAN)
    looking = Estimate(250, more=False, windows=1, look=True, plan=PLAN)
    assert (plain.list_calls, plain.look_calls, plain.calls) == (3, 0, 253)
    assert (looking.look_calls, looking.calls) == (250, 503)
    assert looking.takes_s == PLAN.drain_s(503)
    assert "to look for" not in plain.sentence()
    assert ", 250 to look for their rooms, at most 250 to open rooms; about 30 s at" in looking.sentence()


def test_every_window_has_a_page_of_its_own() -> None:
    assert Estimate(0, more=False, windows=4, look=True, plan=PLAN).list_calls == 4


def test_a_count_that_ended_early_is_the_least() -> None:
    sentence = Estimate(1000, more=True, windows=1, look=False, plan=PLAN).sentence()
    assert sentence.startswith(
        "at least 1,000 incidents to read by the API's count: 10 calls to list them, 1,000 to open"
    )
    assert "; at least about 1 min 1 s at" in sentence


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, Exit.DONE),
        ({"broken": "no answer"}, Exit.UNREACHABLE),
        ({"broken": "no such channel", "exit_broken": Exit.BAD_INPUT}, Exit.BAD_INPUT),
        ({"interrupted": True, "broken": "no answer"}, Exit.INTERRUPTED),
    ],
)
def test_the_exit_code_says_how_it_ended(fields: dict[str, object], code: Exit) -> None:
    outcome = Outcome("default", 5)
    for name, value in fields.items():
        setattr(outcome, name, value)
    assert outcome.exit is code
    assert outcome.as_json()["exit_code"] == code


def test_the_summary_says_what_was_left_out_and_how_to_go_on() -> None:
    outcome = Outcome("default", 5, batch="b", read=10, resumed=200, has_room=3, unusable=1, calls=12)
    for number in range(6):
        outcome.tally.add(Receipt(str(number), Status.QUEUED if number else Status.ALREADY_OPEN))
    outcome.interrupted, outcome.again = True, "warrooms backlog --since 1d --batch b"
    assert outcome.lines(0.0, waits=False) == [
        "10 incidents read (200 before) with 12 calls",
        "batch b: 5 queued, 1 already open, 3 left out: they have a room, 1 without a usable id",
        "follow them with: warrooms watch --batch b",
    ]
    assert outcome.trouble() == [
        "stopped: what was queued goes on; the rest, with nothing doubled: warrooms backlog --since 1d --batch b"
    ]


def test_nothing_read_is_said_unless_something_else_explains_it() -> None:
    assert Outcome("default", 5).lines(0.0, waits=False) == ["no incident matches; nothing was queued"]
    assert Outcome("default", 5, resumed=3).lines(0.0, waits=False) == [
        "no further incident matches; nothing was queued"
    ]
    assert Outcome("default", 5, broken="no answer").lines(0.0, waits=False) == []
