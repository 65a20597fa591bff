"""Everything a running sandbox knows. One thread, the event loop's, reads and writes it."""

from __future__ import annotations

import dataclasses
import time
from random import Random
from typing import TYPE_CHECKING

from sandbox.api import ENDPOINTS, Backend, Caller
from sandbox.errors import ConfigError
from sandbox.faults import Faults
from sandbox.incidents import Incidents
from sandbox.latency import Latency
from sandbox.models import SECOND_US
from sandbox.rooms import Rooms
from sandbox.stats import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sandbox.config import Limits, SandboxConfig
    from sandbox.envelope import JsonObject


def monotonic_us() -> int:
    """The monotonic clock in whole microseconds."""
    return time.monotonic_ns() // 1000


class Account:
    """One account: its limits and its pause, shared by all its app keys."""

    def __init__(self, caller: Caller, limits: Limits) -> None:
        self.caller = caller
        self.enforcer = limits.enforcer()
        self.pause_until_us = 0


class State:
    """The whole of it.

    Args:
        config: how the sandbox was set up.
        clock_us: a monotonic clock in microseconds.
    """

    def __init__(self, config: SandboxConfig, clock_us: Callable[[], int] = monotonic_us) -> None:
        self.config = config
        self._clock_us = clock_us
        self._limits = config.limits
        self._calls = 0
        self.reset()

    def reset(self) -> None:
        """Begin again as at the start, except that limits changed since then stay as they are.

        A call still in flight ends in the old ledger and the old rooms.
        """
        config = self.config
        self._origin_us = self._clock_us()
        self._random = Random(config.seed)
        self.revoked: set[str] = set()
        self.ledger = Ledger(ENDPOINTS)
        self.faults = Faults(config.faults, config.seed)
        self.backend = Backend(
            incidents=Incidents(config.incidents, config.seed, int(time.time())),
            rooms=Rooms(),
            strict=config.strict_incidents,
            empty_after_loss=config.empty_after_loss,
        )
        self._open_accounts()

    def _open_accounts(self) -> None:
        self._latency = Latency.of(self._limits.latency)
        names = dict.fromkeys(self.config.app_keys.values())
        self.accounts = {name: Account(Caller(name, 10001 + n), self._limits) for n, name in enumerate(names)}

    @property
    def limits(self) -> Limits:
        """The limits in force."""
        return self._limits

    def change_limits(self, changes: JsonObject) -> None:
        """Put other limits or another latency in force; every account starts with nothing counted, unpaused.

        Raises:
            ConfigError: a name is unknown or a value is wrong; nothing was changed.
        """
        known = {one.name for one in dataclasses.fields(self._limits)}
        unknown = sorted(changes.keys() - known)
        if unknown:
            raise ConfigError(f"there is no limit setting {', '.join(unknown)}; choose from {', '.join(sorted(known))}")
        for name, value in changes.items():
            _check_type(name, value, getattr(self._limits, name))
        self._limits = dataclasses.replace(self._limits, **changes)  # type: ignore[arg-type] # Limits checks them
        self._open_accounts()

    def now_us(self) -> int:
        """Microseconds since the start or the last reset."""
        return self._clock_us() - self._origin_us

    def request_id(self) -> str:
        """A new id in the shape of the API's: 26 characters."""
        self._calls += 1
        return f"01SANDBX{self._calls:018d}"

    def latency_s(self) -> float:
        """The next latency, in seconds."""
        return self._latency.draw(self._random)

    def account_of(self, app_key: str) -> Account | None:
        """The key's account, even if the key is revoked."""
        name = self.config.app_keys.get(app_key)
        return None if name is None else self.accounts[name]

    def change_keys(self, *, revoke: Iterable[str] = (), restore: Iterable[str] = ()) -> None:
        """Revoke or restore app keys.

        Raises:
            ConfigError: a key is unknown; the message does not repeat it.
        """
        revoke, restore = set(revoke), set(restore)
        if not revoke | restore <= self.config.app_keys.keys():
            raise ConfigError("one of these app keys is unknown; nothing was changed")
        self.revoked = (self.revoked | revoke) - restore

    def pause(self, seconds: float, account: str = "") -> None:
        """Refuse every call of one account, or of all, for the next seconds; never shortens a pause.

        Raises:
            ConfigError: there is no such account, or the time is not positive.
        """
        if account and account not in self.accounts:
            raise ConfigError(f"there is no account {account!r}")
        if not 0 < seconds < float("inf"):
            raise ConfigError("a pause is a positive number of seconds")
        until_us = self.now_us() + round(seconds * SECOND_US)
        for name, one in self.accounts.items():
            if account in ("", name):
                one.pause_until_us = max(one.pause_until_us, until_us)

    def stats(self) -> JsonObject:
        """The truth so far: calls, rooms, faults, limits."""
        return (
            {"uptime_s": self.now_us() / SECOND_US, "limits": dataclasses.asdict(self._limits)}
            | self.ledger.json()
            | self.backend.rooms.census()
            | {"faults": self.faults.json()}
        )


def _check_type(name: str, value: object, example: object) -> None:
    """A control call brings any JSON type; a whole number will do for seconds."""
    right = type(value) is type(example) or (isinstance(example, float) and type(value) is int)
    if not right:
        raise ConfigError(f"{name} has the wrong type; it is {example!r} now")
