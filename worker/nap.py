"""Waiting that ends early: when the worker stops, or when a person ordered something and who waits must look again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

PIECE_S: Final = 0.25
"""Who naps longer looks so often whether to go on. More than the bucket's horizon: no wait for a slot is cut short."""


class Nap:
    """The sleep of one account's tasks.

    Args:
        stopping: set when the worker is told to stop.
        clock: monotonic seconds.
    """

    def __init__(self, stopping: threading.Event, clock: Callable[[], float] = time.monotonic) -> None:
        self._stopping = stopping
        self._clock = clock
        self._woken = 0

    def __call__(self, seconds: float) -> bool:
        """Waits so many seconds, or until somebody wakes it; True if the worker is stopping."""
        woken, end = self._woken, self._clock() + seconds
        while (left_s := end - self._clock()) > PIECE_S:
            if self._stopping.wait(PIECE_S):
                return True
            if self._woken != woken:
                return False
        return self._stopping.wait(max(0.0, left_s))

    def wake(self) -> None:
        """Ends the long naps of now."""
        self._woken += 1
