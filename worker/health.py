"""An account's health: what the end of a call says about it, and what it means for everybody. Pure values.

    well ──failures──▶ shaken ──more than successes, by five──▶ down ──a probe succeeds──▶ well, on a ramp
      └──key, licence, balance, a run of 403s──▶ suspended ──a probe succeeds, or a person resumes──▶ well

Down and suspended accounts are paused in the bucket, for every worker; one call at a time goes out as a probe. The
transitions are made in token_bucket.lua, where the calls are handed out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Final

from worker.errors import NextStep

if TYPE_CHECKING:
    from worker.errors import FlashdutyError


class Sign(StrEnum):
    """What the end of one call says about its account."""

    WELL = "well"  # the API did what a job asks for, or refused this job for a reason of its own
    ANSWERED = "answered"  # it answered a question on the way there
    UNWELL = "unwell"  # no answer, 5xx, not the API's answer
    DENIED = "denied"  # 403
    REFUSED = "refused"  # the account may not call at all


class Level(IntEnum):
    """How the account is; from DOWN on it is paused and probed."""

    WELL = 0
    SHAKEN = 1
    DOWN = 2
    SUSPENDED = 3


@dataclass(frozen=True, slots=True)
class Health:
    """The account after a report.

    Args:
        level: how it is now.
        pause_s: how long it is paused, in seconds.
        common: whether others fail too, so that a failure is not the job's own.
        changed: whether this report changed between paused and not paused.
    """

    level: Level = Level.WELL
    pause_s: float = 0.0
    common: bool = False
    changed: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why an account is down or suspended, for people; times in seconds since the epoch."""

    level: Level
    since: float
    probes: int
    code: str
    message: str
    hint: str
    request_id: str


_SIGNS: Final = {
    NextStep.WAIT: None,  # a 429 says that calls are too many, not how the API is
    NextStep.RETRY: Sign.UNWELL,
    NextStep.LOOK_FIRST: Sign.UNWELL,
    NextStep.GIVE_UP: Sign.WELL,
    NextStep.RETRY_FEW: Sign.DENIED,
    NextStep.SUSPEND: Sign.REFUSED,
}


def sign_of(error: FlashdutyError | None, *, done: bool = True) -> Sign | None:
    """What a call's end says; None if nothing. `done`: whether the job has what it came for, if it was no error."""
    if error is None:
        return Sign.WELL if done else Sign.ANSWERED
    return _SIGNS[error.next_step]
