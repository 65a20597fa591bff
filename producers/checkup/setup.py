"""Is what was set here right: accounts, limits, keys, the API's address?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from producers.checkup.finding import Finding, note, ok, problem, warning
from producers.watching import per_minute

if TYPE_CHECKING:
    from worker.settings import Account


def wrong(message: str) -> Finding:
    """A setting that nothing can work with; the message names it."""
    return problem("settings", message, "correct it in the environment of workers and producers")


def account(one: Account) -> Finding:
    """An account's limits, and what a job of it gets that names no integration."""
    keep = f"{one.plan}, of which we keep {per_minute(one.plan.rate_per_s)}"
    if one.integration_id is not None:
        return ok(f"account {one.name}", f"{keep}; integration {one.integration_id} unless a job names another")
    return note(
        f"account {one.name}",
        f"{keep}; no default integration is set: a job that names none gets the only one there is, or is refused",
    )


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of an account's app key; never the key.

    Args:
        asked: whether this machine's settings name a place where the key is.
        fault: why there is no usable key; empty if there is one.
    """

    asked: bool
    fault: str = ""


def app_key(one: Account, key: Key) -> Finding:
    """Workers need the key, producers do not: that it is not there is no fault by itself."""
    what = f"key of {one.name}"
    if not key.fault:
        return ok(what, "there is one (it was not tried)")
    if key.asked:
        return warning(what, f"{key.fault}: no worker starts with it", "correct the variable, or the file it names")
    return note(what, "there is none here: right for a producer, but no worker starts", key.fault.partition(": ")[2])


def base_url(url: str, fault: str) -> Finding:
    """The API's address.

    Args:
        url: as it was set; shown only if it is right, since it may hold a secret.
        fault: what is wrong with it; empty if nothing is.
    """
    if fault:
        return problem("api", fault, "correct FLASHDUTY_BASE_URL")
    return ok("api", f"{url} (it was not called)")
