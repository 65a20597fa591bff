"""`warrooms integrations`, and the commands' default: the IM integrations that open rooms."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from producers import console
from producers.cli.desks import check_account
from producers.cli.exits import Exit
from producers.im_integration import Lookup
from producers.paced import Paced
from producers.queue import JobQueue
from worker.im_integration import Memory, default_of, only_one, usable, which
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.flashduty import Integration
    from worker.settings import Account


class Reasons:
    """Sentences, each said once on stderr unless quiet, and kept for an error."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._said: list[str] = []

    def __call__(self, sentence: str) -> None:
        """Takes one."""
        if not self._quiet and sentence not in self._said:
            console.remark(sentence)
        self._said.append(sentence)

    def __str__(self) -> str:
        return "; ".join(dict.fromkeys(self._said))


def lookup(settled: Mapping[str, int], settings: Settings, queue: JobQueue, say: Reasons) -> Lookup:
    """The default integrations of this installation; the API is asked where the settings say nothing."""
    return Lookup.of(settings, settled, queue.accounts, queue.store, queue.bucket, say)


def integrations(account: str | None, *, json: bool) -> Exit:
    """Lists the IM integrations with war rooms enabled, of one account or of all.

    Raises:
        BadInput: no such account.
        SettingsError: an account's app key is not here.
        FlashdutyError: the API refuses, or does not answer.
        QueueUnavailable: no slot without Redis.
    """
    settings = Settings.load()
    accounts = settings.accounts()
    check_account(account, accounts)
    with closing(JobQueue(settings)) as queue:
        asked = [(one, _ask(settings, queue, one)) for name, one in accounts.items() if account in {None, name}]
    if json:
        console.answer_json({"accounts": [_json(one, found) for one, found in asked]})
    else:
        console.answer(*(line for one, found in asked for line in _lines(one, found)))
    return Exit.DONE


def _ask(settings: Settings, queue: JobQueue, account: Account) -> Sequence[Integration]:
    with closing(Paced.of(settings, account, queue.bucket(account.name), Reasons(quiet=False))) as paced:
        found = paced.ask(paced.api.integrations)
    Memory(queue.store, account.name).keep(default_of(found))
    return found


def _json(account: Account, found: Sequence[Integration]) -> dict[str, object]:
    listed = [{"id": one.id, "name": one.name, "kind": one.plugin_type, "status": one.status} for one in found]
    default = account.integration_id if account.integration_id is not None else only_one(found)
    return {"account": account.name, "default": default, "integrations": listed}


def _lines(account: Account, found: Sequence[Integration]) -> list[str]:
    told = [(str(one.id), one.name, one.plugin_type, one.status) for one in found]
    rows = [[console.clean(cell) or "-" for cell in row] for row in told]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [f"account {account.name}: {_default(account, found)}", *(f"  {row}" for row in table)]


def _default(account: Account, found: Sequence[Integration]) -> str:
    """Which one opens rooms when a job names none."""
    chosen, only = account.integration_id, only_one(found)
    if chosen is not None:
        known = chosen in {one.id for one in usable(found)}
        return f"{chosen} is set" + ("" if known else "; but it is not among those with war rooms enabled")
    if only is not None:
        return f"{only} is used when a job names none: it is the only one"
    return which(found) + ("; set FLASHDUTY_INTEGRATION_ID, or give --integration" if usable(found) else "")
