"""How a nudge ended, as Celery is told it, and so Flower: a short result, a retry or a failure, each with its reason.

A retry here publishes nothing and an error stores nothing: the message is acknowledged either way, and what happens
next is the ledger's matter. tests/contracts watches that Celery has it so.
"""

from __future__ import annotations

from typing import NoReturn

from celery.exceptions import Retry

from worker.open_war_room import Outcome, Report
from worker.retry_policy import MAX_ATTEMPTS


class _Said:
    """Its repr is what it says: Celery's events carry an error's repr."""

    def __repr__(self) -> str:
        return str(self)


class Failed(_Said, Exception):
    """The job is a dead letter, or the message is no job."""


class Later(_Said, Retry):  # type: ignore[misc]
    """The job waits for another turn."""


def tell(report: Report) -> str:
    """The short result of what succeeded, or of what had nothing to do.

    Raises:
        Later: the job waits for another turn; says why, and how long at least.
        Failed: the job is a dead letter; says why.
    """
    match report.outcome:
        case Outcome.FAILED:
            raise Failed(_failed(report)) from None
        case Outcome.RETRYING | Outcome.BACK_IN_LINE:
            _again(report)
    return " ".join([report.outcome.value, *([report.room.chat_id] if report.room else [])])


def _failed(report: Report) -> str:
    attempts = f" (attempt {report.attempt})" if report.attempt > 1 else ""
    return f"{report.error or 'failed'}{attempts}"


def _again(report: Report) -> NoReturn:
    if report.outcome is Outcome.RETRYING:
        text = f"attempt {report.attempt} of {MAX_ATTEMPTS}: {report.error}"
    else:
        text = f"back in line: {report.error or 'no slot in time'}"
    if report.delay_s:
        text += f"; again in {report.delay_s:.1f} s"
    raise Later(text) from None
