"""How accounts and batches are doing, as JSON and as text. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from producers.answers import BatchView, batch_json, record_json
from producers.cli.limit_text import ready
from producers.cli.views import failure_lines
from producers.console import about, number, when
from producers.pausing import next_slot_s, pause_s, paused, paused_json
from producers.watching import per_minute
from worker.jobs import JobState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from producers.crew import Crew
    from producers.forecast import Forecast
    from producers.halts import Halt
    from worker.records import Progress, Record
    from worker.settings import Account


@dataclass(frozen=True, slots=True)
class AccountView:
    """One account: its jobs, its outlook, its newest batches and dead letters, why it waits, and who works for it."""

    account: Account
    progress: Progress
    forecast: Forecast
    batches: Sequence[BatchView]
    failures: Sequence[Record]
    halt: Halt | None = None
    crew: Crew | None = None

    @property
    def queued(self) -> int:
        """Jobs in line, in both lanes."""
        return max(0, self.progress.states[JobState.QUEUED])

    @property
    def urgent(self) -> int:
        """Jobs in the urgent line."""
        return min(max(0, self.progress.queued_urgent), self.queued)

    @property
    def drain_s(self) -> float | None:
        """The time until every job has its room, if nothing is added and no attempt fails; in seconds.

        None if nobody can say: jobs wait, and the account is not called or no worker lives.
        """
        return self.forecast.empty_in_s()

    @property
    def unread(self) -> int:
        """Messages of other clients that no worker has read, about."""
        return self.forecast.standing.unread_urgent + self.forecast.standing.unread_bulk


def account_json(view: AccountView) -> dict[str, object]:
    """The account for machines."""
    states, plan = view.progress.states, view.forecast.plan
    return {
        "account": view.account.name,
        "queued": {"urgent": view.urgent, "bulk": view.queued - view.urgent},
        "unread": view.unread,
        **{state.value: max(0, states[state]) for state in JobState if state is not JobState.QUEUED},
        "limit": {
            "rates": str(plan),
            "allowed_per_minute": round(plan.allowed_per_s * 60, 1),
            "sustained_per_minute": round(plan.rate_per_s * 60, 1),
        },
        "bucket": {
            "tokens": [max(0.0, tokens) for tokens in view.forecast.level.tokens],
            "next_slot_s": next_slot_s(view.forecast.level),
            "pause_s": pause_s(view.forecast.level),
        },
        "paused": paused_json(view.forecast.level),
        "trouble": None if view.halt is None else view.halt.as_json(),
        "workers_alive": None if view.crew is None else view.crew.alive,
        "workers": [] if view.crew is None else view.crew.as_json(),
        "drain_s": None if view.drain_s is None else round(view.drain_s, 1),
        "batches": [batch_json(batch) for batch in view.batches],
        "failed_jobs": [record_json(record) for record in view.failures],
    }


def account_lines(view: AccountView, now_s: float) -> list[str]:
    """The account for people."""
    states, plan = view.progress.states, view.forecast.plan
    now = [f"queued {number(view.urgent)} urgent + {number(view.queued - view.urgent)} bulk"]
    now += [f"{state.value} {number(max(0, states[state]))}" for state in (JobState.OPENING, JobState.RETRYING)]
    now += [f"about {number(view.unread)} sent by other clients and not read yet"] if view.unread else []
    ended = [f"{state.value} {number(max(0, states[state]))}" for state in (JobState.OPENED, JobState.FOUND)]
    ended += [f"{number(max(0, states[state]))} {state.value}" for state in (JobState.FAILED, JobState.CANCELLED)]
    lines = [
        f"account {view.account.name}",
        *_halt_lines(view, now_s),
        f"  now      {', '.join(now)}",
        f"  ended    {', '.join(ended)}",
        f"  limit    {plan} (we keep {per_minute(plan.rate_per_s)}); {_bucket(view, now_s)}",
    ]
    if view.crew is not None:
        lines.append(f"  workers  {view.crew.text(view.progress.waiting)}")
    if view.drain_s:
        lines.append(f"  empty    in {about(view.drain_s)}")
    lines += [f"  {batch_line(batch, now_s)}" for batch in view.batches]
    if view.failures:
        lines += [
            "  failed last (all of them: warrooms failed list):",
            *(f"  {line}" for line in failure_lines(view.failures)),
        ]
    return lines


def _halt_lines(view: AccountView, now_s: float) -> list[str]:
    if view.halt is None:
        return []
    (state, why), *rest = view.halt.rows(now_s, view.progress.waiting)
    return [f"  {state}: {why}", *(f"  {name:<9}{text}" for name, text in rest)]


def _bucket(view: AccountView, now_s: float) -> str:
    level = view.forecast.level
    if view.halt is not None and not level.lines.held:
        return view.halt.next_probe()
    if why := paused(view.account.name, level, now_s):
        return why
    return ready(min(level.tokens, default=0.0), level.next_slot_s)


def batch_line(view: BatchView, now_s: float) -> str:
    """The batch in one line of text."""
    failed = view.states[JobState.FAILED]
    parts = [f"{number(view.finished)} of {number(view.total)} done"]
    parts += [f"{number(failed)} failed"] if failed else []
    parts += [
        f"{number(view.states[state])} {state.value}"
        for state in (JobState.QUEUED, JobState.OPENING, JobState.RETRYING, JobState.CANCELLED)
        if view.states[state]
    ]
    since = f", begun {when(view.created_at, now_s)}" if view.created_at is not None else ""
    done_by = f", done by {when(max(view.done_by, now_s), now_s)}" if view.done_by is not None else ""
    return f"batch {view.name}: {', '.join(parts)}{since}{done_by}"
