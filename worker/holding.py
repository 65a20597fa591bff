"""A worker process holds while Redis does not answer: all its threads wait, and the log says so once for all."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.errors import QueueUnavailable

log = logging.getLogger(__name__)

LONGEST_PAUSE_S: Final = 2.0
REMIND_S: Final = 30.0
SETTLES_S: Final = 5.0
"""For so long after Redis has answered, a thread's further failures may still be those of the outage that is over."""

LAST_TRIES_S: Final = 5.0
"""For so long a worker that must stop tries to write down how its calls ended when Redis is away."""


class Holding:
    """The `hold` and the `back` of a worker's RedisStore. Thread-safe.

    Args:
        stopping: set when the worker must stop.
        clock: monotonic seconds.
    """

    def __init__(self, stopping: threading.Event, clock: Callable[[], float] = time.monotonic) -> None:
        self._stopping = stopping
        self._clock = clock
        self._lock = threading.Lock()
        self._began_s: float | None = None
        self._said_s = 0.0
        self._back_s: float | None = None
        self._stopped_s: float | None = None

    def __call__(self, tries: int, error: QueueUnavailable) -> bool:
        """Sleeps a while and answers whether to ask again."""
        self._tell(tries, error)
        if not self._stopping.wait(min(LONGEST_PAUSE_S, 0.1 * 2 ** min(tries, 5))):
            return True
        if self._stopped_s is None:
            self._stopped_s = self._clock()
        time.sleep(0.5)
        return self._clock() < self._stopped_s + LAST_TRIES_S

    def back(self) -> None:
        """Redis has answered a call that was held; the first of them says so."""
        with self._lock:
            began_s, self._began_s = self._began_s, None
            if began_s is None:
                return
            self._back_s = self._clock()
            log.warning("Redis answers again after %.1f s", self._back_s - began_s)

    def _tell(self, tries: int, error: QueueUnavailable) -> None:
        with self._lock:
            now_s = self._clock()
            if self._began_s is None:
                if tries > 1 and self._back_s is not None and now_s < self._back_s + SETTLES_S:
                    return
                self._began_s = self._said_s = now_s
                log.warning("holding, no call goes out until Redis answers: %s", error)
            elif now_s >= self._said_s + REMIND_S:
                self._said_s = now_s
                log.warning("still holding, for %.0f s now: %s", now_s - self._began_s, error)
