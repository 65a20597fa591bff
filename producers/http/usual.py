"""The default integrations as the web process knows them: looked up beside the requests, so none waits for it.

A webhook must be answered within two seconds, also while Redis or the API is away: then what was known last counts.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from anyio import to_thread

from worker.errors import WarroomsError

if TYPE_CHECKING:
    from producers.parsing import Defaults

EVERY_S: Final = 30.0
SOON_S: Final = 2.0
"""How often it looks, in seconds: the second as long as an account has none."""

FIRST_S: Final = 3.0
"""How long the first look may hold the start up, in seconds."""


class Usual:
    """What a job gets that does not say otherwise; `now` is read by requests, `look` renews it.

    Args:
        source: the same, looked up when it is asked.
    """

    def __init__(self, source: Defaults) -> None:
        self._source = source
        self.now = replace(source, integration_ids=dict(source.integration_ids), why_none={})
        self._looked = asyncio.Event()

    def look(self) -> bool:
        """Looks all accounts up; whether each has an integration. What cannot be looked up stays as it was."""
        known, accounts = dict(self.now.integration_ids), self._source.known_accounts or frozenset()
        for account in accounts:
            try:
                found = self._source.integration_ids.get(account)
            except WarroomsError:
                continue
            if found is None:
                known.pop(account, None)
            else:
                known[account] = found
        self.now = replace(self.now, integration_ids=known, why_none=dict(self._source.why_none))
        return known.keys() >= accounts

    async def run(self) -> None:
        """Looks now and then, for ever."""
        while True:
            complete = await to_thread.run_sync(self.look)
            self._looked.set()
            await asyncio.sleep(EVERY_S if complete else SOON_S)

    async def first(self) -> None:
        """Waits for the first look, but not for long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._looked.wait(), FIRST_S)
