"""The IM integration of a job that names none, where the settings name none either: the only one there is, if so.

The workers have the app key, so they ask: one call of the account's limit now and then, and what came of it stands in
Redis, for themselves and for producers that have no key. A job that is recorded has its integration: its key says so.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Protocol

from worker.errors import AccountRefused, FlashdutyError, InvalidJob, NextStep, SettingsError
from worker.jobs import Lane

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from worker.flashduty import Integration, Reply
    from worker.health import Health
    from worker.redis_store import RedisStore
    from worker.slots import Slot

REMEMBERED_S: Final = 3600
"""How long the only integration is remembered, in seconds."""

REASON_S: Final = 300
"""How long it is remembered why there is none: a person who mends that should not wait for long."""

RENEW_BELOW_S: Final = 2400
"""Workers ask again when what is remembered has less than this left: so a change is seen within twenty minutes."""

USABLE: Final = frozenset({"enabled", ""})
"""The API does not say which values a status has; it lists those with war rooms enabled."""

NAMED: Final = 8
"""So many integrations a sentence names."""

AGAIN: Final = frozenset({NextStep.WAIT, NextStep.RETRY, NextStep.LOOK_FIRST})
"""After these the same question may well be answered."""

ELSEWHERE: Final = frozenset({"RouteNotFound", "MethodNotAllowed"})
"""Only this question is refused: rooms are opened at another address."""


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
    named = ", ".join(f"{one.id} ({_plain(one.name)}, {_plain(one.plugin_type)})" for one in found[:NAMED])
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return f"{len(found)} have war rooms enabled: {named}{more}"


def default_of(integrations: Sequence[Integration]) -> int | str:
    """The only one, or why there is none."""
    return only_one(integrations) or which(integrations)


def _plain(text: str) -> str:
    return text if text.isprintable() else ascii(text)[1:-1]


class Memory:
    """What was found last, for one account: a number in Redis, or a sentence why there is none; nothing else.

    Every method raises QueueUnavailable if Redis does not answer or refuses.
    """

    def __init__(self, store: RedisStore, account: str) -> None:
        self._store = store
        self._key = f"warrooms:{{{account}}}:integration"

    def recall(self) -> int | str | None:
        """The integration, or why there is none; None if nobody has asked lately."""
        kept = self._store.held(lambda: self._store.client.get(self._key))
        text = None if kept is None else str(kept)
        return int(text) if text is not None and text.isdecimal() else text

    def keep(self, found: int | str) -> None:
        """Remembers it: the integration for an hour, a reason for five minutes."""
        client, left_s = self._store.client, REMEMBERED_S if isinstance(found, int) else REASON_S
        self._store.held(lambda: client.set(self._key, found, ex=left_s))

    def is_old(self) -> bool:
        """Whether somebody should ask again: nothing is known, or an integration that was found a while ago."""
        known = self.recall()
        left_s = int(str(self._store.held(lambda: self._store.client.ttl(self._key))))
        return known is None or (isinstance(known, int) and left_s < RENEW_BELOW_S)


class _Memory(Protocol):
    def recall(self) -> int | str | None: ...
    def keep(self, found: int | str) -> None: ...
    def is_old(self) -> bool: ...


class _Slots(Protocol):
    def take(self, lane: Lane) -> Slot: ...
    def pause(self, slot: Slot, retry_after_s: float | None) -> float: ...
    def report(self, slot: Slot, error: FlashdutyError | None = ..., *, done: bool = ...) -> Health: ...


class _Api(Protocol):
    def integrations(self) -> Reply[tuple[Integration, ...]]: ...


class UsualIntegration:
    """The integration of one account's jobs that name none, for a worker. Thread-safe; one thread asks at a time.

    Args:
        chosen: what the settings say; None if they say nothing.
        memory: what the workers know in common.
        slots: the account's slots.
        api: the account's API.
    """

    def __init__(self, chosen: int | None, memory: _Memory, slots: _Slots, api: _Api) -> None:
        self._chosen = chosen
        self._memory = memory
        self._slots = slots
        self._api = api
        self._lock = threading.Lock()

    def find(self) -> int:
        """The integration.

        Raises:
            InvalidJob: there is none, or several; says which.
            FlashdutyError: the API could not be asked now.
            NoMoreSlots: the account is paused for long, or the worker is stopping.
            QueueUnavailable: Redis is away and the worker does not hold any longer.
        """
        if self._chosen is not None:
            return self._chosen
        found = self._memory.recall()
        if found is None:
            with self._lock:
                found = self._memory.recall() or self._ask()
        if isinstance(found, int):
            return found
        # What to do stands in front: a refusal is kept with its first 200 characters.
        raise InvalidJob(f"integration_id: is missing; send it, or set FLASHDUTY_INTEGRATION_ID: {found}")

    def renew(self) -> None:
        """Asks if what is known is old, so that whoever needs it finds it.

        Raises:
            FlashdutyError, NoMoreSlots, QueueUnavailable: as `find`.
        """
        if self._chosen is None and self._memory.is_old():
            with self._lock:
                self._ask()

    def _ask(self) -> int | str:
        slot = self._slots.take(Lane.BULK)
        try:
            found = default_of(self._api.integrations().value)
        except FlashdutyError as error:
            found = self._explained(slot, error)
        except SettingsError as error:  # the key's file is gone, say
            found = self._explained(slot, AccountRefused(str(error), code="NoAppKey"))
        else:
            self._slots.report(slot, done=False)
        self._memory.keep(found)
        return found

    def _explained(self, slot: Slot, error: FlashdutyError) -> str:
        """A refusal of this question as the reason; whatever is about the account is told to it, and raised."""
        if error.next_step is NextStep.WAIT:
            self._slots.pause(slot, error.retry_after_s)
        elif error.next_step in AGAIN or (error.next_step is NextStep.SUSPEND and error.code not in ELSEWHERE):
            self._slots.report(slot, error)
        else:
            self._slots.report(slot, done=False)  # it answers; whether it opens rooms, this does not say
            return f"Flashduty does not say which there are: {error}"
        raise error


class Usual(Mapping[str, int]):
    """The default integrations of a worker's accounts; one that nobody has set is looked up when it is asked for."""

    def __init__(self, accounts: Mapping[str, UsualIntegration]) -> None:
        self._accounts = accounts

    def __getitem__(self, account: str) -> int:
        return self._accounts[account].find()

    def __contains__(self, account: object) -> bool:
        return account in self._accounts

    def __iter__(self) -> Iterator[str]:
        return iter(self._accounts)

    def __len__(self) -> int:
        return len(self._accounts)
