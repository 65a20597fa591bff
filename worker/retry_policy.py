"""What to do after an error: (attempt, error, jitter) -> TryAgainIn | GiveUp. A pure decision.

A 429 never comes here: it is a fact about the account and costs no attempt (the bucket pauses; token_bucket.lua).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from worker.errors import FlashdutyError, NextStep

MAX_ATTEMPTS: Final = 6
BASE_S: Final = 1.0
CAP_S: Final = 60.0
SETTLE_S: Final = 2.0
"""A server that cut us off may still be opening the room: looking sooner than this could miss it."""


@dataclass(frozen=True, slots=True)
class TryAgainIn:
    """Try again after `delay_s` seconds; `look_first` if the room may already be there."""

    delay_s: float
    look_first: bool


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No further attempt; `reason` is for the person who reads the dead letter."""

    reason: str


def decide(attempt: int, error: FlashdutyError, jitter: float) -> TryAgainIn | GiveUp:
    """The next step after attempt number `attempt` (from 1) ended in `error`.

    Args:
        attempt: how many attempts were made, this one included.
        error: how this one ended.
        jitter: a number in [0, 1), the share of the backoff to wait (full jitter).
    """
    if error.next_step not in {NextStep.RETRY, NextStep.LOOK_FIRST}:
        return GiveUp(str(error))
    if attempt >= MAX_ATTEMPTS:
        return GiveUp(f"{error} (after {attempt} attempts)")
    backoff_s = min(CAP_S, BASE_S * 2 ** (attempt - 1))
    look_first = error.next_step is NextStep.LOOK_FIRST
    delay_s = jitter * backoff_s + (SETTLE_S if look_first else 0.0)
    delay_s = max(delay_s, error.retry_after_s or 0.0)
    return TryAgainIn(delay_s, look_first)
