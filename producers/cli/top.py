"""`warrooms top`: the accounts live on a terminal, until Ctrl-C; elsewhere once, and as JSON a line every look."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.live import Live
from rich.segment import Segment, Segments
from rich.text import Text

from producers import console
from producers.board import Board
from producers.board_json import board_json
from producers.cli.desks import open_desks
from producers.cli.exits import Exit
from producers.cli.top_view import view
from producers.glance import BATCHES, glance
from worker.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import ConsoleOptions, RenderResult

    from producers.desk import Desk

WIDTH: Final = 100
"""Columns where there is no terminal and COLUMNS does not say."""


def top(account: str | None, *, every_s: float, once: bool, json: bool) -> Exit:
    """Shows the board every so many seconds, or once.

    Raises:
        BadInput: no such account.
        QueueUnavailable: Redis does not answer when it begins, or for the only look; later it is said, and it goes on.
    """
    desks = open_desks(account)
    if json:
        _lines(desks, every_s, once=once)
    elif once or not sys.stdout.isatty():
        _once(desks)
    else:
        _screen(desks, every_s)
    return Exit.DONE


def _look(desks: Sequence[Desk]) -> Board:
    return Board.of([glance(desk) for desk in desks], BATCHES)


def _once(desks: Sequence[Desk]) -> None:
    width = None if sys.stdout.isatty() or _columns_are_set() else WIDTH
    Console(file=sys.stdout, width=width, markup=False, emoji=False, highlight=False).print(Whole(_look(desks)))


def _columns_are_set() -> bool:
    """Whether COLUMNS says how wide it is; rich reads it."""
    columns = os.environ.get("COLUMNS", "")
    return columns.isdigit() and int(columns) > 0


def _lines(desks: Sequence[Desk], every_s: float, *, once: bool) -> None:
    while True:
        try:
            console.answer_json(board_json(_look(desks)))
        except QueueUnavailable as error:
            if once:
                raise
            console.remark(str(error))
        if once:
            return
        time.sleep(every_s)


def _screen(desks: Sequence[Desk], every_s: float) -> None:
    out = Console(file=sys.stdout, markup=False, emoji=False, highlight=False)
    board, trouble = _look(desks), ""
    with Live(console=out, screen=True, auto_refresh=False) as live:
        while True:
            live.update(Fitted(board, trouble), refresh=True)
            time.sleep(every_s)
            try:
                board, trouble = _look(desks), ""
            except QueueUnavailable as error:
                trouble = f"not updated since {console.local(board.at_s):%H:%M:%S}: {error}"


class Whole:
    """All of the board, without blanks at the ends of its lines: it is read in pipes, files and chats.

    Args:
        board: what was seen.
    """

    def __init__(self, board: Board) -> None:
        self._board = board

    def __rich_console__(self, out: Console, options: ConsoleOptions) -> RenderResult:
        """The lines."""
        for line in out.render_lines(view(self._board, options.max_width), options.update(height=None), pad=False):
            yield Segments([*_trimmed(line), Segment.line()])


def _trimmed(line: list[Segment]) -> list[Segment]:
    """The line without the blanks at its end."""
    end = len(line)
    while end and not line[end - 1].text.strip():
        end -= 1
    return [*line[: end - 1], Segment(line[end - 1].text.rstrip(), line[end - 1].style)] if end else []


class Fitted:
    """The board cut to the height of the screen; the last line says how much is cut, the first what is wrong.

    Args:
        board: what was seen last.
        trouble: why nothing newer was; empty if it is the newest.
    """

    def __init__(self, board: Board, trouble: str = "") -> None:
        self._board = board
        self._trouble = trouble

    def __rich_console__(self, out: Console, options: ConsoleOptions) -> RenderResult:
        """The lines."""
        lines = out.render_lines(view(self._board, options.max_width), options.update(height=None), pad=False)
        height = max(2, options.max_height)
        trouble = self._wrapped_trouble(out, options, most=height - 2)
        kept = height - 1 - len(trouble)
        rest = len(lines) - kept
        for line in [*trouble, *lines[:kept]]:
            yield Segments([*line, Segment.line()])
        foot = Text(self._cut(rest) if rest > 0 else "Ctrl-C ends", style="dim")
        foot.truncate(options.max_width, overflow="ellipsis")
        yield foot

    def _wrapped_trouble(self, out: Console, options: ConsoleOptions, most: int) -> list[list[Segment]]:
        """What is wrong, above all that is no longer true; whole, as far as there is room."""
        if not self._trouble:
            return []
        text = Text(console.clean(self._trouble), style="bold red", overflow="fold")
        return out.render_lines(text, options.update(height=None), pad=False)[: max(1, most)]

    def _cut(self, rest: int) -> str:
        one = "warrooms top --account NAME, or " if len(self._board.accounts) > 1 else ""
        return f"{console.many(rest, 'more line')}: {one}a taller window"
