"""The accounts as the reading commands see them: settings, ledger and bucket, without Celery."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from producers import console
from producers.bad_input import BadInput
from producers.desk import Desk, batch_progress
from producers.parsing import Defaults, shown
from worker.jobs import BATCH_PATTERN, Lane
from worker.ledger import Ledger
from worker.redis_store import Hold, RedisStore, never
from worker.settings import Settings
from worker.token_bucket import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.errors import QueueUnavailable
    from worker.records import Progress, Record
    from worker.settings import Account


PATIENCE_S: Final = 30.0
"""How long a command that waits for jobs holds on while Redis does not answer."""


def open_desks(account: str | None, *, hold: Hold = never) -> Sequence[Desk]:
    """The desk of the account, or of all of them; Redis has answered once.

    Args:
        account: the account's name; None means all.
        hold: whether to ask Redis again; see RedisStore.

    Raises:
        BadInput: no such account.
        SettingsError: a setting is wrong.
        QueueUnavailable: Redis does not answer or refuses.
    """
    settings = Settings.load()
    accounts = settings.accounts()
    check_account(account, accounts)
    store = RedisStore(settings.redis_url, hold=hold)
    store.ping()
    return [
        Desk(
            one,
            Ledger.of(store, one, settings),
            TokenBucket(store, name, one.plan),
        )
        for name, one in accounts.items()
        if account in {None, name}
    ]


class Patience:
    """Holds on for a while when Redis is away: a restart of Redis is no reason to stop waiting.

    Args:
        quiet: says nothing.
    """

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._until_s = 0.0

    def __call__(self, tries: int, error: QueueUnavailable) -> bool:
        """Sleeps a second and answers whether to ask again."""
        if not error.passing:
            return False
        if tries == 1:
            self._until_s = time.monotonic() + PATIENCE_S
            if not self._quiet:
                console.remark(f"Redis does not answer; asking again for {console.duration(PATIENCE_S)}")
        if time.monotonic() >= self._until_s:
            return False
        time.sleep(1)
        return True


def check_account(account: str | None, accounts: Mapping[str, Account]) -> None:
    """Raises BadInput if the account is named and not configured."""
    if account is not None and account not in accounts:
        raise BadInput(f"--account {shown(account)} is not known; known accounts: {', '.join(accounts)}")


def check_batch(batch: str | None) -> None:
    """Raises BadInput if this can be no batch's name."""
    if batch is not None and not re.fullmatch(BATCH_PATTERN.strip("^$"), batch):
        raise BadInput(f"--batch must be 1 to 100 letters, digits, '.', '-' or '_', got {shown(batch)}")


def defaults(accounts: Mapping[str, Account], account: str | None, integration: int | None, lane: Lane) -> Defaults:
    """What a job gets that does not say otherwise; a lone account needs no name.

    Raises:
        BadInput: no such account.
    """
    check_account(account, accounts)
    usual = Defaults.of(accounts)
    return replace(
        usual,
        account=account or usual.account,
        integration_ids=dict.fromkeys(accounts, integration) if integration else usual.integration_ids,
        lane=lane,
    )


def known_batch(desks: Sequence[Desk], batch: str) -> Mapping[str, Progress]:
    """The batch by account.

    Raises:
        BadInput: nobody knows it; names the ones that may be meant.
    """
    check_batch(batch)
    progress = batch_progress(desks, batch)
    if not progress:
        recent = [name for desk in desks for name in desk.ledger.batches(50)]
        close = get_close_matches(batch, recent, n=1) or recent[:3]
        hint = f"; known ones: {', '.join(close)}" if close else "; no batch is known here"
        raise BadInput(f"there is no batch {shown(batch)} (or it was forgotten after the retention){hint}")
    return progress


def failures(desks: Sequence[Desk], batch: str | None = None, most: int = 5) -> list[Record]:
    """The newest dead letters with their reasons."""
    found: list[Record] = []
    for desk in desks:
        mine = 0
        for record in desk.ledger.dead_letters():
            if batch is None or batch in record.batches:
                found.append(record)
                mine += 1
            if mine == most:
                break
    return sorted(found, key=lambda record: record.finished_at or 0, reverse=True)[:most]
