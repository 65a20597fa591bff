"""SIGTERM and SIGHUP end a command as Ctrl-C does: by an exception, so that what was done is kept and can be said."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from producers.cli.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

EXITS: Final = {signal.SIGTERM: Exit.TERMINATED, signal.SIGHUP: Exit.HUNG_UP}


class EndAsked(KeyboardInterrupt):
    """A signal asks us to end; who knows only Ctrl-C takes it for that."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit = EXITS[signal.Signals(number)]


def exit_of(interrupt: KeyboardInterrupt) -> Exit:
    """The exit code that says which signal it was: 128 and its number."""
    return interrupt.exit if isinstance(interrupt, EndAsked) else Exit.INTERRUPTED


@contextmanager
def as_interrupts() -> Iterator[None]:
    """Within it, the first SIGTERM or SIGHUP raises EndAsked. One that is ignored already (nohup) stays so.

    Once it was raised the process is about to end, and the next ones are ignored for good: a terminal that is closed
    sends two. Ctrl-C goes on as always.
    """
    before = {number: signal.getsignal(number) for number in EXITS}
    heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    asked = False

    def end(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        for each in heard:
            signal.signal(each, signal.SIG_IGN)
        raise EndAsked(number)

    for number in heard:
        signal.signal(number, end)
    try:
        yield
    finally:
        if not asked:
            for number in heard:
                signal.signal(number, before[number])
