"""Why an account is not called just now: a person's pause, or the API's. In words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import TypedDict  # pydantic cannot read typing's own before Python 3.12

from producers.console import duration, iso, when

if TYPE_CHECKING:
    from worker.orders import Order
    from worker.token_bucket import BucketLevel


class PausedJson(TypedDict):
    """A person's pause, for machines."""

    by: str
    at: str | None
    until: str | None


def paused_json(level: BucketLevel) -> PausedJson | None:
    """The person's pause; None if there is none."""
    return order_json(level.orders.hold)


def order_json(order: Order | None) -> PausedJson | None:
    """A person's order."""
    return None if order is None else {"by": order.by, "at": iso(order.at), "until": iso(order.until)}


def pause_s(level: BucketLevel) -> float | None:
    """What is left of the account's pause, in seconds; None if it lasts until a person resumes it."""
    hold = level.orders.hold
    return None if hold is not None and hold.until is None else round(level.lines.pause_s, 1)


def next_slot_s(level: BucketLevel) -> float | None:
    """When the next call may go out, in seconds from now; None if a person must resume the account first."""
    return None if pause_s(level) is None else level.next_slot_s


def resume_command(account: str) -> str:
    """The command that calls this account again, and no other."""
    return "warrooms limit resume" + (f" --account {account}" if account != "default" else "")


def paused(account: str, level: BucketLevel, now_s: float) -> str:
    """Why and for how long the account is paused; empty if it is not."""
    hold = level.orders.hold
    if hold is not None and level.lines.held:
        return f"paused {ordered(hold, now_s)}: go on with: {resume_command(account)}"
    if level.lines.pause_s > 0:
        return f"paused for {duration(level.lines.pause_s)}: the API said 429"
    return ""


def ordered(order: Order, now_s: float) -> str:
    """Whose order it is, since when and until when."""
    until = "" if order.until is None else f", until {when(order.until, now_s)}"
    return f"by {order.by} since {when(order.at, now_s)}{until}"
