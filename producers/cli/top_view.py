"""The board drawn for a terminal, of any width; the same facts as on the status page. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from producers.board import State
from producers.console import clean, local, many, number
from worker.jobs import JobState

if TYPE_CHECKING:
    from rich.console import RenderableType

    from producers.board import AccountBoard, BatchRow, Board, Gauge
    from worker.records import Record

BAR: Final = 20
"""Characters of a bar."""

NARROW: Final = 60
"""Columns below which tables leave out what is said elsewhere too."""

_STYLES: Final = {
    State.SUSPENDED: "bold red",
    State.DOWN: "bold red",
    State.NO_WORKER: "bold red",
    State.PAUSED: "yellow",
    State.HELD: "yellow",
    State.DRAINING: "green",
    State.IDLE: "dim",
}


def view(board: Board, width: int) -> Group:
    """All of it: who is in trouble, the accounts, the batches."""
    head = Text(f"warrooms  {local(board.at_s):%H:%M:%S}  ", style="bold")
    head.append(board.summary, style="not bold")
    parts: list[RenderableType] = [head, Text()]
    if len(board.accounts) > 1:
        parts += [_overview(board, width), Text(), *_batches(board, width)]
    for account in board.accounts:
        parts += _account(account, width)
    if len(board.accounts) <= 1:
        parts += _batches(board, width)
    return Group(*parts)


def _overview(board: Board, width: int) -> Table:
    table = _table("account", "state", "waiting", "calls/min", *([] if width < NARROW else ["empty", "dead"]))
    for account in board.accounts:
        calls = f"{number(account.calls_last_minute)} of {number(account.allowed_per_minute)}"
        more = [] if width < NARROW else [account.empty, number(account.letters_in_all)]
        table.add_row(_plain(account.name), _state(account), number(account.waiting), calls, *more)
    return table


def _account(account: AccountBoard, width: int) -> list[RenderableType]:
    title = Text(account.name, style="bold").append("  ").append_text(_state(account))
    parts: list[RenderableType] = [title]
    parts += [_row(term, text, "red" if account.state.troubled else "yellow") for term, text in account.why]
    parts += [_gauge(gauge, width) for gauge in account.gauges]
    room = max(10, min(len(account.plot.tens), width - 3))
    parts.append(Text(f"  {account.plot.characters(room)}", style="cyan", no_wrap=True))
    parts.append(_row("lately", account.plot.sentence()))
    second, minute = account.worst
    parts.append(_row("worst", f"second {number(second.calls)}, minute {number(minute.calls)}, of the last 24 h"))
    parts.append(_row("limits", account.limits))
    waiting = ", ".join(f"{number(count)} {lane}" for lane, count in account.lines)
    parts.append(_row("lines", waiting + (f"; the oldest waits {account.oldest}" if account.oldest else "")))
    parts.append(_row("empty", account.empty + _at(account.empty_at_s)))
    parts.append(_row("workers", f"{account.seen.crew.alive} alive"))
    letters = f"{many(account.letters_in_all, 'dead letter')}" + (", the newest:" if account.letters else "")
    parts.append(_row("failed", letters))
    parts += [_letter(record) for record in account.letters]
    return [*parts, Text()]


def _batches(board: Board, width: int) -> list[RenderableType]:
    if not board.batches:
        return [Text("no batch is known"), Text()]
    table = _table("batch", *([] if width < NARROW else [""]), "done", "failed", "time left")
    for row in board.batches:
        bar = [] if width < NARROW else [Text(_bar(row.view.finished, row.view.total), style="cyan", no_wrap=True)]
        table.add_row(_plain(row.view.name), *bar, _done(row), _failed(row), row.left + _at(row.view.done_by))
    return [table, Text()]


def _done(row: BatchRow) -> str:
    return f"{number(row.view.finished)} of {number(row.view.total)}"


def _failed(row: BatchRow) -> Text:
    failed = row.view.states[JobState.FAILED]
    return Text(number(failed), style="red" if failed else "dim")


def _gauge(gauge: Gauge, width: int) -> Padding:
    text = Text(gauge.text, overflow="fold")
    if gauge.spent is None or width < NARROW:
        return Padding(text, (0, 0, 0, 2))
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_row(Text(_bar(gauge.spent, gauge.limit.amount), style="cyan", no_wrap=True), text)
    return Padding(row, (0, 0, 0, 2))


def _letter(record: Record) -> Table:
    at = local(record.finished_at or record.updated_at)
    text = Text(f"{at:%m-%d %H:%M:%S} {record.job.incident_id} ", overflow="fold")
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_row(Text("    -", style="dim"), text.append(clean(record.message or "no reason is known"), style="red"))
    return row


def _state(account: AccountBoard) -> Text:
    return Text(account.state.value, style=_STYLES[account.state])


def _row(term: str, text: str, style: str = "") -> Table:
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_column(width=11, no_wrap=True)
    row.add_column(overflow="fold")
    row.add_row(Text(f"  {term}", style=style or "dim"), Text(clean(text), style=style))
    return row


def _table(*names: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in names:
        table.add_column(name, overflow="fold")
    return table


def _plain(text: str) -> Text:
    return Text(clean(text), style="bold")


def _bar(done: int, of: int) -> str:
    full = min(BAR, round(BAR * done / max(1, of)))
    return "█" * full + "░" * (BAR - full)


def _at(moment_s: float | None) -> str:
    return "" if moment_s is None else f" ({local(moment_s):%H:%M:%S})"
