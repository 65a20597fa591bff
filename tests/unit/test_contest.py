"""What bench/contest.py makes of what it saw: a mistake here would be a false claim about somebody's work."""

from __future__ import annotations

import pytest

from bench.bound import ALL_MODELS, earliest_s
from bench.contest import medians
from bench.contest_drain import RATES, speed

COUNTS = (100, 1000, 5000)


@pytest.mark.parametrize("model", ["sliding-log", "fixed"])
def test_the_bound_of_windows_is_the_formula(model: str) -> None:
    assert earliest_s(RATES, (model,), COUNTS) == {n: 60 * ((n - 1) // 1000) + (n - 1) % 1000 // 50 for n in COUNTS}


@pytest.mark.parametrize("model", ["token-bucket", "gcra"])
def test_the_bound_of_buckets_is_the_formula(model: str) -> None:
    assert earliest_s(RATES, (model,), COUNTS) == {n: max((n - 50) / 50, (n - 1000) * 60 / 1000) for n in COUNTS}


def test_nobody_who_does_not_know_the_model_opens_5000_rooms_in_less_than_five_minutes() -> None:
    assert earliest_s(RATES, ALL_MODELS, COUNTS)[5000] == pytest.approx(300, abs=0.5)


def test_shares_and_times_count_from_the_first_call_and_leave_the_tail_out() -> None:
    # Exactly at the limit: a call every 0.06 s; the last 50 come an hour late.
    at_limit = [n * 0.06 for n in range(1950)]
    told = speed([*at_limit, *[3600.0] * 50], 2000, "sliding-log")
    assert told["share_minute_1"] == 1.0
    assert told["share_after"] == pytest.approx(1.0, abs=0.002)
    assert told["open_s"] == {"100": 5.94, "1000": 59.94}
    assert told["curve"][0] == 84
    assert told["curve"][-1] == 2000


def test_a_drain_that_is_too_short_has_no_shares() -> None:
    told = speed([n * 0.06 for n in range(300)], 300, "sliding-log")
    assert told["share_minute_1"] is told["share_after"] is None


def test_medians_are_by_contender_and_model_and_lost_jobs_are_added() -> None:
    same = {"contender": "x", "model": "gcra", "jobs": 10, "workers": 2}
    drains = [{"kind": "drain", **same, "refused": n, "missing": 1, "open_s": {"100": float(n)}} for n in (1, 2, 9)]
    other = {"kind": "drain", **same, "model": "fixed", "refused": 7, "missing": 0, "open_s": {"100": 1.0}}
    failed = {"kind": "failed", **same, "what": "drain", "error": "broke"}
    assert medians([*drains, other, failed]) == [
        {"kind": "median", **same, "rounds": 3, "refused": 2, "missing": 3, "open_s": {"100": 2.0}},
        {"kind": "median", **same, "model": "fixed", "rounds": 1, "refused": 7, "missing": 0, "open_s": {"100": 1.0}},
    ]
