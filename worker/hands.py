"""What a worker has in its hands, and how its last calls ended: what a Redis that lost its last moments is told.

Redis writes to disk every second. After a crash it may have forgotten that a job was claimed, sent, or done; the
workers that did it still know.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.jobs import JobState, WarRoom
    from worker.records import Claim

REMEMBER_S: Final = 15.0
"""Longer than fsync every second, and a disk that is slow at it, can leave unwritten."""


@dataclass(frozen=True, slots=True)
class Held:
    """A job in hand.

    Args:
        claim: the right to work on it.
        began: its attempt has begun.
        sent: its creating call went out.
        ending: its end is being written to the ledger.
    """

    claim: Claim
    began: bool = False
    sent: bool = False
    ending: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that this worker ended with a room, at a moment in monotonic seconds."""

    claim: Claim
    state: JobState
    room: WarRoom
    request_id: str
    at_s: float


class Hands:
    """Claims and results of this process, by token. Thread-safe.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[str, Held] = {}
        self._ended: deque[Ended] = deque()

    def take(self, claim: Claim) -> None:
        """A claim is asked for, or was given."""
        with self._lock:
            self._held[claim.token] = Held(claim)

    def sent(self, claim: Claim, *, sent: bool) -> Held | None:
        """Its attempt begins; how it was held before."""
        return self._change(claim, lambda held: replace(held, began=True, sent=sent))

    def back(self, before: Held | None) -> None:
        """There was no slot: it is held as before."""
        if before is not None:
            self._change(before.claim, lambda _held: before)

    def ending(self, claim: Claim) -> None:
        """Its end is on the way to the ledger."""
        self._change(claim, lambda held: replace(held, ending=True))

    def let_go(self, claim: Claim) -> None:
        """The ledger has its end, or the claim is lost."""
        with self._lock:
            self._held.pop(claim.token, None)

    def has_room(self, claim: Claim, state: JobState, room: WarRoom, request_id: str) -> None:
        """It ended with a room."""
        with self._lock:
            self._ended.append(Ended(claim, state, room, request_id, self._clock()))
            self._forget()

    def all(self) -> tuple[list[Held], list[Ended]]:
        """What is in hand now, and the rooms of the last moments (and of those whose end is still being written)."""
        with self._lock:
            self._forget()
            return list(self._held.values()), list(self._ended)

    def _change(self, claim: Claim, change: Callable[[Held], Held]) -> Held | None:
        """How it was held before."""
        with self._lock:
            held = self._held.get(claim.token)
            if held is not None:
                self._held[claim.token] = change(held)
            return held

    def _forget(self) -> None:
        while self._ended and self._is_old(self._ended[0]):
            self._ended.popleft()

    def _is_old(self, ended: Ended) -> bool:
        return ended.at_s < self._clock() - REMEMBER_S and ended.claim.token not in self._held
