"""A look at an account: its lines, its bucket, its workers, and why it is not called. One round trip."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from producers.crew import Crew
from producers.forecast import Forecast, now
from producers.halts import Halt
from producers.pausing import paused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from producers.desk import Desk
    from worker.reading import Reading


@dataclass(frozen=True, slots=True)
class Look:
    """What was known of an account at a moment.

    Args:
        account: its name.
        forecast: its lines, its bucket and the limits in force, and what follows from them.
        crew: its workers.
        halt: why it is not called as usual; None if it is.
    """

    account: str
    forecast: Forecast
    crew: Crew
    halt: Halt | None

    @property
    def hold(self) -> str:
        """That a person paused the account, in a sentence; empty if nobody did."""
        level = self.forecast.level
        return f"account {self.account} is {paused(self.account, level, time.time())}" if level.lines.held else ""


def look(desk: Desk) -> Look:
    """Looks now.

    Raises:
        QueueUnavailable: Redis does not answer.
    """
    return look_of(desk, desk.ledger.together(look_readings(desk)))


def look_readings(desk: Desk) -> Sequence[Reading[Any]]:
    """What is read of an account, for whoever reads more with it."""
    survey, bucket = desk.ledger.survey, desk.bucket
    return (bucket.level_reading(), bucket.trouble_reading(), survey.standing(), survey.workers())


def look_of(desk: Desk, replies: Sequence[Any]) -> Look:
    """What the replies to these readings come to."""
    level, trouble, standing, workers = replies
    crew, hold, ordered = Crew(workers), level.orders.hold, level.orders.set
    held_for_good = hold is not None and hold.until is None
    halted = trouble is not None or not crew.alive or held_for_good
    forecast = Forecast(level, standing, now(), halted=halted)
    if ordered is not None and ordered.until is not None:
        later_in_s = max(0.0, ordered.until - forecast.at.timestamp())
        forecast = replace(forecast, later=desk.account.plan, later_in_s=later_in_s)
    halt = None if trouble is None else Halt(desk.account.name, trouble, level.lines.pause_s, level.lines.held)
    return Look(desk.account.name, forecast, crew, halt)
