"""A thread of the worker that looks after something now and then, and goes on whatever becomes of one look."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from worker.errors import WarroomsError

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterator


class Rounds:
    """Looks every so many seconds until it is told to stop.

    Args:
        name: the thread's.
        every_s: the time between two looks, in seconds.
        stopping: ends it.
        look: what is done; it raises nothing (see `going_on`).
        at_once: whether the first look comes at once.
    """

    def __init__(
        self,
        name: str,
        every_s: float,
        stopping: threading.Event,
        look: Callable[[], object],
        *,
        at_once: bool = False,
    ) -> None:
        self._first_s = 0.0 if at_once else every_s
        self._every_s = every_s
        self._stopping = stopping
        self._look = look
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def _run(self) -> None:
        pause_s = self._first_s
        while not self._stopping.wait(pause_s):
            self._look()
            pause_s = self._every_s


@contextmanager
def going_on(log: logging.Logger, what: str) -> Iterator[None]:
    """What goes wrong within is a line in the log, `cannot …`, and ends nothing."""
    try:
        yield
    except WarroomsError as error:
        log.warning("cannot %s: %s", what, error)
    except Exception:
        log.exception("cannot %s", what)
