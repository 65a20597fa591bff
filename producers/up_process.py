"""A process of `warrooms up` that ends with it, even if `up` is killed and can tell nobody.

honcho has a watcher for each: a child of `up` that starts the program and passes its output on. When `up` dies, Linux
tells the watcher, which asks the program to end and goes on reading until it has: a worker finishes the calls that are
under way. If the watcher is killed too, Linux asks the program itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import honcho.process

from sandbox.processes import end_with_parent

if TYPE_CHECKING:
    from types import FrameType

PARENT_DIED: Final = signal.SIGUSR1


class UpProcess(honcho.process.Process):  # type: ignore[misc]
    """honcho's watcher of one program."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401 - honcho's own
        super().__init__(*args, **options)
        self._child_ctor = partial(honcho.process.Popen, preexec_fn=end_with_parent)

    def run(self, events: Any = None, ignore_signals: bool = False) -> None:  # noqa: ANN401, FBT001, FBT002
        """Starts the program and passes its output on until it ends; runs in the watcher."""
        self._events = events
        signal.signal(PARENT_DIED, self._ask_to_end)
        end_with_parent(PARENT_DIED)
        if (parent := multiprocessing.parent_process()) is None or parent.is_alive():
            super().run(events, ignore_signals)

    def _ask_to_end(self, _number: int, _frame: FrameType | None) -> None:
        if self._child is None:
            raise SystemExit(1)
        self._events.cancel_join_thread()  # nobody reads the output any more; do not wait for it
        with suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGTERM)
