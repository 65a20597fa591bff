"""How the end of a nudge reads in Flower."""

from __future__ import annotations

import contextlib
import pickle

import pytest
from celery.exceptions import Retry

from worker.errors import RateLimited, RequestRefused
from worker.jobs import WarRoom
from worker.open_war_room import Outcome, Report
from worker.verdict import Failed, Later, tell

ROOM = WarRoom(chat_id="oc_123", chat_name="room", share_link="")
TOO_FAST = RateLimited("too fast", code="RequestTooFrequently", status=429)
REFUSED = RequestRefused("no responders", code="InvalidParameter", status=400)


@pytest.mark.parametrize(
    ("report", "result"),
    [
        (Report(Outcome.OPENED, room=ROOM), "opened oc_123"),
        (Report(Outcome.FOUND, room=ROOM), "found oc_123"),
        (Report(Outcome.NOTHING_TO_DO), "nothing to do"),
    ],
)
def test_a_success_is_a_short_result(report: Report, result: str) -> None:
    assert tell(report) == result


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (
            Report(Outcome.BACK_IN_LINE, 1, error=TOO_FAST, delay_s=7),
            "back in line: RequestTooFrequently (HTTP 429): too fast; again in 7.0 s",
        ),
        (Report(Outcome.BACK_IN_LINE, 1), "back in line: no slot in time"),
        (
            Report(Outcome.RETRYING, 2, error=TOO_FAST, delay_s=1.25),
            "attempt 2 of 6: RequestTooFrequently (HTTP 429): too fast; again in 1.2 s",
        ),
    ],
)
def test_what_waits_for_another_turn_is_a_retry_with_its_reason(report: Report, reason: str) -> None:
    with pytest.raises(Retry) as raised:
        tell(report)
    assert (str(raised.value), repr(raised.value), raised.value.exc) == (reason, reason, None)


@pytest.mark.parametrize(("attempt", "more"), [(1, ""), (6, " (attempt 6)")])
def test_a_dead_letter_is_a_failure_with_its_reason(attempt: int, more: str) -> None:
    with pytest.raises(Failed) as raised:
        tell(Report(Outcome.FAILED, attempt, error=REFUSED))
    assert repr(raised.value) == f"InvalidParameter (HTTP 400): no responders{more}"


@pytest.mark.parametrize("error", [Failed("why"), Later("why")])
def test_celery_may_pickle_both(error: Exception) -> None:
    assert repr(pickle.loads(pickle.dumps(error))) == "why"  # noqa: S301 - our own


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_is_told(outcome: Outcome) -> None:
    with contextlib.suppress(Later, Failed):
        assert tell(Report(outcome, 1)) in {"opened", "found", "nothing to do"}
