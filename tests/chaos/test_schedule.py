from __future__ import annotations

from collections import Counter
from itertools import pairwise

from .faults import FAULTS
from .schedule import KINDS, Track, schedule

TRACK = {kind.name: kind.track for kind in KINDS}


def test_the_same_seed_gives_the_same_run_and_another_another() -> None:
    assert schedule(7, 60) == schedule(7, 60)
    assert schedule(7, 60) != schedule(8, 60)


def test_every_kind_can_be_carried_out() -> None:
    assert set(TRACK) == set(FAULTS)


def test_faults_come_in_order_and_none_begins_or_lasts_too_long() -> None:
    strikes = schedule(1, 300, longest_s=4)
    assert [strike.at_s for strike in strikes] == sorted(strike.at_s for strike in strikes)
    assert strikes[0].at_s > 0
    assert strikes[-1].at_s < 300
    assert max(strike.lasts_s for strike in strikes) <= 4


def test_every_kind_happens_before_one_happens_again() -> None:
    counts = Counter(strike.name for strike in schedule(3, 900))
    for track in Track:
        mine = [counts[name] for name, of in TRACK.items() if of is track]
        assert min(mine) > 1
        assert max(mine) - min(mine) <= 1


def test_on_one_track_a_fault_is_over_before_the_next_begins() -> None:
    strikes = schedule(5, 600)
    for track in Track:
        mine = [strike for strike in strikes if TRACK[strike.name] is track]
        for one, following in pairwise(mine):
            assert one.at_s + one.lasts_s < following.at_s
