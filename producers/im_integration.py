"""The IM integration of a job that names none, as producers find it: in the settings, in Redis, or by asking the API.

Workers keep it in Redis (worker/im_integration.py), so a producer needs no app key; one that has a key asks by itself
where Redis does not know: one call of the account's limit.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.errors import FlashdutyError
from worker.im_integration import Memory, default_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from producers.paced import Paced
    from worker.redis_store import RedisStore
    from worker.settings import Account, Settings
    from worker.token_bucket import TokenBucket

FOUND_S: Final = 300.0
"""How long this process believes what it found, in seconds."""

NONE_S: Final = 60.0
"""How long it does not ask the API again where that found none."""

UNKNOWN_S: Final = 2.0
"""How long it does not look again where nobody knows: a worker that starts will tell in a moment."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is known of an account until then, in monotonic seconds: its integration, or why there is none."""

    found: int | str
    until_s: float


class Lookup(Mapping[str, int]):
    """The default integrations by account: the settings', and for an account without one what Redis or the API says.

    It looks when it is asked, and remembers for a while. Thread-safe; one thread looks at a time.

    Args:
        settled: those that the settings or an option name.
        accounts: the accounts that there are.
        memory: gives the memory of an account.
        paced: gives the way to an account's API; None if its app key is not here.
        say: told why an account has none, a sentence each.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        settled: Mapping[str, int],
        accounts: Mapping[str, Account],
        memory: Callable[[str], Memory],
        paced: Callable[[Account], Paced | None],
        say: Callable[[str], None] = lambda _sentence: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._known = {name: _Answer(number, math.inf) for name, number in settled.items()}
        self._accounts = accounts
        self._memory = memory
        self._paced = paced
        self._say = say
        self._clock = clock
        self._lock = threading.Lock()
        self.reasons: dict[str, str] = {}
        """Why an account has none, by account; what was asked for last."""

    @classmethod
    def of(
        cls,
        settings: Settings,
        settled: Mapping[str, int],
        accounts: Mapping[str, Account],
        store: RedisStore,
        bucket: Callable[[str], TokenBucket],
        say: Callable[[str], None] = lambda _sentence: None,
    ) -> Lookup:
        """The one of this installation."""

        def paced(account: Account) -> Paced | None:
            from producers.paced import Paced, has_key  # noqa: PLC0415 - an HTTP client, for the few who ask

            if not has_key(account):
                return None
            return Paced.of(settings, account, bucket(account.name), say, patient=False)

        return cls(settled, accounts, lambda name: Memory(store, name), paced, say)

    def __getitem__(self, account: str) -> int:
        """The account's; KeyError if there is none.

        Raises:
            QueueUnavailable: Redis does not answer or refuses.
        """
        with self._lock:
            known = self._known.get(account)
            if known is None or known.until_s <= self._clock():
                before = None if known is None else known.found
                known = self._known[account] = self._find(self._accounts[account], before)
        if isinstance(known.found, int):
            self.reasons.pop(account, None)
            return known.found
        self.reasons[account] = known.found
        raise KeyError(account)

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, known in self._known.items() if isinstance(known.found, int)])

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _find(self, account: Account, before: int | str | None) -> _Answer:
        """What Redis or the API says; where neither can tell, what was found before."""
        memory = self._memory(account.name)
        remembered = memory.recall()
        if isinstance(remembered, int):
            return self._answer(account, remembered, FOUND_S)
        paced = self._paced(account)
        if paced is None and remembered is None and isinstance(before, int):
            return _Answer(before, self._clock() + UNKNOWN_S)
        if paced is None:
            unknown = "its only IM integration is found by a worker that runs, or with its app key here"
            return self._answer(account, remembered or unknown, UNKNOWN_S)
        try:
            listed = paced.ask(paced.api.integrations)
        except FlashdutyError as error:
            if isinstance(before, int):
                return _Answer(before, self._clock() + NONE_S)
            return self._answer(account, f"could not ask for its IM integration: {error}", NONE_S)
        finally:
            paced.close()
        found = default_of(listed)
        memory.keep(found)
        return self._answer(account, found, FOUND_S if isinstance(found, int) else NONE_S)

    def _answer(self, account: Account, found: int | str, good_for_s: float) -> _Answer:
        if isinstance(found, str):
            self._say(f"account {account.name}: {found}")
        return _Answer(found, self._clock() + good_for_s)
