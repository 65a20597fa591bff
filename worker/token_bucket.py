"""The shared token bucket of an account: token_bucket.lua bound to Redis. It answers, it never sleeps."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from worker.health import Health, Level, Trouble
from worker.history import Fresh, History, Spent
from worker.orders import NO_ORDERS, Orders
from worker.rate_limit import LOSES_S, MOST_LIMITS, SECOND_US, Plan, plan_of
from worker.reading import Reading
from worker.slots import Lines, NotYet, Reserved

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.errors import FlashdutyError
    from worker.health import Sign
    from worker.jobs import Lane
    from worker.redis_store import RedisStore

HORIZON_US: Final = 125_000
"""How far ahead a slot may be reserved: two slots of 1,000/minute. A pause cannot call back what is reserved, and an
urgent job cannot overtake it, so it stays short; without any, every slot would be lost that nobody asks for in time."""

URGENT_IN_A_ROW: Final = 9
"""After so many urgent slots in a row a waiting bulk job gets one: a flood of urgent jobs leaves bulk a tenth."""

MAX_PAUSE_US: Final = 3600 * SECOND_US
"""The longest pause a Retry-After can cause."""

A_DAY_S: Final = 86_400

_STATE: Final = (*"psubknlfdoyrqiex", *(f"{kind}{at + 1}" for kind in "tc" for at in range(MOST_LIMITS)))
"""The fields of token_bucket.lua that a bucket which begins anew does not have; the others tell what went out."""

ORDERS_KEY: Final = "warrooms:orders"
"""Another text with each order: who sees another one looks what was ordered.

No count, which a restart that loses an order, or an empty Redis, would tell a second time for another order.
"""


@dataclass(frozen=True, slots=True)
class Resumed:
    """What a resume ended: that the account was down or suspended, that a person had paused it."""

    halted: bool
    held: bool

    def __bool__(self) -> bool:
        return self.halted or self.held


@dataclass(frozen=True, slots=True)
class BucketLevel:
    """What people see of a bucket: `tokens[i]` stand ready in the bucket of the limit i of the plan in force."""

    next_slot_s: float
    lines: Lines
    tokens: tuple[float, ...]
    plan: Plan
    orders: Orders = NO_ORDERS


class TokenBucket:
    """All limits of one account at once, for every process that shares the Redis.

    Args:
        store: the Redis that everyone shares; its clock is the only clock.
        account: the account's name.
        plan: its limits by the settings; a person may have ordered others.
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
        self.orders_key = f"warrooms:{{{account}}}:limit"
        self._calls_key = f"warrooms:{{{account}}}:calls"
        self._history_key = f"warrooms:{{{account}}}:history"
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
        return self.answer(self._call(*_acquire(lane.value, ticket=ticket)))

    def asking(self, *, ticket: bool = False) -> tuple[list[str], list[str | int]]:
        """Keys and arguments of an `acquire` whose lane a script fills in: the ledger's, in the step of a claim."""
        return self._asks(*_acquire("", ticket=ticket))

    def answer(self, reply: Sequence[Any]) -> Reserved | NotYet:
        """The reply to an `acquire`, read."""
        granted, wait, urgent, bulk, pause, receipt, level, interval, held = reply
        lines = _lines(urgent, bulk, pause, interval, held)
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

    def resume(self, *, ends_hold: bool = True) -> Resumed:
        """A person says that the account may be called again, also if another person paused it; what that ended."""
        halted, held = self._call("resume", int(ends_hold))
        if held:
            self._tell()
        return Resumed(halted=bool(halted), held=bool(held))

    def set_rates(self, rates: str, by: str, for_s: float | None = None) -> None:
        """A person sets the rates, for all workers at once.

        Args:
            rates: in `limits`' notation.
            by: who.
            for_s: for how long, in seconds; None means for good.

        Raises:
            SettingsError: the text is no list of rates.
        """
        plan = plan_of(rates, self.plan.limits[0].spread_us)
        limits = ",".join(f"{limit.interval_us}:{limit.tolerance_us}" for limit in plan.limits)
        self._call("set", rates, limits, plan.most_within(LOSES_S), _us(for_s), by)
        self._tell()

    def unset_rates(self) -> bool:
        """The rates of the settings hold again; False if they did."""
        (was,) = self._call("unset")
        self._tell()
        return bool(was)

    def hold(self, by: str, for_s: float | None = None) -> None:
        """A person pauses the account, for all workers at once; `for_s` seconds, or until it is resumed."""
        self._call("hold", _us(for_s), by)
        self._tell()

    def trouble(self) -> Trouble | None:
        """Why the account is down or suspended; None if it is called as usual."""
        (trouble,) = self._store.together([self.trouble_reading()])
        return trouble

    def trouble_reading(self) -> Reading[Trouble | None]:
        """The same, to be read with others."""
        return Reading(lambda pipe: pipe.hgetall(self.trouble_key), lambda replies: _trouble(replies[0]))

    def peek(self) -> BucketLevel:
        """The state now; changes nothing."""
        return self._level(self._call("peek"))

    def level_reading(self) -> Reading[BucketLevel]:
        """The same, to be read with others."""
        return Reading(
            lambda pipe: self._script.later(pipe, *self._asks("peek")), lambda replies: self._level(replies[0])
        )

    def _level(self, reply: list[Any]) -> BucketLevel:
        pause, next_slot, urgent, bulk, interval, held, tokens, ordered = reply
        texts = [part.decode() if isinstance(part, bytes) else part for part in ordered]  # the client may be `limits`'
        orders = Orders.of(dict(zip(texts[::2], texts[1::2], strict=True)))
        return BucketLevel(
            next_slot / SECOND_US,
            _lines(urgent, bulk, pause, interval, held),
            tuple(thousandths / 1000 for thousandths in tokens),
            orders.plan(self.plan),
            orders,
        )

    def history(self, now_s: float | None = None) -> History:
        """What went out in the last day; `now_s`, seconds since the epoch, is passed by tests only."""
        (history,) = self._store.together([self.history_reading(now_s)])
        return history

    def history_reading(self, now_s: float | None = None) -> Reading[History]:
        """The same, to be read with others."""

        def ask(pipe: Any) -> None:  # noqa: ANN401
            pipe.hgetall(self._history_key)
            pipe.hmget(self.key, "w", "v", "z")
            pipe.lrange(self._calls_key, 0, -1)
            pipe.time()

        def read(replies: list[Any]) -> History:
            kept, (hour, ten, looked_to), slots_us, (seconds, _) = replies
            fresh = Fresh([*map(int, slots_us)], int(looked_to or 0))
            return History.of(kept, hour, ten, seconds if now_s is None else now_s, fresh)

        return Reading(ask, read)

    def spent(self) -> Spent:
        """What went out in the last minute."""
        (spent,) = self._store.together([self.spent_reading()])
        return spent

    def spent_reading(self) -> Reading[Spent]:
        """The same, to be read with others."""

        def ask(pipe: Any) -> None:  # noqa: ANN401
            pipe.lrange(self._calls_key, 0, -1)
            pipe.time()

        def read(replies: list[Any]) -> Spent:
            slots_us, (seconds, micros) = replies
            return Spent(tuple(sorted(map(int, slots_us))), seconds * SECOND_US + micros)

        return Reading(ask, read)

    def clear(self) -> None:
        """Forgets the state: the bucket starts again, empty. What people ordered holds, what went out went out."""
        with self._store.errors():
            pipe = self._store.client.pipeline()
            pipe.hdel(self.key, *_STATE)
            pipe.delete(self.trouble_key)
            pipe.execute()

    def _tell(self) -> None:
        """Says to all workers that something was ordered: those that wait look again."""

        def tell() -> None:
            self._store.client.set(ORDERS_KEY, secrets.token_hex(8), ex=A_DAY_S)

        self._store.held(tell)

    def _call(self, command: str, *args: str | int) -> Any:  # noqa: ANN401
        return self._script(*self._asks(command, *args))

    def _asks(self, command: str, *args: str | int) -> tuple[list[str], list[str | int]]:
        now = "" if self._clock is None else self._clock()
        keys = [self.key, self.trouble_key, self.orders_key, self._calls_key, self._history_key]
        return keys, [command, now, *self._head, *args]


def _lines(urgent: int, bulk: int, pause: int, interval: int, held: int) -> Lines:
    waits = (urgent / SECOND_US, bulk / SECOND_US, pause / SECOND_US)
    return Lines(*waits, interval_s=interval / SECOND_US, held=bool(held))


def _acquire(lane: str, *, ticket: bool) -> tuple[str, str, int, int]:
    return "acquire", lane, int(ticket), URGENT_IN_A_ROW


def _us(seconds: float | None) -> str | int:
    return "" if seconds is None else round(seconds * SECOND_US)


def _trouble(why: Mapping[str, str]) -> Trouble | None:
    if not why:
        return None
    return Trouble(
        level=Level(int(why["level"])),
        since=int(why["since"]) / 1000,
        probes=int(why["probes"]),
        **{name: why[name] for name in ("code", "message", "hint", "request_id")},
    )
