"""What to do after an error: a truth table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import (
    AccountRefused,
    FlashdutyError,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    RequestRefused,
    RoomGone,
)
from worker.retry_policy import BASE_S, CAP_S, MAX_ATTEMPTS, SETTLE_S, GiveUp, TryAgainIn, decide


def error(leaf: type[FlashdutyError], retry_after_s: float | None = None, hint: str = "") -> FlashdutyError:
    return leaf("no", code="C", status=500, retry_after_s=retry_after_s, hint=hint)


@pytest.mark.parametrize(
    ("attempt", "leaf", "jitter", "retry_after_s", "step"),
    [
        (1, NotSent, 0.0, None, TryAgainIn(0.0, look_first=False)),
        (1, NotSent, 0.5, None, TryAgainIn(0.5, look_first=False)),
        (1, OutcomeUnknown, 0.5, None, TryAgainIn(2.5, look_first=True)),
        (2, OutcomeUnknown, 0.5, None, TryAgainIn(3.0, look_first=True)),
        (3, NotSent, 0.5, None, TryAgainIn(2.0, look_first=False)),
        (5, NotSent, 0.5, None, TryAgainIn(8.0, look_first=False)),
        (1, OutcomeUnknown, 0.5, 30.0, TryAgainIn(30.0, look_first=True)),
        (5, OutcomeUnknown, 0.5, 3.0, TryAgainIn(10.0, look_first=True)),
        (5, OutcomeUnknown, 0.5, 3600.0, TryAgainIn(3600.0, look_first=True)),
        (6, NotSent, 0.5, None, GiveUp("C (HTTP 500): no (after 6 attempts)")),
        (6, OutcomeUnknown, 0.5, 30.0, GiveUp("C (HTTP 500): no (after 6 attempts)")),
        (99, NotSent, 0.5, None, GiveUp("C (HTTP 500): no (after 99 attempts)")),
        (1, RequestRefused, 0.5, None, GiveUp("C (HTTP 500): no")),
        (1, RequestRefused, 0.5, 30.0, GiveUp("C (HTTP 500): no")),
        (1, AccountRefused, 0.5, None, GiveUp("C (HTTP 500): no")),
        (1, RoomGone, 0.5, None, GiveUp("C (HTTP 500): no")),
        (1, RateLimited, 0.5, 30.0, GiveUp("C (HTTP 500): no")),
    ],
)
def test_the_next_step(
    attempt: int,
    leaf: type[FlashdutyError],
    jitter: float,
    retry_after_s: float | None,
    step: TryAgainIn | GiveUp,
) -> None:
    assert decide(attempt, error(leaf, retry_after_s), jitter) == step


def test_the_hint_stays_out_of_the_reason_since_the_record_has_it_by_itself() -> None:
    step = decide(1, error(RequestRefused, hint="check the incident"), 0.0)
    assert step == GiveUp("C (HTTP 500): no")


@given(
    st.integers(1, 10**6),
    st.sampled_from([NotSent, OutcomeUnknown]),
    st.floats(0, 1, exclude_max=True),
    st.none() | st.floats(0, 3600),
)
def test_a_delay_lies_between_the_servers_wish_and_the_cap(
    attempt: int, leaf: type[FlashdutyError], jitter: float, retry_after_s: float | None
) -> None:
    step = decide(attempt, error(leaf, retry_after_s), jitter)
    if attempt >= MAX_ATTEMPTS:
        assert isinstance(step, GiveUp)
        return
    assert isinstance(step, TryAgainIn)
    wish_s = retry_after_s or 0.0
    settle_s = SETTLE_S if leaf is OutcomeUnknown else 0.0
    assert max(wish_s, settle_s) <= step.delay_s
    assert step.delay_s <= max(wish_s, settle_s + min(CAP_S, BASE_S * 2 ** (attempt - 1)))
