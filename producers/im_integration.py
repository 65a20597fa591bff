"""The IM integration of a job that names none, where the settings name none either: the only one there is, if so.

Asking the API for it is one call of the account's limit; what it says is remembered in Redis for an hour. Only the
command line asks, and only when a job needs it: the Python API and the workers never do.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from producers.console import clean
from producers.paced import Paced, has_key
from worker.errors import FlashdutyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from worker.flashduty import Integration
    from worker.redis_store import RedisStore
    from worker.settings import Account

REMEMBERED_S: Final = 3600

USABLE: Final = frozenset({"enabled", ""})
"""The API does not say which values a status has; it lists those with war rooms enabled."""


class Memory:
    """What the API said last: one number in Redis, nothing of its answer besides."""

    def __init__(self, store: RedisStore, account: str) -> None:
        self._store = store
        self._key = f"warrooms:{{{account}}}:integration"

    def recall(self) -> int | None:
        """The integration; None if nobody has asked lately.

        Raises:
            QueueUnavailable: Redis does not answer or refuses.
        """
        kept = self._store.held(lambda: self._store.client.get(self._key))
        return int(str(kept)) if kept is not None and str(kept).isdecimal() else None

    def keep(self, integration_id: int | None) -> None:
        """Remembers it for an hour; None forgets it.

        Raises:
            QueueUnavailable: Redis does not answer or refuses.
        """
        client = self._store.client
        if integration_id is None:
            self._store.held(lambda: client.delete(self._key))
        else:
            self._store.held(lambda: client.set(self._key, integration_id, ex=REMEMBERED_S))


def usable(integrations: Sequence[Integration]) -> list[Integration]:
    """Those that can open rooms."""
    return [one for one in integrations if one.status in USABLE and one.id > 0]


def only_one(integrations: Sequence[Integration]) -> int | None:
    """The integration to use when none is named; None unless exactly one can open rooms."""
    found = usable(integrations)
    return found[0].id if len(found) == 1 else None


def which(integrations: Sequence[Integration]) -> str:
    """Why none of them goes without saying, for people."""
    found = usable(integrations)
    if not found:
        return "no IM integration of this account has war rooms enabled: enable one in Flashduty's integration settings"
    named = ", ".join(f"{one.id} ({clean(one.name)}, {clean(one.plugin_type)})" for one in found)
    return f"{len(found)} have war rooms enabled: {named}"


class Lookup(Mapping[str, int]):
    """The default integrations by account: the settings', and for an account without one what the API says.

    It asks when it is asked, once for each account.

    Args:
        settled: those that the settings or an option name.
        accounts: the accounts that there are.
        memory: gives the memory of an account.
        paced: gives the way to an account's API.
        say: told why an account has none, a sentence each.
    """

    def __init__(
        self,
        settled: Mapping[str, int],
        accounts: Mapping[str, Account],
        memory: Callable[[str], Memory],
        paced: Callable[[Account], Paced],
        say: Callable[[str], None],
    ) -> None:
        self._known: dict[str, int | None] = dict(settled)
        self._accounts = accounts
        self._memory = memory
        self._paced = paced
        self._say = say

    def __getitem__(self, account: str) -> int:
        if account not in self._known:
            self._known[account] = self._find(self._accounts[account])
        found = self._known[account]
        if found is None:
            raise KeyError(account)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, number in self._known.items() if number is not None])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _find(self, account: Account) -> int | None:
        memory = self._memory(account.name)
        remembered = memory.recall()
        if remembered is not None:
            return remembered
        if not has_key(account):
            self._say(f"account {account.name}: with its app key here, its only IM integration would be found")
            return None
        paced = self._paced(account)
        try:
            found = paced.ask(paced.api.integrations)
        except FlashdutyError as error:
            self._say(f"account {account.name}: could not ask for its IM integration: {error}")
            return None
        finally:
            paced.close()
        integration_id = only_one(found)
        memory.keep(integration_id)
        if integration_id is None:
            self._say(f"account {account.name}: {which(found)}")
        return integration_id
