"""The board: how an account is in a word, why, when it is empty; batches over several accounts."""

from __future__ import annotations

import json

import pytest

from producers.board import Board, State
from producers.board_json import board_json
from producers.crew import Crew
from producers.halts import Halt
from producers.plot import HEIGHT, Plot
from tests.glances import NOTHING, a_batch, a_glance, batches, letters
from tests.records import DOWN, NOW_S, UNAUTHORIZED
from worker.history import TENS, Spent
from worker.newest import Newest
from worker.orders import Order, Orders
from worker.records import Standing
from worker.slots import Lines

WAITS = Standing(3, 12_000, 2, 1.0, opening=4)
NOBODY = Crew({"w1": 100.0})
HELD = {"lines": Lines(0, 0, 86_400.0, held=True), "orders": Orders(hold=Order("root@ops", NOW_S - 60))}


@pytest.mark.parametrize(
    ("seen", "state", "why"),
    [
        ({}, State.IDLE, ""),
        ({"crew": Crew({})}, State.IDLE, ""),
        ({"standing": WAITS}, State.DRAINING, ""),
        ({"standing": WAITS, "crew": NOBODY}, State.NO_WORKER, "NONE ALIVE, and 12,009 jobs wait"),
        ({"standing": WAITS, "lines": Lines(0, 0, 7.0)}, State.HELD, "for 7 s: the API said 429"),
        ({"standing": WAITS, **HELD}, State.PAUSED, "by root@ops since"),
        ({"halt": Halt("default", DOWN, 3.0)}, State.DOWN, "Timeout: no complete answer"),
        ({"halt": Halt("default", UNAUTHORIZED, 30.0), "crew": NOBODY, **HELD}, State.SUSPENDED, "check the app key"),
    ],
)
def test_an_account_is_in_one_state_and_says_why(seen: dict[str, object], state: State, why: str) -> None:
    board = Board.of([a_glance(**seen)], 50)  # type: ignore[arg-type]
    (one,) = board.accounts
    assert one.state is state
    assert why in "; ".join(text for _, text in one.why)
    assert bool(one.why) is bool(why)
    assert ("in trouble" in board.summary) is state.troubled


def test_two_reasons_are_both_said() -> None:
    (one,) = Board.of([a_glance(halt=Halt("default", UNAUTHORIZED, 30.0), crew=NOBODY, standing=WAITS)], 50).accounts
    assert [term for term, _ in one.why] == ["suspended", "since", "to do", "workers"]


def test_a_gauge_counts_the_calls_of_its_window_and_not_those_ahead() -> None:
    now_us = int(NOW_S * 1e6)
    slots = (now_us - 59_000_000, now_us - 900_000, now_us - 1, now_us + 50_000)
    (one,) = Board.of([a_glance(slots_us=slots)], 50).accounts
    assert [gauge.text for gauge in one.gauges] == [
        "2 of 50 in the last second, 1 token",
        "3 of 1,000 in the last minute, 1 token",
    ]
    assert one.calls_last_minute == 3


def test_a_window_longer_than_a_minute_is_not_counted_call_by_call() -> None:
    (one,) = Board.of([a_glance(rates="100/hour")], 50).accounts
    (gauge,) = one.gauges
    assert (gauge.spent, gauge.text) == (None, "100 a 1 h, 1 token")
    assert Spent((), 0).within(60_000_001) is None


def test_it_says_when_it_is_empty_or_that_nobody_knows() -> None:
    drains, stands, idle = Board.of(
        [a_glance("a", standing=WAITS), a_glance("b", standing=WAITS, crew=NOBODY), a_glance("c")], 50
    ).accounts
    assert drains.empty.startswith("in about 12 min")
    assert drains.empty_at_s == pytest.approx(NOW_S + 727, abs=10)
    assert (stands.empty, stands.empty_at_s) == ("nobody knows", None)
    assert (idle.empty, idle.empty_at_s) == ("no job waits", None)


def test_whoever_set_the_limits_is_named_beside_the_configured_ones() -> None:
    orders = Orders(rates="20/second", set=Order("root@ops", NOW_S - 60, NOW_S + 540))
    (one,) = Board.of([a_glance(orders=orders)], 50).accounts
    assert "set by root@ops since" in one.limits
    assert one.limits.endswith("; configured are 50/1s;1000/60s")
    (usual,) = Board.of([a_glance()], 50).accounts
    assert usual.limits == "50/1s;1000/60s, we keep 992/min; as configured"


def test_a_batch_counts_over_all_accounts_and_takes_as_long_as_its_last() -> None:
    mine = Newest(batches(night={"queued": 10, "opened": 5}), [], 0)
    other = Newest(batches(night={"opened": 2, "failed": 3}, old={"opened": 1}), [], 0)
    board = Board.of(
        [a_glance("a", newest=mine, standing=Standing(0, 10, 0, 1.0)), a_glance("b", newest=other, crew=NOBODY)], 50
    )
    night, old = board.batches
    assert (night.view.name, night.accounts, night.view.total, night.view.finished) == ("night", ("a", "b"), 20, 10)
    assert night.left.startswith(("in about", "in less"))
    assert (old.view.name, old.left) == ("old", "done")


def test_a_batch_whose_account_has_no_worker_promises_no_time() -> None:
    mine = Newest(batches(night={"queued": 10}), [], 0)
    (row,) = Board.of([a_glance(newest=mine, standing=Standing(0, 10, 0, 1.0), crew=NOBODY)], 50).batches
    assert (row.left, row.view.done_by) == ("nobody knows", None)


def test_batches_that_go_on_come_first_then_the_newest_and_no_more_than_asked_for() -> None:
    made = {
        "old-running": a_batch(NOW_S - 1000, queued=1),
        "new-done": a_batch(NOW_S - 1, opened=1),
        "old-done": a_batch(NOW_S - 500, opened=1),
        "empty": a_batch(NOW_S - 2),
    }
    board = Board.of([a_glance(newest=Newest(made, [], 0))], 3)
    assert [row.view.name for row in board.batches] == ["old-running", "new-done", "empty"]


def test_the_codes_of_the_dead_letters_stand_once_each() -> None:
    newest = Newest({}, letters("Timeout", "NoLicense", "Timeout", ""), 10_000)
    (one,) = Board.of([a_glance(newest=newest)], 50).accounts
    assert (one.codes, one.letters_in_all) == (["Timeout", "NoLicense", "none"], 10_000)


def test_who_may_see_no_account_is_told_so() -> None:
    assert Board.of([], 50).summary == "no account exists for this token"


def test_json_has_all_of_it_and_no_number_that_json_does_not_know() -> None:
    newest = Newest(batches(night={"queued": 3}), letters("Timeout"), 1)
    text = json.dumps(
        board_json(Board.of([a_glance(standing=WAITS, newest=newest, oldest_s=61.5)], 50)), allow_nan=False
    )
    said = json.loads(text)
    (one,) = said["accounts"]
    assert (one["state"], one["waiting"]["bulk"], one["oldest_s"]) == ("draining", 12_000, 61.5)
    assert len(one["ten_seconds"]) == TENS
    assert said["batches"][0]["accounts"] == ["default"]
    assert one["failed_jobs"][0]["error"]["code"] == "Timeout"


def test_nothing_is_in_newest_of_an_account_that_never_had_a_job() -> None:
    (one,) = Board.of([a_glance(newest=NOTHING)], 50).accounts
    assert (one.oldest, one.codes, one.letters_in_all) == ("", [], 0)


# --- the plot -----------------------------------------------------------------------------------------------------


def test_the_plot_says_in_words_what_it_shows() -> None:
    tens = (*(0,) * 57, 100, 167, 3)
    assert Plot(tens, 166.7).sentence() == (
        "270 calls in the last 10 minutes; bars of 10 s: 0 to 167 calls, the last 167; 167 allowed"
    )
    assert Plot((0,) * 60, 166.7).sentence() == "no call in the last ten minutes"


@pytest.mark.parametrize("tens", [(0,) * 60, (1,) * 60, (10_000,) * 60, (*(0,) * 59, 1)])
@pytest.mark.parametrize("allowed", [0.1, 166.7, 1e6])
def test_every_bar_is_within_the_drawing_and_a_call_is_seen(tens: tuple[int, ...], allowed: float) -> None:
    plot = Plot(tens, allowed)
    heights = [int(part.partition("h")[0]) for part in plot.path.split("v-")[1:]]
    assert len(heights) == sum(calls > 0 for calls in tens)
    assert all(1 <= height <= HEIGHT for height in heights)
    assert 0 <= plot.line <= HEIGHT
    shown = plot.characters(60)
    assert len(shown) == 60
    assert [one != " " for one in shown] == [calls > 0 for calls in tens]
