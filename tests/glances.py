"""Glances at accounts, as the board's tests write them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from producers.crew import Crew
from producers.forecast import Forecast
from producers.glance import Glance
from tests.records import NOW_S, dead
from worker.history import TENS, History, Spent
from worker.jobs import JobState, Lane
from worker.newest import NewBatch, Newest
from worker.rate_limit import plan_of
from worker.records import Progress, Standing
from worker.settings import Account
from worker.slots import Lines
from worker.token_bucket import BucketLevel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from producers.halts import Halt
    from worker.orders import Orders
    from worker.records import Record

PLAN = plan_of("50/second;1000/minute")
NOW = Lines(0.0, 0.0, 0.0)
NONE = Standing(0, 0, 0, None)
NOTHING = Newest({}, [], 0)
CREW = Crew({"w1": 1.0})


def a_glance(
    name: str = "default",
    *,
    standing: Standing = NONE,
    lines: Lines = NOW,
    orders: Orders | None = None,
    crew: Crew = CREW,
    halt: Halt | None = None,
    tens: tuple[int, ...] = (0,) * TENS,
    slots_us: tuple[int, ...] = (),
    newest: Newest = NOTHING,
    oldest_s: float | None = None,
    rates: str = "50/second;1000/minute",
) -> Glance:
    """An account with one worker and nothing to do, unless said otherwise."""
    plan = plan_of(rates)
    level = BucketLevel(0.0, lines, (1.0,) * len(plan.limits), plan)
    level = level if orders is None else replace(level, orders=orders)
    halted = halt is not None or not crew.alive
    return Glance(
        account=Account(name=name, plan=plan),
        at_s=NOW_S,
        forecast=Forecast(level, standing, datetime.fromtimestamp(NOW_S, UTC), halted=halted),
        crew=crew,
        halt=halt,
        history=History((), tens),
        spent=Spent(slots_us, int(NOW_S * 1e6)),
        newest=newest,
        oldest_s=oldest_s,
    )


def batches(**states: Mapping[str, int]) -> dict[str, NewBatch]:
    """Batches by name, each by its states."""
    return {name.replace("_", "-"): a_batch(**of) for name, of in states.items()}


def a_batch(created_at: float = NOW_S - 60, **states: int) -> NewBatch:
    progress = Progress({state: states.get(state.value, 0) for state in JobState}, created_at=created_at)
    return NewBatch(progress, {Lane.BULK: states["queued"] - 1} if states.get("queued") else {})


def letters(*codes: str, **changes: Any) -> list[Record]:  # noqa: ANN401
    return [dead(code, **changes) for code in codes]
