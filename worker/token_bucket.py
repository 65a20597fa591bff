"""The shared token bucket of an account: token_bucket.lua bound to Redis. It answers, it never sleeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from worker.health import Health, Level, Trouble
from worker.rate_limit import SECOND_US
from worker.reading import Reading
from worker.slots import Lines, NotYet, Reserved

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.errors import FlashdutyError
    from worker.health import Sign
    from worker.jobs import Lane
    from worker.rate_limit import Plan
    from worker.redis_store import RedisStore

HORIZON_US: Final = 125_000
"""How far ahead a slot may be reserved: two slots of 1,000/minute. A pause cannot call back what is reserved, and an
urgent job cannot overtake it, so it stays short; without any, every slot would be lost that nobody asks for in time."""

URGENT_IN_A_ROW: Final = 9
"""After so many urgent slots in a row a waiting bulk job gets one: a flood of urgent jobs leaves bulk a tenth."""

MAX_PAUSE_US: Final = 3600 * SECOND_US
"""The longest pause a Retry-After can cause."""


@dataclass(frozen=True, slots=True)
class BucketLevel:
    """What people see of a bucket: `tokens[i]` stand ready in the bucket of the plan's limit i."""

    next_slot_s: float
    lines: Lines
    tokens: tuple[float, ...]


class TokenBucket:
    """All limits of one account at once, for every process that shares the Redis.

    Args:
        store: the Redis that everyone shares; its clock is the only clock.
        account: the account's name.
        plan: its limits.
        horizon_us: how far ahead a slot may be reserved, in microseconds.
        clock: microseconds since the epoch; None means Redis' own clock. Only tests pass one.

    Every method raises QueueUnavailable if Redis does not answer: no slot without Redis.
    """

    def __init__(
        self,
        store: RedisStore,
        account: str,
        plan: Plan,
        *,
        horizon_us: int = HORIZON_US,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.key = f"warrooms:{{{account}}}:bucket"
        self.trouble_key = f"warrooms:{{{account}}}:trouble"
        self.account = account
        self.plan = plan
        self._store = store
        self._script = store.script("token_bucket")
        self._clock = clock
        self._head: tuple[str | int, ...] = (
            horizon_us,
            len(plan.limits),
            *(n for limit in plan.limits for n in (limit.interval_us, limit.tolerance_us)),
        )

    def acquire(self, lane: Lane, *, ticket: bool = False) -> Reserved | NotYet:
        """Asks for the next slot; `ticket` if a NotYet sent the caller here."""
        reply = self._call("acquire", lane.value, int(ticket), URGENT_IN_A_ROW)
        granted, wait, urgent, bulk, pause, receipt, level = reply
        lines = Lines(urgent / SECOND_US, bulk / SECOND_US, pause / SECOND_US)
        wait_s = wait / SECOND_US
        return Reserved(wait_s, receipt, lines, Level(level)) if granted else NotYet(wait_s, lines, Level(level))

    def hit(self) -> bool:
        """Takes a slot if one is free this moment and nobody waits in either lane; leaves no ticket."""
        (granted,) = self._call("hit")
        return bool(granted)

    def refund(self, receipt: str) -> bool:
        """Gives an unused slot back; False if no limit can provably take it back, and the slot is lost."""
        (limits_taken_back,) = self._call("refund", receipt)
        return bool(limits_taken_back)

    def penalty(self, retry_after_s: float | None, receipt: str = "") -> float:
        """Pauses the account for everyone after a 429; the longest pause wins.

        Args:
            retry_after_s: what the server asked for; None or 0 if it did not: then 1, 2, 4 ... 60 s while 429s go on.
            receipt: of the call's slot: if it was a probe, the next one waits for the pause and not for its answer.

        Returns:
            The pause that is left, in seconds.
        """
        asked_us = round((retry_after_s or 0) * SECOND_US)
        (left_us,) = self._call("penalty", asked_us, MAX_PAUSE_US, receipt)
        return float(left_us) / SECOND_US

    def report(self, sign: Sign, age_s: float, error: FlashdutyError | None) -> Health:
        """Tells how a call ended that went out `age_s` ago; what that makes of the account."""
        why = ("", "", "", "") if error is None else (error.code, str(error), error.hint, error.request_id)
        level, pause, common, changed = self._call("report", sign.value, round(age_s * SECOND_US), *why)
        return Health(Level(level), pause / SECOND_US, bool(common), bool(changed))

    def resume(self) -> bool:
        """A person says that the account may be called again; False if it was neither down nor suspended."""
        (was,) = self._call("resume")
        return bool(was)

    def trouble(self) -> Trouble | None:
        """Why the account is down or suspended; None if it is called as usual."""
        (trouble,) = self._store.together([self.trouble_reading()])
        return trouble

    def trouble_reading(self) -> Reading[Trouble | None]:
        """The same, to be read with others."""
        return Reading(lambda pipe: pipe.hgetall(self.trouble_key), lambda replies: _trouble(replies[0]))

    def peek(self) -> BucketLevel:
        """The state now; changes nothing."""
        return _level(self._call("peek"))

    def level_reading(self) -> Reading[BucketLevel]:
        """The same, to be read with others."""
        return Reading(lambda pipe: self._script.later(pipe, *self._asks("peek")), lambda replies: _level(replies[0]))

    def clear(self) -> None:
        """Forgets the state: the bucket starts again, empty."""
        with self._store.errors():
            self._store.client.delete(self.key, self.trouble_key)

    def _call(self, command: str, *args: str | int) -> Any:  # noqa: ANN401
        return self._script(*self._asks(command, *args))

    def _asks(self, command: str, *args: str | int) -> tuple[list[str], list[str | int]]:
        now = "" if self._clock is None else self._clock()
        return [self.key, self.trouble_key], [command, now, *self._head, *args]


def _level(reply: list[int]) -> BucketLevel:
    pause, next_slot, urgent, bulk, *tokens = reply
    return BucketLevel(
        next_slot / SECOND_US,
        Lines(urgent / SECOND_US, bulk / SECOND_US, pause / SECOND_US),
        tuple(thousandths / 1000 for thousandths in tokens),
    )


def _trouble(why: Mapping[str, str]) -> Trouble | None:
    if not why:
        return None
    return Trouble(
        level=Level(int(why["level"])),
        since=int(why["since"]) / 1000,
        probes=int(why["probes"]),
        **{name: why[name] for name in ("code", "message", "hint", "request_id")},
    )
