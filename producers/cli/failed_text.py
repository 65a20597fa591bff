"""Dead letters in words: a line each, their sum by code, and everything about one. Pure."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from producers.choice import code_of
from producers.cli.views import account_option, hint_of, outcome_of, replay_command, to_do
from producers.console import local, many, number, when

if TYPE_CHECKING:
    from worker.records import Record

CODE_WIDTH: Final = 16


@dataclass(slots=True)
class Sum:
    """How many dead letters there are of which code, and what to do about each; grows by codes, not by jobs."""

    counts: Counter[str] = field(default_factory=Counter)
    hints: dict[str, str] = field(default_factory=dict)
    unknown: int = 0

    def add(self, record: Record) -> None:
        """Counts one."""
        code = code_of(record)
        self.counts[code] += 1
        self.unknown += record.look_first
        if code not in self.hints and (hint := hint_of(record)):
            self.hints[code] = hint

    @property
    def total(self) -> int:
        """All that were counted."""
        return self.counts.total()

    def by_code(self) -> list[dict[str, object]]:
        """For machines, the most frequent first."""
        return [
            {"code": None if code == "none" else code, "count": count, "hint": self.hints.get(code, "")}
            for code, count in self.counts.most_common()
        ]

    def text(self) -> str:
        """`2 dead letters: 1 Timeout, 1 NotJson`."""
        codes = ", ".join(f"{number(count)} {code}" for code, count in self.counts.most_common())
        return f"{many(self.total, 'dead letter')}: {codes}" if self.total else "no dead letter"


def list_line(record: Record) -> str:
    """One dead letter in one line: when, job, code, attempts, reason."""
    moment = local(record.finished_at or record.updated_at).isoformat(sep=" ", timespec="seconds")
    tries = f"{many(record.attempts, 'attempt'):<11}"
    return f"{moment}  {record.job.id}  {code_of(record):<{CODE_WIDTH}}  {tries}  {reason(record)}"


def reason(record: Record) -> str:
    """Why it failed, without the code that stands beside it."""
    status = f" (HTTP {record.status})" if record.status is not None else ""
    return record.message.removeprefix(f"{record.code}{status}: ") or "no reason is known"


def sum_lines(found: Sum, account: str | None) -> list[str]:
    """The sum by code, with what to do about each."""
    if not found.total:
        return []
    lines = [many(found.total, "dead letter")]
    for code, count in found.counts.most_common():
        hint = found.hints.get(code, "")
        lines.append(f"{number(count):>7} {code:<{CODE_WIDTH}}  {hint}".rstrip())
    if found.unknown:
        lines.append(f"{number(found.unknown)} of them may have opened a room: a replay looks before it opens one")
    (most_frequent, _), *_ = found.counts.most_common(1)
    code = shlex.quote(most_frequent)  # the API's own text, and a person may paste it
    return [*lines, f"when the cause is mended: warrooms failed replay --code {code}{account_option(account)}"]


def show_lines(record: Record, now_s: float) -> list[str]:
    """Everything about one dead letter."""
    job = record.job
    first = record.first_failed_at if record.first_failed_at is not None else record.finished_at
    rows = {
        "reason": reason(record),
        "code": code_of(record) + (f", HTTP {record.status}" if record.status is not None else ""),
        "attempts": number(record.attempts),
        "outcome": outcome_of(record),
        "request": record.request_id,
        "queued": when(record.created_at, now_s),
        "first": when(first, now_s) if first is not None else "",
        "last": when(record.finished_at, now_s) if record.finished_at is not None else "",
        "lane": job.lane.value,
        "members": ", ".join(map(str, job.member_ids)) + (" and the observers" if job.add_observers else ""),
        "batches": ", ".join(record.batches),
        "to do": to_do(record),
        "or": f"give it up: {replay_command(record).replace(' replay ', ' drop ')}",
    }
    return [f"{job.id}: a dead letter", *(f"  {name:<9}{text.strip()}" for name, text in rows.items() if text)]
