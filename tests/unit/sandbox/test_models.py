from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.errors import ConfigError
from sandbox.models import MODELS, Enforcer, Rate, rates_of

S = 1_000_000
ONE_OF_4 = Rate(4, S)


def verdicts(model: str, times_us: list[int], rate: Rate = ONE_OF_4, *, phase_us: int = 0) -> str:
    """`+` for each call that passes, `-` for each that does not."""
    enforcer = Enforcer(model, (rate,), phase_us, count_refused=False)
    return "".join("-" if enforcer.admit(now_us) else "+" for now_us in times_us)


TRUTH = [
    # model, times in microseconds, verdicts for 4 calls per second
    ("fixed", [0, 1, 2, 3, 4], "++++-"),
    ("fixed", [0, 1, 2, 3, S - 1, S], "++++-+"),
    ("fixed", [S - 1] * 4 + [S] * 5, "++++++++-"),  # twice the amount astride an edge
    ("fixed", [0] * 5 + [9 * S] * 5, "++++-++++-"),
    ("sliding-log", [0, 1, 2, 3, 4], "++++-"),
    ("sliding-log", [S - 1] * 4 + [S] * 5, "++++-----"),
    ("sliding-log", [7] * 4 + [S + 6, S + 7], "++++-+"),  # exactly one window old has left
    ("sliding-log", [0, S // 2, S // 2, S // 2, S, S], "+++++-"),
    ("sliding-counter", [0, 1, 2, 3, 4], "++++-"),
    ("sliding-counter", [0] * 4 + [S], "++++-"),  # the last window still weighs 4
    ("sliding-counter", [0] * 4 + [S + S // 4 - 1, S + S // 4, S + S // 4], "++++-+-"),  # 3 + 1 <= 4
    ("sliding-counter", [0] * 4 + [S + S // 2] * 3, "++++++-"),
    ("sliding-counter", [0] * 4 + [2 * S] * 5, "++++++++-"),
    ("token-bucket", [0] * 5, "++++-"),
    ("token-bucket", [0] * 4 + [S // 4 - 1, S // 4, S // 4], "++++-+-"),
    ("token-bucket", [0] * 4 + [9 * S] * 5, "++++++++-"),  # never more than full
    ("gcra", [0] * 5, "++++-"),
    ("gcra", [0] * 4 + [S // 4 - 1, S // 4, S // 4], "++++-+-"),
    ("gcra", [0] * 4 + [9 * S] * 5, "++++++++-"),
]


@pytest.mark.parametrize(("model", "times_us", "expected"), TRUTH)
def test_each_model_admits_exactly_what_its_definition_says(model: str, times_us: list[int], expected: str) -> None:
    assert verdicts(model, times_us) == expected


@pytest.mark.parametrize("model", ["fixed", "sliding-counter"])
def test_the_phase_moves_the_windows_edge(model: str) -> None:
    times_us = [0] * 4 + [300_000 - 1, 300_000]
    assert verdicts("fixed", times_us, phase_us=300_000) == "++++-+"
    assert verdicts(model, [0] * 5, phase_us=300_000) == "++++-"


histories = st.lists(st.integers(0, 400_000), max_size=60).map(
    lambda gaps: [sum(gaps[: n + 1]) for n in range(len(gaps))]
)
rates = st.builds(Rate, st.integers(1, 6), st.sampled_from([S, S // 3, 7]))


@given(st.sampled_from(list(MODELS)), rates, histories, st.integers(0, S))
def test_after_the_wait_a_call_passes_and_a_microsecond_before_it_does_not(
    model: str, rate: Rate, times_us: list[int], phase_us: int
) -> None:
    one = MODELS[model](rate, phase_us)
    for now_us in times_us:
        if one.wait_us(now_us) == 0:
            one.spend(now_us)
    now_us = times_us[-1] if times_us else 0
    wait_us = one.wait_us(now_us)
    assert wait_us >= 0
    if wait_us:
        assert one.wait_us(now_us + wait_us - 1) == 1
    assert one.wait_us(now_us + wait_us) == 0


@given(rates, histories, st.booleans())
def test_gcra_is_a_token_bucket_written_otherwise(
    rate: Rate,
    times_us: list[int],
    count_refused: bool,  # noqa: FBT001 # Hypothesis draws it
) -> None:
    gcra, bucket = (Enforcer(model, (rate,), 0, count_refused=count_refused) for model in ("gcra", "token-bucket"))
    assert [gcra.admit(t) for t in times_us] == [bucket.admit(t) for t in times_us]


def test_refused_calls_take_what_is_left_of_a_token_but_leave_no_debt() -> None:
    bucket = Enforcer("token-bucket", (ONE_OF_4,), 0, count_refused=True)
    times_us = [0] * 4 + [S // 8] * 9 + [S // 4, S // 2]
    assert [bucket.admit(t) == 0 for t in times_us] == [True] * 4 + [False] * 10 + [True]


@given(rates, histories)
def test_a_sliding_log_never_lets_more_than_the_amount_into_a_window(rate: Rate, times_us: list[int]) -> None:
    passed = [t for t, v in zip(times_us, verdicts("sliding-log", times_us, rate), strict=True) if v == "+"]
    for end_us in passed:
        assert sum(end_us - rate.window_us < t <= end_us for t in passed) <= rate.amount


@given(rates, histories)
def test_a_sliding_counter_agrees_with_its_formula_in_fractions(rate: Rate, times_us: list[int]) -> None:
    counts: dict[int, int] = {}
    expected = ""
    for now_us in times_us:
        window, elapsed_us = divmod(now_us, rate.window_us)
        # last x (1 - elapsed / W) + count + 1 <= N, multiplied by W
        weighed = counts.get(window - 1, 0) * (rate.window_us - elapsed_us)
        passes = weighed + (counts.get(window, 0) + 1) * rate.window_us <= rate.amount * rate.window_us
        counts[window] = counts.get(window, 0) + passes
        expected += "+" if passes else "-"
    assert verdicts("sliding-counter", times_us, rate) == expected


def test_a_call_refused_by_one_limit_spends_from_none() -> None:
    enforcer = Enforcer("fixed", (Rate(1, S), Rate(3, 10 * S)), 0, count_refused=False)
    assert [enforcer.admit(t) == 0 for t in (0, 1, 2, S, 2 * S, 3 * S)] == [
        True,
        False,
        False,
        True,
        True,
        False,
    ]


@pytest.mark.parametrize("model", list(MODELS))
def test_refused_calls_spend_when_asked(model: str) -> None:
    # Five calls every 1/9 s, always more than allowed: where refusals count too, fewer pass.
    times_us = [n * S // 9 for n in range(40) for _ in range(5)]
    lenient = Enforcer(model, (ONE_OF_4,), 0, count_refused=False)
    harsh = Enforcer(model, (ONE_OF_4,), 0, count_refused=True)
    passed = [sum(one.admit(t) == 0 for t in times_us) for one in (lenient, harsh)]
    # A fixed window forgets everything at its edge, refusals as well.
    assert passed[1] == passed[0] if model == "fixed" else passed[1] < passed[0]


def test_rates_are_read_in_the_notation_of_limits() -> None:
    assert rates_of("50/second;1000/minute") == (Rate(50, S), Rate(1000, 60 * S))


@pytest.mark.parametrize("text", ["", "fast", "0/second", "50"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no list of rates"):
        rates_of(text)
