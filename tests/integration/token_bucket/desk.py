"""A bucket with a clock you set, on a real Valkey: what every test here stands on."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from worker.redis_store import RedisStore
from worker.scripts import Script, text_of
from worker.token_bucket import HORIZON_US, TokenBucket

if TYPE_CHECKING:
    from worker.rate_limit import Plan

START_US: Final = 1_790_000_000_000_000
"""16 digits, as on a server in 2026: one more than Lua's tostring() keeps."""

KEPT_MS: Final = 26 * 3_600_000
"""How long a bucket outlives its last use, in milliseconds: for as long as what it counted is asked for."""

EXPIRY_STEP_MS: Final = 600_000
"""And so much longer it may live: when a key ends is not written anew with each call."""

Snapshot = dict[str, dict[str, str]]
"""What Redis has on its disk of an account: the fields of each key."""

_numbers = itertools.count()


@dataclass
class Desk:
    """One fresh account and its clock; `skew_us` is what Redis' clock lacks of the true time."""

    store: RedisStore
    plan: Plan
    horizon_us: int = HORIZON_US
    now_us: int = START_US
    skew_us: int = 0
    bucket: TokenBucket = field(init=False)

    def __post_init__(self) -> None:
        self.bucket = self.another()

    def another(self, *, own_clock: bool = True) -> TokenBucket:
        """A bucket of a new account, on this clock or on that of Redis."""
        name = f"desk{next(_numbers)}"
        return TokenBucket(
            self.store, name, self.plan, horizon_us=self.horizon_us, clock=self._time if own_clock else None
        )

    def forget(self) -> None:
        """What a failover to an empty Redis does."""
        self.bucket.clear()

    def restart(self) -> None:
        """Redis comes back with what it had on disk: the state was written by a server with another run id."""
        if self.store.client.exists(self.bucket.key):
            self.store.client.hset(self.bucket.key, "i", "another")

    def state(self, key: str | None = None) -> dict[str, str]:
        """The fields of the bucket, or of another hash."""
        return cast("dict[str, str]", self.store.client.hgetall(key or self.bucket.key))

    def on_disk(self) -> Snapshot:
        """All that is stored now."""
        return {key: self.state(key) for key in (self.bucket.key, self.bucket.trouble_key)}

    def roll_back(self, snapshot: Snapshot) -> None:
        """A restart that loses what happened since the snapshot."""
        for key, fields in snapshot.items():
            self.store.client.delete(key)
            if fields:
                self.store.client.hset(key, items=[part for pair in fields.items() for part in pair])
                self.store.client.pexpire(key, 3_600_000)
        self.restart()

    def _time(self) -> int:
        return self.now_us + self.skew_us


Open = Callable[..., Desk]
"""Opens a desk: `open_desk(plan, horizon_us=..., now_us=...)`."""


class MutantStore(RedisStore):
    """A store whose bucket script has a mistake: every `old` in the text became `new`."""

    def __init__(self, url: str, old: str, new: str) -> None:
        super().__init__(url)
        self._old, self._new = old, new

    def script(self, *names: str, **functions: str) -> Script:
        text = text_of(names, functions)
        if self._old not in text:
            raise LookupError(f"the mistake no longer fits the script: {self._old!r}")
        return Script(self._scripts, text.replace(self._old, self._new), self.held)
