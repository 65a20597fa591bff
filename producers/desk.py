"""One account as producers see it: its settings, its ledger, its bucket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


def batch_progress(desks: Sequence[Desk], batch: str) -> Mapping[str, Progress]:
    """The batch by account; empty if nobody knows it."""
    found = ((desk.account.name, desk.ledger.batch(batch)) for desk in desks)
    return {name: progress for name, progress in found if progress is not None}
