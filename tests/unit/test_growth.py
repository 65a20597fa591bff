"""The pure parts of the benches about growth: medians, lines through points, arrivals, the model of many accounts."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from bench.accounts_stack import accounts_file, names
from bench.constants import Constants, Curve, Straight
from bench.growth import keep
from bench.median import medians_of
from bench.model import Arrival, Fleet, Model, Overloaded
from bench.replay import Tape
from bench.simulation import bound_s, share_of, simulate
from bench.storm import Storm
from worker.rate_limit import plan_of

if TYPE_CHECKING:
    from pathlib import Path

PLAN = plan_of("50/second;1000/minute")
FREE = Constants(Curve([(0, 0)]), Curve([(0, 0)]), Straight(0, 0), Straight(0, 0))
COSTLY = Constants(Curve([(0, 10)]), Curve([(0, 1000)]), Straight(0, 0), Straight(0, 0))
AT_ONCE = (0.0, 0.0)


def storm(jobs: int, share: float = 1.0) -> Storm:
    return Storm(share, jobs, within_s=0.0, calm_per_hour=0.0, lasts_s=0.0)


def test_a_line_goes_through_its_points() -> None:
    line = Straight.through([(1, 5, 1), (3, 9, 1)])

    assert (line.at_zero, line.each) == pytest.approx((3, 2))


def test_a_heavy_point_draws_the_line_to_itself() -> None:
    light = Straight.through([(0, 0, 1), (1, 1, 1), (2, 8, 1)])
    heavy = Straight.through([(0, 0, 1), (1, 1, 1), (2, 8, 100)])

    assert abs(heavy.at(2) - 8) < abs(light.at(2) - 8)


def test_points_above_one_another_make_a_level_line() -> None:
    assert Straight.through([(7, 1, 1), (7, 3, 1)]) == Straight(2, 0)


def test_no_line_costs_less_than_nothing() -> None:
    assert Straight(1, -1).at(5) == 0


def test_a_curve_goes_from_point_to_point_and_on() -> None:
    curve = Curve.through([(10, 4, 1), (10, 2, 1), (20, 5, 1), (40, 9, 1)])

    assert [curve.at(x) for x in (1, 10, 15, 20, 30, 60)] == pytest.approx([3, 3, 4, 5, 7, 13])


def test_constants_are_what_is_left_when_the_idle_cost_is_taken_away() -> None:
    lines = [
        {
            "accounts": accounts,
            "workers": 1,
            "jobs_per_s": float(accounts),
            "cpu_ms_per_job": 3.0 + 0.5,  # 0.5 ms a second and account, at a job a second
            "redis_cpu_ms_per_job": 0.4 + 0.1,
            "idle_cpu_ms_per_s_per_worker": 0.5 * accounts,
            "idle_redis_ms_per_s": 0.1 * accounts,
            "cpu_used_per_worker": 0.8,
            "share_mean": 1.0 if accounts == 10 else 0.5,
        }
        for accounts in (10, 100)
    ]

    constants = Constants.of(lines)

    assert constants.cpu_ms_per_job.at(50) == pytest.approx(3)
    assert constants.redis_us_per_job.at(50) == pytest.approx(400)
    assert constants.idle_cpu_ms_per_s.at(1000) == pytest.approx(500)
    assert constants.idle_redis_us_per_s.at(1000) == pytest.approx(100_000)
    assert constants.cpu_most == 0.8


def test_medians_are_of_numbers_also_within_dictionaries() -> None:
    lines = [{"a": 1, "in": {"b": 5}, "name": "x"}, {"a": 9, "in": {"b": 1}}, {"a": 2, "in": {"b": 3}}]

    assert medians_of(lines) == {"a": 2, "in": {"b": 3}}


def test_what_was_measured_alone_leaves_the_rest_alone(tmp_path: Path) -> None:
    out = tmp_path / "growth.json"
    keep(out, "batch", {"lines": [1]})
    keep(out, "letters", {"lines": [2]})
    keep(out, "batch", {"lines": [3]})

    assert '"letters"' in out.read_text()
    assert "3" in out.read_text()
    assert "1" not in out.read_text()


def test_without_cost_an_account_drains_in_the_time_that_its_limits_need() -> None:
    line = simulate(Fleet(3, 1, 1, PLAN), FREE, storm(100), AT_ONCE)

    assert line["drain_s"] == pytest.approx(bound_s(PLAN, 100), abs=0.2)
    assert line["enough"]


def test_a_worker_does_no_more_jobs_than_its_time_is_enough_for() -> None:
    line = simulate(Fleet(50, 1, 1, PLAN), COSTLY, storm(20), AT_ONCE)

    assert line["jobs_per_s"] == pytest.approx(1000 / 10, rel=0.05)
    assert line["worker_used"] == pytest.approx(1, abs=0.02)
    assert not line["enough"]


def test_a_worker_that_waits_for_others_does_less() -> None:
    waits = Constants(Curve([(0, 10)]), Curve([(0, 1000)]), Straight(0, 0), Straight(0, 0), cpu_most=0.5)

    line = simulate(Fleet(50, 1, 1, PLAN), waits, storm(20), AT_ONCE)

    assert line["jobs_per_s"] == pytest.approx(50, rel=0.05)
    assert line["worker_used"] == pytest.approx(0.5, abs=0.02)


def test_crews_with_accounts_of_their_own_cost_less_than_one_that_serves_all() -> None:
    by_accounts = Constants(Curve([(0, 1), (100, 2)]), Curve([(0, 100)]), Straight(0, 0.1), Straight(0, 100))

    one = simulate(Fleet(400, 1, 4, PLAN), by_accounts, storm(50), AT_ONCE)
    four = simulate(Fleet(400, 1, 4, PLAN, crews=4), by_accounts, storm(50), AT_ONCE)

    assert four["drain_s"] < one["drain_s"]
    assert four["idle_redis_used"] == pytest.approx(one["idle_redis_used"] / 4)


def test_two_workers_do_twice_as_many() -> None:
    line = simulate(Fleet(50, 1, 2, PLAN), COSTLY, storm(20), AT_ONCE)

    assert line["jobs_per_s"] == pytest.approx(2000 / 10, rel=0.05)


def test_one_redis_bounds_all_its_workers() -> None:
    slow_redis = Constants(Curve([(0, 0.1)]), Curve([(0, 5000)]), Straight(0, 0), Straight(0, 0))

    one = simulate(Fleet(50, 1, 4, PLAN), slow_redis, storm(20), AT_ONCE)
    two = simulate(Fleet(50, 2, 4, PLAN), slow_redis, storm(20), AT_ONCE)

    assert one["jobs_per_s"] == pytest.approx(200, rel=0.05)
    assert two["jobs_per_s"] == pytest.approx(400, rel=0.05)


def test_threads_that_wait_for_answers_bound_a_worker() -> None:
    line = simulate(Fleet(50, 1, 1, PLAN, threads=10), FREE, storm(20), (1.0, 1.0))

    assert line["jobs_per_s"] == pytest.approx(10, rel=0.15)


def test_every_job_gets_its_room_and_no_window_is_exceeded() -> None:
    rooms = Model(Fleet(4, 2, 3, PLAN), COSTLY, lambda: 0.0).run(storm(200).arrivals(4, random.Random(1))).rooms

    assert len(rooms) == 4 * 200
    for account in {account for *_, account in rooms}:
        at = sorted(room for _, room, _, its in rooms if its == account)
        assert all(later - earlier > 0.9 for earlier, later in zip(at, at[50:], strict=False))


def test_an_urgent_job_overtakes_the_backlog() -> None:
    arrivals = [*storm(300).arrivals(1, random.Random(1)), Arrival(5.0, 0, urgent=True)]

    rooms = Model(Fleet(1, 1, 1, PLAN), FREE, lambda: 0.0).run(arrivals).rooms

    (wait_s,) = [room - came for came, room, urgent, _ in rooms if urgent]
    assert wait_s < 0.3


def test_accounts_that_take_all_of_a_redis_leave_nothing_for_jobs() -> None:
    hungry = Constants(Curve([(0, 1)]), Curve([(0, 100)]), Straight(0, 0), Straight(0, 300))

    with pytest.raises(Overloaded):
        Model(Fleet(10_000, 1, 1, PLAN), hungry, lambda: 0.0)
    assert not simulate(Fleet(10_000, 1, 1, PLAN), hungry, storm(1), AT_ONCE)["enough"]


def test_a_storm_hits_its_share_and_the_calm_goes_on() -> None:
    arrivals = Storm(0.1, 5, within_s=1.0, calm_per_hour=3600.0, lasts_s=10.0).arrivals(100, random.Random(1))

    assert sum(not one.urgent for one in arrivals) == 10 * 5
    assert sum(one.urgent for one in arrivals) == pytest.approx(100 * 10, rel=0.15)
    assert all(0 <= one.at_s < 10 for one in arrivals)


def test_of_nothing_there_is_no_share() -> None:
    assert share_of([], 0.5) is None
    assert share_of([1.0, 2.0, 3.0], 0.99) == 3.0


def test_the_accounts_file_names_a_variable_for_each() -> None:
    text = accounts_file(names(2), "60/minute")

    assert '[accounts.team-00001]\napp_key_env = "KEY_TEAM_00001"' in text


def test_a_tape_counts_jobs_through_and_keeps_every_length() -> None:
    tape = Tape("team-00001", PLAN, "0" * 40)

    first, later = tape.take(1), tape.take(2**20)

    assert len(first) == len(later)
    assert b"%024x" % 2**20 in later
    assert later.count(b"bench/000000100000") == tape.finish(2**20).count(b"bench/000000100000") == 1
