"""What to do after an error: a truth table."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import a_job
from worker.errors import (
    AccessDenied,
    AccountRefused,
    FlashdutyError,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    RequestRefused,
    RoomGone,
)
from worker.health import Health, Level
from worker.records import Claim
from worker.retry_policy import (
    BASE_S,
    CAP_S,
    DENIED_S,
    MAX_ATTEMPTS,
    MAX_DENIALS,
    PATIENCE_S,
    SETTLE_S,
    SPREAD_S,
    BackInLine,
    GiveUp,
    TryAgainIn,
    decide,
)

LEAVES: Final = (
    RateLimited,
    NotSent,
    OutcomeUnknown,
    RequestRefused,
    AccessDenied,
    AccountRefused,
    RoomGone,
)

WELL: Final = Health()
SHAKEN: Final = Health(Level.SHAKEN)
OTHERS_FAIL: Final = Health(Level.SHAKEN, common=True)
DOWN: Final = Health(Level.DOWN, 8.0, common=True)
SUSPENDED: Final = Health(Level.SUSPENDED, 55.0, common=True)
HEALTHS: Final = (WELL, SHAKEN, OTHERS_FAIL, DOWN, SUSPENDED)

NO: Final = GiveUp("C (HTTP 500): no")


def error(leaf: type[FlashdutyError], retry_after_s: float | None = None, hint: str = "") -> FlashdutyError:
    return leaf("no", code="C", status=500, retry_after_s=retry_after_s, hint=hint)


def a_claim(attempt: int, failing_s: float = 0.0) -> Claim:
    return Claim(a_job(), "w/1", attempt, look_first=False, failing_s=failing_s)


def after(attempts: int) -> GiveUp:
    return GiveUp(f"{NO.reason} (after {attempts} attempts)")


def retry(delay_s: float) -> TryAgainIn:
    return TryAgainIn(delay_s, look_first=False)


def look(delay_s: float) -> TryAgainIn:
    return TryAgainIn(delay_s, look_first=True)


@pytest.mark.parametrize(
    ("attempt", "leaf", "jitter", "retry_after_s", "step"),
    [
        (1, NotSent, 0.0, None, retry(0.0)),
        (1, NotSent, 0.5, None, retry(0.5)),
        (1, OutcomeUnknown, 0.5, None, look(2.5)),
        (2, OutcomeUnknown, 0.5, None, look(3.0)),
        (3, NotSent, 0.5, None, retry(2.0)),
        (5, NotSent, 0.5, None, retry(8.0)),
        (1, OutcomeUnknown, 0.5, 30.0, look(30.0)),
        (5, OutcomeUnknown, 0.5, 3.0, look(10.0)),
        (5, OutcomeUnknown, 0.5, 3600.0, look(3600.0)),
        (6, NotSent, 0.5, None, after(6)),
        (6, OutcomeUnknown, 0.5, 30.0, after(6)),
        (99, NotSent, 0.5, None, after(99)),
        (1, RequestRefused, 0.5, None, NO),
        (1, RequestRefused, 0.5, 30.0, NO),
        (1, AccessDenied, 0.0, None, retry(20.0)),
        (1, AccessDenied, 0.5, None, retry(30.0)),
        (2, AccessDenied, 0.5, None, retry(30.0)),
        (1, RoomGone, 0.5, None, NO),
        (1, RateLimited, 0.5, 30.0, NO),
    ],
)
@pytest.mark.parametrize("health", [WELL, SHAKEN])
def test_the_next_step_if_the_failure_is_the_jobs_own(
    attempt: int,
    leaf: type[FlashdutyError],
    jitter: float,
    retry_after_s: float | None,
    step: TryAgainIn | GiveUp,
    health: Health,
) -> None:
    assert decide(a_claim(attempt), error(leaf, retry_after_s), health, jitter) == step


@pytest.mark.parametrize("attempt", [1, 3, 6, 7, 100])
@pytest.mark.parametrize(
    ("leaf", "health", "delay_s"),
    [
        (NotSent, DOWN, 9.0),  # the pause, and half of the spread
        (OutcomeUnknown, DOWN, 9.0),
        (NotSent, SUSPENDED, 56.0),
        (OutcomeUnknown, SUSPENDED, 56.0),
        (OutcomeUnknown, Health(Level.DOWN, 0.5, common=True), 3.0),  # never sooner than the room may be seen
    ],
)
def test_in_an_outage_nothing_is_spent_and_nothing_given_up(
    attempt: int, leaf: type[FlashdutyError], health: Health, delay_s: float
) -> None:
    step = decide(a_claim(attempt), error(leaf), health, 0.5)
    assert step == TryAgainIn(delay_s, look_first=leaf is OutcomeUnknown, spent=False)


@pytest.mark.parametrize("attempt", [1, 6, 100])
def test_what_fails_while_others_fail_too_is_not_spent_even_before_the_api_counts_as_down(attempt: int) -> None:
    step = decide(a_claim(attempt), error(NotSent), OTHERS_FAIL, 0.5)
    assert step == TryAgainIn(0.5 * min(CAP_S, 2.0 ** (attempt - 1)), look_first=False, spent=False)


@pytest.mark.parametrize("health", [OTHERS_FAIL, DOWN, SUSPENDED])
@pytest.mark.parametrize("leaf", [NotSent, OutcomeUnknown])
def test_a_job_that_has_failed_for_a_day_may_be_the_outage_itself(leaf: type[FlashdutyError], health: Health) -> None:
    spared, meant = (a_claim(MAX_ATTEMPTS, failing_s) for failing_s in (PATIENCE_S - 1, PATIENCE_S))
    step = decide(spared, error(leaf), health, 0.5)
    assert isinstance(step, TryAgainIn)
    assert not step.spent
    assert decide(meant, error(leaf), health, 0.5) == after(MAX_ATTEMPTS)
    last_but_one = decide(a_claim(MAX_ATTEMPTS - 1, PATIENCE_S), error(leaf), health, 0.5)
    assert isinstance(last_but_one, TryAgainIn)
    assert last_but_one.spent


@pytest.mark.parametrize("attempt", [1, 3, 6, 100])
@pytest.mark.parametrize("health", HEALTHS)
def test_a_refused_account_sends_the_job_back_to_its_line_whatever_else_is_known(attempt: int, health: Health) -> None:
    assert decide(a_claim(attempt, PATIENCE_S), error(AccountRefused, 30.0), health, 0.5) == BackInLine()


@pytest.mark.parametrize("attempt", [1, 3, 100])
def test_a_denial_that_suspends_the_account_or_finds_it_suspended_is_not_the_jobs(attempt: int) -> None:
    again = decide(a_claim(attempt), error(AccessDenied), SUSPENDED, 0.5)
    assert isinstance(again, TryAgainIn)
    assert not again.spent
    assert again.delay_s > SUSPENDED.pause_s, "the next probe takes another job: this one alone may be denied"


@pytest.mark.parametrize("health", [WELL, SHAKEN, OTHERS_FAIL, DOWN])
def test_a_denial_alone_is_a_dead_letter_after_three_attempts(health: Health) -> None:
    claims = [replace(a_claim(denials + 1), denials=denials) for denials in range(MAX_DENIALS)]
    steps = [decide(claim, error(AccessDenied), health, 0.5) for claim in claims]
    assert steps == [retry(1.5 * DENIED_S), retry(1.5 * DENIED_S), NO]


def test_attempts_that_ended_otherwise_are_no_denials() -> None:
    assert decide(a_claim(MAX_ATTEMPTS - 1), error(AccessDenied), WELL, 0.5) == retry(1.5 * DENIED_S)
    assert decide(a_claim(MAX_ATTEMPTS), error(AccessDenied), WELL, 0.5) == NO, "no more attempts than any other job"


@pytest.mark.parametrize("leaf", [RequestRefused, RoomGone])
@pytest.mark.parametrize("health", HEALTHS)
def test_what_stays_is_given_up_at_once_in_an_outage_too(leaf: type[FlashdutyError], health: Health) -> None:
    assert decide(a_claim(1), error(leaf), health, 0.5) == NO


def test_the_hint_stays_out_of_the_reason_since_the_record_has_it_by_itself() -> None:
    assert decide(a_claim(1), error(RequestRefused, hint="check the incident"), WELL, 0.0) == NO


@given(
    st.integers(1, 10**6),
    st.sampled_from(LEAVES),
    st.sampled_from(HEALTHS),
    st.floats(0, 1, exclude_max=True),
    st.none() | st.floats(0, 3600),
    st.floats(0, 2 * PATIENCE_S),
)
def test_every_error_has_its_step_and_a_delay_lies_between_the_servers_wish_and_the_cap(
    attempt: int,
    leaf: type[FlashdutyError],
    health: Health,
    jitter: float,
    retry_after_s: float | None,
    failing_s: float,
) -> None:
    step = decide(a_claim(attempt, failing_s), error(leaf, retry_after_s), health, jitter)
    if leaf not in {NotSent, OutcomeUnknown}:
        assert isinstance(step, BackInLine | GiveUp | TryAgainIn)
        return
    if isinstance(step, GiveUp):
        assert attempt >= MAX_ATTEMPTS
        assert not health.common or failing_s >= PATIENCE_S
        return
    assert isinstance(step, TryAgainIn)
    wish_s = retry_after_s or 0.0
    settle_s = SETTLE_S if leaf is OutcomeUnknown else 0.0
    longest_s = max(settle_s + min(CAP_S, BASE_S * 2 ** min(attempt - 1, 10)), SETTLE_S + SPREAD_S)
    assert max(wish_s, settle_s, health.pause_s) <= step.delay_s
    assert step.delay_s <= max(wish_s, longest_s, health.pause_s + SPREAD_S)
