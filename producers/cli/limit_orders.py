"""`warrooms limit show|set|pause|what-if`: what an account may do, and what people order."""

from __future__ import annotations

import getpass
import socket
import time
from typing import TYPE_CHECKING

from producers import console
from producers.bad_input import BadInput
from producers.cli.desks import open_desks
from producers.cli.exits import Exit
from producers.cli.limit_text import account_json, account_lines, drained, history_lines, rates
from producers.look import look
from producers.outlook import outlook
from producers.span import length_s
from worker.rate_limit import plan_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from producers.desk import Desk
    from worker.rate_limit import Plan


def show(account: str | None, *, history: bool, json: bool) -> Exit:
    """Shows the limits, the bucket and, if asked, what went out in the last day.

    Raises:
        BadInput: no such account.
        QueueUnavailable: Redis does not answer.
    """
    desks = open_desks(account)
    if json:
        _answer_json(desks, history=history)
        return Exit.DONE
    for desk in desks:
        console.answer(*_lines(desk))
        if history:
            console.answer(*history_lines(desk.bucket.history(), desk.account.plan))
    return Exit.DONE


def set_(
    new_rates: str | None, span: str | None, account: str | None, *, configured: bool, above: bool, json: bool
) -> Exit:
    """Sets the rates of an account while the workers run, or takes that back.

    Raises:
        BadInput: no such account, or rates that the API may refuse.
        SettingsError: no rates, or no span of time.
        QueueUnavailable: Redis does not answer.
    """
    if configured == (new_rates is not None):
        raise BadInput("give either RATES, like '20/second;500/minute', or --configured")
    for_s = _span_s(span)
    if configured and for_s is not None:
        raise BadInput("--for says how long RATES hold; --configured takes them back for good")
    desk = _one(account)
    if new_rates is None:
        desk.bucket.unset_rates()
    else:
        _check(_plan(new_rates, desk), desk, above=above)
        desk.bucket.set_rates(new_rates, _by(), for_s)
    return _told(desk, json=json)


def pause(span: str | None, account: str | None, *, json: bool) -> Exit:
    """Lets no call of the account go out for a while, or until it is resumed; jobs wait and lose nothing.

    Raises:
        BadInput: no such account.
        SettingsError: no span of time.
        QueueUnavailable: Redis does not answer.
    """
    for_s = _span_s(span)
    desk = _one(account)
    desk.bucket.hold(_by(), for_s)
    return _told(desk, json=json)


def what_if(new_rates: str, account: str | None, *, json: bool) -> Exit:
    """Says how long what waits would take at other rates; changes nothing.

    Raises:
        BadInput: no such account.
        SettingsError: no rates.
        QueueUnavailable: Redis does not answer.
    """
    told = []
    for desk in open_desks(account):
        plan, forecast = _plan(new_rates, desk), outlook(desk)
        broken = plan.breaks(desk.account.plan)
        if json:
            now_s, then_s = forecast.empty_in_s(), forecast.at_limits(plan).empty_in_s()
            told.append(
                {
                    "account": desk.account.name,
                    "rates": str(plan),
                    "sustained_per_minute": round(plan.rate_per_s * 60, 1),
                    "waiting": forecast.waiting,
                    "empty_in_s": None if then_s is None else round(then_s, 1),
                    "empty_in_s_now": None if now_s is None else round(now_s, 1),
                    "breaks": None if broken is None else str(broken),
                }
            )
            continue
        console.answer(
            f"account {desk.account.name}",
            f"  now      {rates(forecast.level.plan)}: {drained(forecast)}",
            f"  then     {rates(plan)}: {drained(forecast, plan)}",
        )
        if broken is not None:
            console.answer(f"  but      the API allows {broken}: it would answer 429")
    if json:
        console.answer_json({"accounts": told})
    return Exit.DONE


def _told(desk: Desk, *, json: bool) -> Exit:
    if json:
        _answer_json([desk], history=False)
    else:
        console.answer(*_lines(desk))
    return Exit.DONE


def _lines(desk: Desk) -> list[str]:
    seen = look(desk)
    return account_lines(desk.account.name, desk.account.plan, seen.forecast, time.time(), seen.halt)


def _answer_json(desks: Sequence[Desk], *, history: bool) -> None:
    told = []
    for desk in desks:
        seen, kept = look(desk), desk.bucket.history() if history else None
        told.append(account_json(desk.account.name, desk.account.plan, seen.forecast, kept, seen.halt))
    console.answer_json({"accounts": told})


def _one(account: str | None) -> Desk:
    """The desk that is meant: with several accounts it must be named, or a slip would stop them all."""
    desks = open_desks(account)
    if len(desks) > 1:
        names = ", ".join(desk.account.name for desk in desks)
        raise BadInput(f"there are several accounts: say which one with --account NAME ({names})")
    return desks[0]


def _plan(new_rates: str, desk: Desk) -> Plan:
    return plan_of(new_rates, desk.account.plan.limits[0].spread_us)


def _check(plan: Plan, desk: Desk, *, above: bool) -> None:
    broken = plan.breaks(desk.account.plan)
    if broken is not None and not above:
        raise BadInput(
            f"{plan} could send more than {broken}, which the settings say the API allows (WARROOMS_RATES or "
            f"its rates in WARROOMS_ACCOUNTS_FILE): it would answer 429; if it allows more now, say --above"
        )


def _span_s(text: str | None) -> float | None:
    return None if text is None else length_s("--for", text)


def _by() -> str:
    """Who types this."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = "somebody"
    return console.clean(f"{name}@{socket.gethostname()}")[:100]
