"""One account as producers see it: its settings, its ledger, its bucket."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from producers.halts import Halt
from producers.pausing import paused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from worker.ledger import Ledger
    from worker.records import Progress
    from worker.settings import Account
    from worker.token_bucket import TokenBucket


@dataclass(frozen=True, slots=True)
class Desk:
    """One account: what it may do and what is known of its jobs."""

    account: Account
    ledger: Ledger
    bucket: TokenBucket


def halt_of(desk: Desk) -> Halt | None:
    """Why the account is not called as usual; None if it is."""
    trouble = desk.bucket.trouble()
    if trouble is None:
        return None
    lines = desk.bucket.peek().lines
    return Halt(desk.account.name, trouble, lines.pause_s, lines.held)


def hold_of(desk: Desk) -> str:
    """That a person paused the account, in a sentence; empty if nobody did."""
    level = desk.bucket.peek()
    return f"account {desk.account.name} is {paused(desk.account.name, level, time.time())}" if level.lines.held else ""


def halts_of(desks: Iterable[Desk]) -> list[Halt]:
    """The accounts among them that are not called as usual."""
    return [halt for desk in desks if (halt := halt_of(desk)) is not None]


def batch_progress(desks: Sequence[Desk], batch: str) -> Mapping[str, Progress]:
    """The batch by account; empty if nobody knows it."""
    found = ((desk.account.name, desk.ledger.batch(batch)) for desk in desks)
    return {name: progress for name, progress in found if progress is not None}
