"""What is known now of an account's lines, bucket and workers: the forecast, and one job's explanation."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from producers.crew import Crew
from producers.explaining import Explanation
from producers.forecast import Forecast, now
from producers.halts import Halt

if TYPE_CHECKING:
    from producers.desk import Desk
    from worker.health import Trouble
    from worker.records import Record


def outlook(desk: Desk) -> Forecast:
    """What the account's lines and bucket are now."""
    return _forecast(desk, Crew(desk.ledger.workers()), desk.bucket.trouble())


def explanation_of(desk: Desk, record: Record) -> Explanation:
    """All that bears on when the job is done."""
    crew, trouble = Crew(desk.ledger.workers()), desk.bucket.trouble()
    forecast = _forecast(desk, crew, trouble)
    halt = None if trouble is None else Halt(desk.account.name, trouble, forecast.level.lines.pause_s)
    return Explanation(record, desk.ledger.position(record.job), forecast, crew, halt, time.time())


def _forecast(desk: Desk, crew: Crew, trouble: Trouble | None) -> Forecast:
    halted = trouble is not None or not crew.alive
    return Forecast(desk.account.plan, desk.bucket.peek(), desk.ledger.standing(), now(), halted=halted)
