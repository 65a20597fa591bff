"""What `warrooms limit …` says of an account's limits, as text and as JSON. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from producers.console import about, duration, iso, local, many, number
from producers.pausing import next_slot_s, order_json, ordered, pause_s, paused
from producers.watching import per_minute

if TYPE_CHECKING:
    from producers.forecast import Forecast
    from producers.halts import Halt
    from worker.history import History, Most
    from worker.orders import Order
    from worker.rate_limit import Plan


A_MINUTE_S: Final = 60.0


def rates(plan: Plan) -> str:
    """The limits, and the speed that keeps them: `50/1s;1000/60s (we keep 992/min)`."""
    return f"{plan} (we keep {per_minute(plan.rate_per_s)})"


def drained(forecast: Forecast, plan: Plan | None = None) -> str:
    """How long what waits takes, in words; at other limits, if `plan` is given."""
    jobs = forecast.waiting
    if not jobs:
        return "no job waits"
    takes_s = forecast.empty_in_s() if plan is None else forecast.at_limits(plan).empty_in_s()
    waiting = f"the {many(jobs, 'job')} that wait{'s' if jobs == 1 else ''}"
    if takes_s is None:
        return f"{waiting}: nobody knows how long"
    pause = " (the pause included)" if forecast.level.lines.pause_s > 0 else ""
    return f"{waiting} take{'s' if jobs == 1 else ''} {about(takes_s)}{pause}"


def account_lines(name: str, configured: Plan, forecast: Forecast, now_s: float, halt: Halt | None = None) -> list[str]:
    """An account's limits for people; `halt` says why it is not called, if it is down or suspended."""
    level = forecast.level
    lines = [f"account {name}", f"  limit    {rates(level.plan)}{_whose(level.orders.set, configured, now_s)}"]
    if halt is not None:
        lines.append(f"  trouble  {halt.short()}; why, and what to do: warrooms status")
    if halt is None or level.lines.held:
        state = paused(name, level, now_s)
        lines.append(f"  bucket   {state or ready(min(level.tokens, default=0.0), level.next_slot_s)}")
    return [*lines, f"  waiting  {drained(forecast)}"]


def _whose(order: Order | None, configured: Plan, now_s: float) -> str:
    if order is None:
        return ", as configured"
    return f", set {ordered(order, now_s)}; configured are {configured}: warrooms limit set --configured"


def ready(tokens: float, in_s: float) -> str:
    """When the next call may go out, in words."""
    if in_s > A_MINUTE_S:
        return f"the next call may go out in {duration(in_s)}"
    if in_s > 0:
        return f"the next call may go out in {in_s:.2f} s"
    return f"{many(int(tokens), 'call')} may go out at once"


def history_lines(kept: History, configured: Plan) -> list[str]:
    """What went out in the last day, hour by hour, for people."""
    if not kept.hours:
        return ["  history  no call went out in the last 24 hours"]
    lines = [
        f"  history  {many(kept.calls, 'call')} since {_at(kept.hours[0].began_at, 'minutes')}",
        f"    worst second  {_most(kept.second, configured, 1)}",
        f"    worst minute  {_most(kept.minute, configured, 60)}",
        "    hour                         calls   worst second   worst minute",
    ]
    for hour in kept.hours:
        began = _at(hour.began_at, "minutes")
        lines.append(f"    {began} {number(hour.calls):>11} {hour.second.calls:>14} {number(hour.minute.calls):>14}")
    return lines


def _most(most: Most, configured: Plan, window_s: int) -> str:
    of = next((f" of {number(limit.amount)}" for limit in configured.limits if limit.window_us == window_s * 10**6), "")
    return f"{number(most.calls)}{of}, until {_at(most.at, 'seconds')}"


def _at(moment_s: float, to: str) -> str:
    """A local time with its offset."""
    return local(moment_s).isoformat(sep=" ", timespec=to)


def account_json(
    name: str, configured: Plan, forecast: Forecast, kept: History | None, halt: Halt | None = None
) -> dict[str, object]:
    """An account's limits for machines."""
    level = forecast.level
    empty_in_s = forecast.empty_in_s()
    value: dict[str, object] = {
        "account": name,
        "rates": str(level.plan),
        "configured_rates": str(configured),
        "allowed_per_minute": round(level.plan.allowed_per_s * 60, 1),
        "sustained_per_minute": round(level.plan.rate_per_s * 60, 1),
        "set": order_json(level.orders.set),
        "paused": order_json(level.orders.hold),
        "trouble": None if halt is None else halt.as_json(),
        "pause_s": pause_s(level),
        "tokens": [max(0.0, tokens) for tokens in level.tokens],
        "next_slot_s": next_slot_s(level),
        "waiting": forecast.waiting,
        "empty_in_s": None if empty_in_s is None else round(empty_in_s, 1),
    }
    return value if kept is None else value | {"history": _history_json(kept)}


def _history_json(kept: History) -> dict[str, object]:
    def most(one: Most) -> dict[str, object]:
        return {"calls": one.calls, "until": iso(one.at) if one.calls else None}

    return {
        "calls": kept.calls,
        "worst_second": most(kept.second),
        "worst_minute": most(kept.minute),
        "hours": [
            {
                "began_at": iso(hour.began_at),
                "calls": hour.calls,
                "worst_second": most(hour.second),
                "worst_minute": most(hour.minute),
            }
            for hour in kept.hours
        ],
        "ten_seconds": list(kept.tens),
    }
