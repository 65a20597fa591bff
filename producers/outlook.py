"""What is known now of an account's lines, bucket and workers: the forecast, and one job's explanation."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from producers.answers import BatchView
from producers.explaining import Explanation
from producers.look import look

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from producers.desk import Desk
    from producers.forecast import Forecast
    from worker.records import Progress, Record


def outlook(desk: Desk) -> Forecast:
    """What the account's lines and bucket are now."""
    return look(desk).forecast


def batch_ends_in_s(desk: Desk, forecast: Forecast, batch: str, jobs: Progress) -> float | None:
    """How long until the last of a batch's jobs at this account has its room, in seconds; None if nobody knows."""
    return forecast.ends_in_s(jobs, desk.ledger.last_ranks(batch))


def explanation_of(desk: Desk, record: Record) -> Explanation:
    """All that bears on when the job is done."""
    seen = look(desk)
    return Explanation(record, desk.ledger.position(record.job), seen.forecast, seen.crew, seen.halt, time.time())


def batch_view(desks: Sequence[Desk], name: str, jobs: Mapping[str, Progress]) -> BatchView:
    """The batch, and when it is done; `jobs` are its jobs by account."""
    busy = [(desk, jobs[desk.account.name]) for desk in desks if desk.account.name in jobs]
    ends_in_s = last_of(batch_ends_in_s(desk, outlook(desk), name, mine) for desk, mine in busy if mine.waiting > 0)
    return BatchView.of(name, jobs, time.time() + ends_in_s if ends_in_s else None)


def last_of(ends_in_s: Iterable[float | None]) -> float | None:
    """When all of them are over, in seconds; None if nobody knows."""
    latest_s = 0.0
    for one in ends_in_s:
        if one is None:
            return None
        latest_s = max(latest_s, one)
    return latest_s
