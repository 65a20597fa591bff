"""Waiting for jobs with a person looking on: live on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final, Protocol

from producers import console
from producers.cli.desks import Patience, failures, known_batch, open_desks
from producers.cli.exits import Exit, Stopped
from producers.cli.interrupts import exit_of
from producers.cli.views import failure_lines
from producers.desk import batch_progress
from producers.look import look
from producers.outlook import batch_ends_in_s, last_of
from producers.pausing import pause_s, paused
from producers.watching import Sample, Watch, line, result
from worker.errors import QueueUnavailable
from worker.jobs import JobState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

    from rich.live import Live

    from producers.desk import Desk
    from producers.look import Look
    from producers.watching import View
    from worker.records import Progress, Record

LOOK_EVERY_S: Final = 0.5


class Display(Protocol):
    """Shows the view."""

    def show(self, view: View) -> None:
        """Shows it now, or not, as the display likes."""

    def close(self) -> None:
        """Leaves the terminal as it was."""


def watch(batch: str | None, account: str | None, *, every_s: float, json: bool) -> Exit:
    """Shows the progress of a batch, or of the accounts, until no job waits.

    Raises:
        BadInput: no such batch or account.
        Stopped: Ctrl-C.
    """
    desks = open_desks(account, hold=Patience(quiet=json))
    if batch is not None:
        known_batch(desks, batch)
    display = JsonLines(every_s) if json else display_on(sys.stdout, every_s)
    view = follow(desks, batch, display)
    if not json:
        console.answer(result(view))
        if view.failed:
            console.answer(*failure_lines(failures(desks, batch)))
    return Exit.JOBS_FAILED if view.failed else Exit.DONE


def ended(batch: str, *, quiet: bool) -> tuple[View, list[Record]]:
    """Waits until a batch that was just queued is finished: how it ended, and its last dead letters.

    Raises:
        Stopped: Ctrl-C; the jobs go on.
        QueueUnavailable: Redis is away for longer than our patience.
    """
    desks = open_desks(None, hold=Patience(quiet=quiet))
    view = follow(desks, batch, Silent() if quiet else display_on(sys.stderr, 5.0))
    return view, failures(desks, batch) if view.failed else []


def follow(desks: Sequence[Desk], batch: str | None, display: Display) -> View:
    """Waits until nothing watched waits; the last view.

    Raises:
        Stopped: Ctrl-C; the jobs go on.
        QueueUnavailable: Redis is away for longer than our patience.
    """
    first = take_sample(desks, batch)
    # A batch has counts of its own; an account has counted since its first job.
    watched = Watch(None if batch else first)
    view = watched.see(first)
    try:
        display.show(view)
        while not view.finished:
            time.sleep(LOOK_EVERY_S)
            view = watched.see(take_sample(desks, batch))
            display.show(view)
    except KeyboardInterrupt as asked:
        display.close()
        again = f"warrooms watch --batch {batch}" if batch else "warrooms watch"
        raise Stopped(f"stopped watching; the jobs go on, look again with: {again}", exit_of(asked)) from None
    finally:
        display.close()
    return view


def take_sample(desks: Sequence[Desk], batch: str | None) -> Sample:
    """The watched jobs now."""
    lines = {desk.account.name: desk.ledger.progress() for desk in desks}
    mine = lines if batch is None else batch_progress(desks, batch)
    if not mine:
        raise QueueUnavailable(f"batch {batch} is gone from Redis: was its data lost? Hand the jobs in again")
    busy = [desk for desk in desks if desk.account.name in mine and mine[desk.account.name].waiting > 0]
    looks = [look(desk) for desk in busy]
    if batch is None:
        ends_in_s = last_of(seen.forecast.empty_in_s() for seen in looks)
    else:
        ends_in_s = last_of(
            batch_ends_in_s(desk, seen.forecast, batch, mine[desk.account.name])
            for desk, seen in zip(busy, looks, strict=True)
        )
    longest = max(looks, key=lambda seen: seen.forecast.level.lines.pause_s, default=None)
    plans = [seen.forecast.plan for seen in looks]
    plans = plans or [desk.account.plan for desk in desks if desk.account.name in mine]
    return Sample(
        at_s=time.monotonic(),
        queued=_count(mine.values(), JobState.QUEUED),
        opening=_count(mine.values(), JobState.OPENING),
        retrying=_count(mine.values(), JobState.RETRYING),
        opened=_count(mine.values(), JobState.OPENED),
        found=_count(mine.values(), JobState.FOUND),
        failed=_count(mine.values(), JobState.FAILED),
        cancelled=_count(mine.values(), JobState.CANCELLED),
        line=sum(lines[desk.account.name].waiting for desk in busy),
        rate_per_s=sum(plan.rate_per_s for plan in plans) or 1.0,
        allowed_per_s=sum(plan.allowed_per_s for plan in plans) or 1.0,
        ends_in_s=ends_in_s,
        pause_s=longest.forecast.level.lines.pause_s if longest else 0.0,
        paused=_paused(longest) if longest else "",
        passing=any(seen.forecast.later is not None for seen in looks),
        held=longest is not None and pause_s(longest.forecast.level) is None,
        halts=tuple(seen.halt for seen in looks if seen.halt),
        alive=min((seen.crew.alive for seen in looks), default=None),
    )


def _paused(seen: Look) -> str:
    """Why; until its probe an account that is down or suspended is paused, too, but by no 429."""
    level = seen.forecast.level
    probed = seen.halt is not None and not level.lines.held
    return "" if probed else paused(seen.account, level, time.time())


def _count(each: Iterable[Progress], state: JobState) -> int:
    return sum(max(0, one.states[state]) for one in each)


def display_on(stream: TextIO, every_s: float) -> Display:
    """The display that fits the stream."""
    return LiveLine(stream) if stream.isatty() else PlainLines(stream, every_s)


class _Paced(ABC):
    """Shows a view every so many seconds, the first and the last one always."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._next_s = 0.0

    def show(self, view: View) -> None:
        """Shows it if it is time."""
        if view.finished or view.sample.at_s >= self._next_s:
            self._next_s = view.sample.at_s + self._every_s
            self._write(view)

    def close(self) -> None:  # noqa: B027 - a plain stream needs nothing
        """Has nothing to put back."""

    @abstractmethod
    def _write(self, view: View) -> None:
        """Puts it where it belongs."""


class PlainLines(_Paced):
    """A line of text now and then."""

    def __init__(self, stream: TextIO, every_s: float) -> None:
        super().__init__(every_s)
        self._say = console.remark if stream is sys.stderr else console.answer

    def _write(self, view: View) -> None:
        self._say(line(view))
        sys.stdout.flush()


class JsonLines(_Paced):
    """A JSON object a line now and then."""

    def _write(self, view: View) -> None:
        console.answer_json(view.as_json(time.time()))


class Silent:
    """Shows nothing."""

    def show(self, view: View) -> None:
        """Does not show it."""

    def close(self) -> None:
        """Has nothing to put back."""


class LiveLine:
    """A bar and a line that stay in place, on a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live: Live | None = None

    def show(self, view: View) -> None:
        """Draws it over the last one."""
        from rich.live import Live  # noqa: PLC0415 - only terminals need it
        from rich.progress_bar import ProgressBar  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        if self._live is None:
            self._live = Live(console=console.terminal(self._stream), auto_refresh=False, transient=True)
            self._live.start()
        rows = Table.grid(expand=True)
        rows.add_row(ProgressBar(total=max(1, view.total), completed=view.done))
        rows.add_row(Text(console.clean(line(view))))
        self._live.update(rows, refresh=True)

    def close(self) -> None:
        """Takes it away."""
        if self._live is not None:
            self._live.stop()
            self._live = None
