"""A count that runs along on a terminal, once it takes longer than a moment; elsewhere nothing."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

MOMENT_S: Final = 1.0
EVERY_S: Final = 0.2


class Ticker:
    """`with Ticker() as ticker: ... ticker.show("500 jobs")`: one line that is written over, and gone at the end.

    Args:
        stream: where; stderr unless given.
        clock: seconds of any clock that only goes forward.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream or sys.stderr
        self._clock = clock
        self._live = self._stream.isatty()
        self._next_s = clock() + MOMENT_S
        self._shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._write("\r\x1b[K")

    def show(self, text: str) -> None:
        """Shows it if it is time."""
        if self._live and self._clock() >= self._next_s:
            self._write(f"\r{text} ")
            self._next_s, self._shown = self._clock() + EVERY_S, True

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # the terminal was closed: the work goes on
            self._stream.write(text)
            self._stream.flush()
