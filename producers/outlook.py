"""What is known now of an account's lines, bucket and workers: the forecast, and one job's explanation."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from producers.crew import Crew
from producers.desk import halt_of
from producers.explaining import Explanation
from producers.forecast import Forecast, now

if TYPE_CHECKING:
    from producers.desk import Desk
    from worker.records import Record


def outlook(desk: Desk) -> Forecast:
    """What the account's lines and bucket are now."""
    halted = desk.bucket.trouble() is not None or not Crew(desk.ledger.workers()).alive
    return Forecast(desk.account.plan, desk.bucket.peek(), desk.ledger.standing(), now(), halted=halted)


def explanation_of(desk: Desk, record: Record) -> Explanation:
    """All that bears on when the job is done."""
    return Explanation(
        record,
        desk.ledger.position(record.job),
        outlook(desk),
        Crew(desk.ledger.workers()),
        halt_of(desk),
        time.time(),
    )
