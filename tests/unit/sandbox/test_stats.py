from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from sandbox.stats import CUT, Ledger, Verdict, WorstWindow

S = 1_000_000


def worst(times_us: list[int], window_us: int) -> int:
    """The worst window, brute force: every window that ends at a call."""
    return max((sum(end - window_us < t <= end for t in times_us) for end in times_us), default=0)


@given(st.lists(st.integers(0, 50), max_size=80).map(sorted), st.integers(1, 20))
def test_the_worst_window_is_exact(times_us: list[int], window_us: int) -> None:
    window, seen = WorstWindow(window_us), array("q")
    for n, now_us in enumerate(times_us):
        seen.append(now_us)
        window.add(seen)
        assert window.count == worst(times_us[: n + 1], window_us)


@given(st.lists(st.integers(0, 200 * S), max_size=60).map(sorted))
def test_the_ledger_agrees_with_a_count_by_hand(times_us: list[int]) -> None:
    ledger = Ledger(["/a"])
    for n, now_us in enumerate(times_us):
        verdict = Verdict.ACCEPTED if n % 3 else Verdict.REFUSED
        ledger.arrive(now_us, f"account {n % 2}", "/a", verdict)
    stats = ledger.json()
    early = [t for t in times_us if t - times_us[0] < 60 * S]
    assert stats["arrivals"] == len(times_us)
    assert stats["worst_1s"] == worst(times_us, S)
    assert stats["worst_60s"] == worst(times_us, 60 * S)
    assert stats["accepted"] == sum(n % 3 != 0 for n in range(len(times_us)))
    first, after = stats["first_minute"], stats["after_first_minute"]
    assert isinstance(first, dict)
    assert isinstance(after, dict)
    assert (first["arrivals"], after["arrivals"]) == (len(early), len(times_us) - len(early))
    accounts = stats["accounts"]
    assert isinstance(accounts, dict)
    for n, name in enumerate(accounts):
        assert accounts[name]["worst_1s"] == worst(times_us[n::2], S)


def test_rates_are_told_for_the_first_minute_and_after() -> None:
    ledger = Ledger(["/a"])
    for second in range(121):
        ledger.arrive(5 * S + second * S, "x", "/a", Verdict.ACCEPTED)
    stats = ledger.json()
    assert stats["first_minute"] == {
        "seconds": 60.0,
        "arrivals": 60,
        "accepted": 60,
        "arrivals_per_s": 1.0,
        "accepted_per_s": 1.0,
    }
    assert stats["after_first_minute"] == {
        "seconds": 60.0,
        "arrivals": 61,
        "accepted": 61,
        "arrivals_per_s": 1.0167,
        "accepted_per_s": 1.0167,
    }


def test_the_arrivals_can_be_replayed() -> None:
    ledger = Ledger(["/a"])
    ledger.settle(ledger.arrive(7 * S, "x", "/a", Verdict.ACCEPTED), 200)
    ledger.settle(ledger.arrive(7 * S + 1, "", "/b", Verdict.TURNED_AWAY), 404)
    ledger.settle(ledger.arrive(8 * S, "x", "/a", Verdict.ACCEPTED), CUT)
    ledger.arrive(9 * S, "x", "/a", Verdict.ACCEPTED)
    assert ledger.arrivals() == [
        (0.0, "x", "/a", 200),
        (0.000001, "", "other", 404),
        (1.0, "x", "/a", "cut"),
        (2.0, "x", "/a", "pending"),
    ]
