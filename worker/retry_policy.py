"""What to do after an error: (attempt, error, health, jitter) -> TryAgainIn | BackInLine | GiveUp. A pure decision.

A 429 never comes here: it is a fact about the account and costs no attempt (the bucket pauses; token_bucket.lua).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.errors import FlashdutyError, NextStep
from worker.health import Health, Level

if TYPE_CHECKING:
    from worker.records import Claim

MAX_ATTEMPTS: Final = 6
BASE_S: Final = 1.0
CAP_S: Final = 60.0
SETTLE_S: Final = 2.0
"""A server that cut us off may still be opening the room: looking sooner than this could miss it."""

MAX_DENIALS: Final = 3
DENIED_S: Final = 20.0
"""A 403 is tried again after this, twice: time for a run of them to show that the account is meant."""

PATIENCE_S: Final = 86_400.0
"""In an outage a job spends no attempts for so long; then it does, for it may be the job after all."""

SPREAD_S: Final = 2.0
"""Jobs that failed together come back within so many seconds after the pause."""


@dataclass(frozen=True, slots=True)
class TryAgainIn:
    """Try again after `delay_s` seconds; `look_first` if the room may be there; `spent` if the attempt counts."""

    delay_s: float
    look_first: bool
    spent: bool = True


@dataclass(frozen=True, slots=True)
class BackInLine:
    """The account is meant, not the job: it waits at the head of its line, no attempt spent."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No further attempt; `reason` is for the person who reads the dead letter."""

    reason: str


def decide(claim: Claim, error: FlashdutyError, health: Health, jitter: float) -> TryAgainIn | BackInLine | GiveUp:
    """The next step after the attempt of this claim ended in `error`.

    Args:
        claim: the number of the attempt, and what the job has been through.
        error: how this one ended.
        health: how the account is after it: in an outage no job spends its attempts.
        jitter: a number in [0, 1), the share of the backoff to wait (full jitter).
    """
    step, attempt = error.next_step, claim.attempt
    outage = health.common and claim.failing_s < PATIENCE_S
    if step is NextStep.SUSPEND:
        return BackInLine()
    if step is NextStep.RETRY_FEW and health.level is Level.SUSPENDED:
        # Not at the head of its line: should this job be the only one that is denied, the next probe takes another.
        return TryAgainIn(max(health.pause_s, DENIED_S) + (1 + jitter) * SPREAD_S, look_first=False, spent=False)
    if step is NextStep.RETRY_FEW and claim.denials + 1 < MAX_DENIALS and attempt < MAX_ATTEMPTS:
        return TryAgainIn((1 + jitter) * DENIED_S, look_first=False)
    if step not in {NextStep.RETRY, NextStep.LOOK_FIRST}:
        return GiveUp(str(error))
    if attempt >= MAX_ATTEMPTS and not outage:
        return GiveUp(f"{error} (after {attempt} attempts)")
    backoff_s = min(CAP_S, BASE_S * 2.0 ** min(attempt - 1, 10))
    look_first = step is NextStep.LOOK_FIRST
    delay_s = jitter * backoff_s + (SETTLE_S if look_first else 0.0)
    if health.pause_s:
        delay_s = max(SETTLE_S, health.pause_s) + jitter * SPREAD_S
    return TryAgainIn(max(delay_s, error.retry_after_s or 0.0), look_first, spent=not outage)
