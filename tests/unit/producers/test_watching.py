from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from producers.console import iso
from producers.crew import START
from producers.halts import Halt
from producers.watching import Sample, View, Watch, line, per_minute, result, speed, time_left_s
from tests.records import DOWN, UNAUTHORIZED

PER_S = 1000 / 60


def sample(at_s: float = 0.0, **counts: int) -> Sample:
    made = Sample(at_s, rate_per_s=PER_S, allowed_per_s=PER_S, **counts)  # type: ignore[arg-type]
    return replace(made, line=made.waiting, ends_in_s=made.waiting / PER_S)


def seen(*samples: Sample, since: Sample | None = None) -> View:
    watch = Watch(since)
    for each in samples[:-1]:
        watch.see(each)
    return watch.see(samples[-1])


def test_the_speed_is_what_was_finished_between_the_first_and_the_last_sample() -> None:
    assert speed([sample(0, opened=10), sample(5, opened=60, found=10), sample(10, opened=150, failed=10)]) == 15


def test_one_sample_has_no_speed() -> None:
    assert speed([sample()]) is None


def test_samples_less_than_a_second_apart_have_no_speed() -> None:
    assert speed([sample(0), sample(0.9, opened=100)]) is None


def test_a_replayed_dead_letter_makes_no_negative_speed() -> None:
    assert speed([sample(0, failed=3), sample(2, queued=3)]) == 0


def test_the_speed_forgets_what_is_older_than_ten_seconds() -> None:
    view = seen(sample(0, queued=200), sample(20, queued=100, opened=100), sample(30, queued=90, opened=110))
    assert view.speed_per_s == 1


def test_without_a_speed_the_time_left_is_forecast_by_the_place_in_line() -> None:
    assert time_left_s(replace(sample(queued=100), line=1000, ends_in_s=12.0), None) == 12


def test_with_a_speed_the_time_left_goes_by_it() -> None:
    assert time_left_s(sample(queued=100), 10.0) == 10


def flow(*finished: tuple[float, int], of: int = 1000) -> list[Sample]:
    """Samples of a line of 1,000 jobs: when, and how many were finished by then."""
    return [sample(at_s, queued=of - done, opened=done) for at_s, done in finished]


def test_right_after_a_start_the_time_left_is_that_of_the_limit() -> None:
    assert seen(*flow((0, 0), (5, 83))).left_s == pytest.approx(917 / PER_S)
    few = seen(*flow((0, 0), (10, 1)))
    assert few.speed_per_s == pytest.approx(0.1)
    assert few.left_s == pytest.approx(999 / PER_S), "and not three hours"


def test_a_speed_far_below_the_limit_is_believed_only_when_it_has_lasted() -> None:
    assert seen(*flow((0, 0), (10, 20), (59, 118))).left_s == pytest.approx(882 / PER_S)
    slow = [(float(at_s), 2 * at_s) for at_s in range(61)]
    assert seen(*flow(*slow)).left_s == pytest.approx(880 / 2)


def test_a_speed_near_the_limit_is_believed_after_ten_seconds() -> None:
    steady = [(float(at_s), 12 * at_s) for at_s in range(12)]
    assert seen(*flow(*steady[:10])).left_s == pytest.approx((1000 - 9 * 12) / PER_S)
    assert seen(*flow(*steady)).left_s == pytest.approx((1000 - 11 * 12) / 12)


@pytest.mark.parametrize("what", [{"alive": 0}, {"pause_s": 3.0}, {"halts": (Halt("default", DOWN, 3.0),)}])
def test_after_an_obstacle_the_speed_must_prove_itself_anew(what: dict[str, Any]) -> None:
    watch = Watch()
    for each in flow(*[(float(at_s), at_s) for at_s in range(61)]):
        settled = watch.see(each)
    assert settled.left_s == pytest.approx(940)
    watch.see(replace(*flow((61, 60)), **what))
    assert watch.see(*flow((62, 61))).left_s == pytest.approx(939 / PER_S)


def test_after_a_time_without_a_look_the_speed_must_prove_itself_anew() -> None:
    watch = Watch()
    for each in flow(*[(float(at_s), at_s) for at_s in range(61)]):
        watch.see(each)
    assert watch.see(*flow((90, 61))).left_s == pytest.approx(939 / PER_S)


def test_a_stopped_line_falls_back_on_the_forecast() -> None:
    assert time_left_s(sample(queued=1000), 0.0) == pytest.approx(60)


def test_during_a_pause_the_time_left_is_forecast() -> None:
    assert time_left_s(replace(sample(queued=1000), pause_s=30, ends_in_s=90.0), 16.0) == 90


def test_nothing_waiting_leaves_no_time() -> None:
    assert time_left_s(replace(sample(opened=3), pause_s=30), None) == 0


def test_an_account_is_counted_from_the_moment_the_watch_began() -> None:
    first = sample(0, queued=10, opened=5000, failed=7)
    view = seen(first, sample(1, queued=4, opened=5005, failed=8), since=first)
    assert (view.done, view.total, view.opened, view.failed) == (6, 10, 5, 1)


def test_a_batch_is_counted_from_its_first_job() -> None:
    view = seen(sample(0, queued=4, opened=5, found=1))
    assert (view.done, view.total) == (6, 10)


def test_a_watch_is_finished_when_nothing_waits() -> None:
    assert not seen(sample(retrying=1)).finished
    assert seen(sample(opened=1)).finished


def test_a_line_that_does_not_move_for_fifteen_seconds_is_stalled() -> None:
    assert seen(sample(0, queued=5), sample(14.9, queued=5)).stalled_s is None
    assert seen(sample(0, queued=5), sample(15, queued=5)).stalled_s == 15


def test_a_slow_account_is_not_stalled_between_two_slots() -> None:
    slow = replace(sample(0, queued=5), rate_per_s=1 / 60)
    assert seen(slow, replace(slow, at_s=179)).stalled_s is None
    assert seen(slow, replace(slow, at_s=180)).stalled_s == 180


@pytest.mark.parametrize("why", [{"opening": 1}, {"pause_s": 3.0}])
def test_a_line_that_waits_for_a_reason_is_not_stalled(why: dict[str, float]) -> None:
    held = replace(sample(0, queued=5), **why)  # type: ignore[arg-type]
    assert seen(held, replace(held, at_s=60)).stalled_s is None


def test_a_job_that_is_taken_ends_the_stall() -> None:
    watch = Watch()
    watch.see(sample(0, queued=5))
    assert watch.see(sample(20, queued=5)).stalled_s == 20
    assert watch.see(sample(21, queued=4, opened=1)).stalled_s is None


@pytest.mark.parametrize(
    ("rate_per_s", "text"),
    [(PER_S, "1,000/min"), (0.5, "30/min"), (1 / 60, "1/min"), (1 / 120, "30/h"), (0.0, "0/min")],
)
def test_speeds_are_written_in_the_unit_of_the_limits(rate_per_s: float, text: str) -> None:
    assert per_minute(rate_per_s) == text


def test_the_line_says_what_a_person_wants_to_know() -> None:
    view = seen(sample(0, queued=5000), sample(10, queued=4840, opened=150, failed=3, opening=7))
    assert line(view) == "153 of 5,000 done, 3 failed, 7 opening, 918/min of 1,000/min, about 5 min 17 s left"


def test_the_line_says_why_nothing_moves() -> None:
    paused = replace(sample(queued=10), pause_s=12.4, paused="paused for 12 s: the API said 429", ends_in_s=13.0)
    assert line(seen(paused)).endswith("about 13 s left, paused for 12 s: the API said 429")
    stalled = seen(sample(0, queued=10), sample(30, queued=10))
    assert line(stalled).endswith("no job was taken for 30 s: is a worker running?")


def test_the_line_of_a_suspended_account_says_so_and_promises_no_time() -> None:
    halted = replace(sample(queued=10), pause_s=37.0, halts=(Halt("default", UNAUTHORIZED, 37.0),), alive=2)
    assert line(seen(halted)) == "0 of 10 done, suspended: Unauthorized, next probe in 37 s"
    value = seen(halted).as_json(0)
    assert (value["left_s"], value["done_by"], value["pause_s"], value["workers_alive"]) == (None, None, 37.0, 2)
    assert [halt["state"] for halt in value["halts"]] == ["suspended"]  # type: ignore[attr-defined]


def test_the_line_of_an_api_that_is_down_says_when_the_next_probe_goes_out() -> None:
    down = replace(sample(queued=10), pause_s=4.0, halts=(Halt("default", DOWN, 4.0),))
    assert line(seen(down)).endswith("done, the API is down: Timeout, next probe in 4 s")
    due = replace(down, pause_s=0.0, halts=(Halt("default", DOWN, 0.0),))
    assert line(seen(due)).endswith("the API is down: Timeout, the next call is a probe")
    eu = replace(due, halts=(Halt("eu", DOWN, 0.0), Halt("us", UNAUTHORIZED, 9.0)))
    assert "account eu finds the API is down: Timeout" in line(seen(eu))
    assert "account us suspended: Unauthorized, next probe in 9 s" in line(seen(eu))


def test_a_line_without_a_living_worker_says_so_at_once() -> None:
    alone = replace(sample(queued=10), alive=0)
    assert line(seen(alone)) == f"0 of 10 done, no worker is alive: {START}"
    assert seen(alone).as_json(0)["left_s"] is None
    assert line(seen(replace(sample(opened=10), alive=0))) == "10 of 10 done"


def test_what_a_dead_worker_holds_does_not_hide_that_the_line_stands_still() -> None:
    held = replace(sample(queued=5, opening=2), alive=0)
    assert seen(held, replace(held, at_s=20.0)).stalled_s == 20
    worked_on = replace(held, alive=1)
    assert seen(worked_on, replace(worked_on, at_s=20.0)).stalled_s is None


def test_a_line_that_stands_still_though_workers_live_sends_to_their_logs() -> None:
    idle = replace(sample(queued=5), alive=3)
    assert line(seen(idle, replace(idle, at_s=20.0))).endswith("for 20 s: see the logs of the workers (3 alive)")


def test_a_finished_watch_has_no_speed_and_no_time_left_in_its_line() -> None:
    assert line(seen(sample(0, queued=2), sample(9, opened=2))) == "2 of 2 done"


def test_the_result_names_only_what_happened() -> None:
    assert result(seen(sample(opened=4990, found=7, failed=3))) == "finished: 4,990 opened, 7 found, 3 failed"
    assert result(seen(sample())) == "finished: there was no job to wait for"


def test_machines_get_the_same_numbers() -> None:
    value = seen(sample(0, queued=20), sample(10, queued=10, opened=10)).as_json(1000.0)
    assert (value["at"], value["done_by"]) == (iso(1000), iso(1000.6))
    assert (value["done"], value["total"], value["speed_per_minute"], value["finished"]) == (10, 20, 60.0, False)
    assert (value["limit_per_minute"], value["left_s"]) == (1000.0, 0.6)


def test_after_other_rates_the_speed_must_prove_itself_anew() -> None:
    watch = Watch()
    for each in flow(*[(float(at_s), 16 * at_s) for at_s in range(61)], of=10_000):
        watch.see(each)
    (slower,) = flow((61, 970), of=10_000)
    left_s = watch.see(replace(slower, rate_per_s=1.0, ends_in_s=9030.0)).left_s
    assert left_s == 9030


def test_while_limits_hold_that_end_by_themselves_the_time_left_is_forecast() -> None:
    assert time_left_s(replace(sample(queued=1000), ends_in_s=90.0), 1.0) == 1000
    assert time_left_s(replace(sample(queued=1000), ends_in_s=90.0, passing=True), 1.0) == 90
