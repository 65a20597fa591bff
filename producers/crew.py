"""Who works for an account: its workers and their last heartbeats, in words. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from producers.console import duration, many

if TYPE_CHECKING:
    from collections.abc import Mapping

SILENT_S: Final = 10.0
"""A worker beats every two seconds; one that was silent for so long is not alive."""

START: Final = "start one with: celery -A worker worker --without-gossip --without-mingle"
"""Without gossip, which logs a traceback whenever Redis goes away; nobody needs it."""


@dataclass(frozen=True, slots=True)
class Crew:
    """The workers of an account that were heard in the last hour: seconds since each one's last heartbeat."""

    beats: Mapping[str, float]

    @property
    def alive(self) -> int:
        """How many live."""
        return sum(beat_s < SILENT_S for beat_s in self.beats.values())

    def text(self, waiting: int) -> str:
        """How many live, and what that means for the jobs that wait."""
        if self.alive:
            return f"{self.alive} alive"
        if not waiting:
            return f"none alive{self._last_heard()}"
        wait = "waits" if waiting == 1 else "wait"
        return f"NONE ALIVE, and {many(waiting, 'job')} {wait}: {START}{self._last_heard()}"

    def sentence(self, account: str) -> str:
        """That nobody works for the account, in one sentence; empty if somebody does."""
        return "" if self.alive else f"account {account} waits: no worker is alive{self._last_heard()}; {START}"

    def _last_heard(self) -> str:
        if not self.beats:
            return ""
        name, beat_s = min(self.beats.items(), key=lambda beat: beat[1])
        return f" (last heard {duration(beat_s)} ago: {name})"

    def as_json(self) -> list[dict[str, object]]:
        """For machines, those heard last first."""
        ordered = sorted(self.beats.items(), key=lambda beat: beat[1])
        return [{"name": name, "alive": s < SILENT_S, "last_beat_s": round(s, 1)} for name, s in ordered]
