"""One look at an account: everything that the status page and `warrooms top` tell of it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from producers.look import look_of, look_readings

if TYPE_CHECKING:
    from producers.crew import Crew
    from producers.desk import Desk
    from producers.forecast import Forecast
    from producers.halts import Halt
    from worker.history import History, Spent
    from worker.newest import Newest
    from worker.settings import Account

BATCHES: Final = 50
"""The newest batches that are shown."""

LETTERS: Final = 20
"""The newest dead letters that are shown of each account."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What was known of an account at a moment.

    Args:
        account: its settings.
        at_s: the moment, in seconds since the epoch.
        forecast: its lines, its bucket and the limits in force.
        crew: its workers.
        halt: why it is not called as usual; None if it is.
        history: what its bucket handed out in the last day.
        spent: and in the last minute.
        newest: its newest batches and dead letters.
        oldest_s: how long ago the oldest of the next jobs in line was queued first, in seconds; None if none waits.
    """

    account: Account
    at_s: float
    forecast: Forecast
    crew: Crew
    halt: Halt | None
    history: History
    spent: Spent
    newest: Newest
    oldest_s: float | None


def glance(desk: Desk) -> Glance:
    """Looks: four round trips, however much waits.

    Raises:
        QueueUnavailable: Redis does not answer.
    """
    more = (desk.bucket.history_reading(), desk.bucket.spent_reading(), desk.ledger.survey.oldest())
    *replies, history, spent, oldest = desk.ledger.together([*look_readings(desk), *more])
    seen = look_of(desk, replies)
    return Glance(
        account=desk.account,
        at_s=time.time(),
        forecast=seen.forecast,
        crew=seen.crew,
        halt=seen.halt,
        history=history,
        spent=spent,
        newest=desk.ledger.newest(BATCHES, LETTERS),
        oldest_s=max(oldest.values()) or None,
    )
