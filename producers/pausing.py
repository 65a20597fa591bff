"""Why an account is not called just now: a person's pause, or the API's. In words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from producers.console import duration, when

if TYPE_CHECKING:
    from worker.orders import Order
    from worker.token_bucket import BucketLevel


def paused(level: BucketLevel, now_s: float) -> str:
    """Why and for how long the account is paused; empty if it is not."""
    hold = level.orders.hold
    if hold is not None and level.lines.held:
        return f"paused {ordered(hold, now_s)}: go on with: warrooms limit resume"
    if level.lines.pause_s > 0:
        return f"paused for {duration(level.lines.pause_s)}: the API said 429"
    return ""


def ordered(order: Order, now_s: float) -> str:
    """Whose order it is, since when and until when."""
    until = "" if order.until is None else f", until {when(order.until, now_s)}"
    return f"by {order.by} since {when(order.at, now_s)}{until}"
