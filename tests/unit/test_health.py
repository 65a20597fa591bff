"""What the end of a call says about its account."""

from __future__ import annotations

import pytest

from worker import health
from worker.errors import (
    AccessDenied,
    AccountRefused,
    FlashdutyError,
    NextStep,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    RequestRefused,
    RoomGone,
)
from worker.health import Health, Level, Sign, sign_of


@pytest.mark.parametrize(
    ("leaf", "sign"),
    [
        (RateLimited, None),
        (NotSent, Sign.UNWELL),
        (OutcomeUnknown, Sign.UNWELL),
        (RequestRefused, Sign.WELL),
        (RoomGone, Sign.WELL),
        (AccessDenied, Sign.DENIED),
        (AccountRefused, Sign.REFUSED),
    ],
)
@pytest.mark.parametrize("done", [True, False])
def test_each_error_says_what_it_says(leaf: type[FlashdutyError], sign: Sign | None, done: bool) -> None:  # noqa: FBT001
    assert sign_of(leaf("no", code="C"), done=done) is sign


def test_a_success_is_worth_more_if_the_job_has_what_it_came_for() -> None:
    assert sign_of(None) is Sign.WELL
    assert sign_of(None, done=False) is Sign.ANSWERED


def test_every_next_step_has_its_sign() -> None:
    assert set(health._SIGNS) == set(NextStep)


def test_levels_get_worse_and_from_down_on_the_account_is_paused() -> None:
    assert list(Level) == sorted(Level) == [Level.WELL, Level.SHAKEN, Level.DOWN, Level.SUSPENDED]


def test_an_account_nobody_told_about_is_well() -> None:
    assert Health() == Health(Level.WELL, 0.0, common=False, changed=False)
