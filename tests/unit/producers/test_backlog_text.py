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
    asking = ", 250 to look for their rooms, 250 to open rooms, or to ask whether the one they have is still there"
    assert f"{asking}; about 30 s at" in looking.sentence()


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
        ({"ended_by": Exit.INTERRUPTED, "broken": "no answer"}, Exit.INTERRUPTED),
        ({"ended_by": Exit.TERMINATED}, Exit.TERMINATED),
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
    outcome.ended_by, outcome.again = Exit.INTERRUPTED, "warrooms backlog --since 1d --batch b"
    assert outcome.lines(0.0, waits=False) == [
        "10 incidents read (200 before) with 12 calls",
        "batch b: 5 queued, 1 already open, 3 left out: they have a room, 1 without a usable id",
        "follow them with: warrooms watch --batch b",
    ]
    assert outcome.trouble() == [
        "stopped: what was queued goes on; the rest, with nothing doubled: warrooms backlog --since 1d --batch b"
    ]


def test_groups_that_are_gone_are_said_and_ours_stay_with_a_person() -> None:
    outcome = Outcome("default", 5, batch="b", read=2, gone=2, calls=7)
    outcome.tally.add(Receipt("1", Status.QUEUED))
    assert (
        outcome.lines(0.0, waits=True)[2]
        == "2 incidents with a room whose group is gone in the IM: taken as without one"
    )
    assert outcome.remarks() == []
    outcome.tally.add(Receipt("2", Status.ALREADY_OPEN))
    outcome.gone_ours = 1
    (remark,) = outcome.remarks()
    assert remark.startswith("1 of the groups that are gone was ours: ")
    assert (outcome.as_json()["gone"], outcome.as_json()["gone_ours"]) == (2, 1)


def test_it_says_only_of_what_was_queued_that_it_goes_on() -> None:
    assert Outcome("default", 5, ended_by=Exit.TERMINATED).trouble() == ["stopped: nothing was queued"]
    followed = Outcome("default", 5, ended_by=Exit.HUNG_UP, stopped="stopped watching")
    assert followed.trouble() == ["stopped watching"]


def test_nothing_read_is_said_unless_something_else_explains_it() -> None:
    assert Outcome("default", 5).lines(0.0, waits=False) == ["no incident matches; nothing was queued"]
    assert Outcome("default", 5, resumed=3).lines(0.0, waits=False) == [
        "no further incident matches; nothing was queued"
    ]
    assert Outcome("default", 5, broken="no answer").lines(0.0, waits=False) == []
