"""What people order while the workers run: other rates, or a pause. Kept in Redis, where the bucket reads it. Values.

The rates of the settings are what the API allows; an order may keep less of it, for a while or for good.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.rate_limit import SECOND_US, plan_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.rate_limit import Plan


@dataclass(frozen=True, slots=True)
class Order:
    """Who ordered something, and for how long; times in seconds since the epoch.

    Args:
        by: who.
        at: when.
        until: when it ends by itself; None if it does not.
    """

    by: str
    at: float
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Orders:
    """What holds for an account now.

    Args:
        rates: the rates that a person set; None if those of the settings hold.
        set: who set them.
        hold: who paused the account; None if nobody did.
    """

    rates: str | None = None
    set: Order | None = None
    hold: Order | None = None

    @classmethod
    def of(cls, stored: Mapping[str, str]) -> Orders:
        """The hash that the bucket keeps, read."""
        rates = stored.get("rates")
        hold = _order(stored, "hold") if "hold_until" in stored else None
        return cls(rates, None if rates is None else _order(stored, "rates"), hold)

    def plan(self, configured: Plan) -> Plan:
        """The limits in force."""
        if self.rates is None:
            return configured
        return plan_of(self.rates, configured.limits[0].spread_us)

    @property
    def next_end(self) -> float | None:
        """When the first of them ends by itself, in seconds since the epoch."""
        ends = [order.until for order in (self.set, self.hold) if order is not None and order.until is not None]
        return min(ends, default=None)


NO_ORDERS: Final = Orders()


def _order(stored: Mapping[str, str], what: str) -> Order:
    until = stored.get(f"{what}_until", "")
    at = int(stored.get(f"{what}_at", 0)) / SECOND_US
    return Order(stored.get(f"{what}_by", ""), at, int(until) / SECOND_US if until.isdigit() else None)
