"""An account that is not called as usual: what people are told, why, and what happens next. Pure.

Suspended: the API refuses the account, until a person mends it. Down: the API does not do its work. In both nothing is
lost: jobs wait, and one call at a time goes out as a probe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from typing_extensions import TypedDict  # pydantic cannot read typing's own before Python 3.12

from producers.console import duration, iso, many, when
from producers.pausing import resume_command
from worker.health import Level

if TYPE_CHECKING:
    from worker.health import Trouble


class HaltJson(TypedDict):
    """Why an account is not called as usual, for machines."""

    account: str
    state: Literal["suspended", "down"]
    code: str
    message: str
    hint: str
    request_id: str
    since: str | None
    probes: int
    next_probe_s: float | None


@dataclass(frozen=True, slots=True)
class Halt:
    """One account that is down or suspended.

    Args:
        account: its name.
        trouble: why.
        probe_s: the time until the next call may go out, in seconds; it is a probe.
        held: whether a person paused it, too: then no probe goes out before that pause is over.
    """

    account: str
    trouble: Trouble
    probe_s: float
    held: bool = False

    @property
    def suspended(self) -> bool:
        """Whether a person has to act; an API that is down comes back by itself."""
        return self.trouble.level is Level.SUSPENDED

    @property
    def resume_command(self) -> str:
        """The command that does not wait for the next probe."""
        return resume_command(self.account)

    def short(self, *, named: bool = False) -> str:
        """In a few words, for a line that has others beside it."""
        name = f"account {self.account} " if named else ""
        if self.suspended:
            return f"{name}suspended: {self.trouble.code}, {self.next_probe()}"
        return f"{name}{'finds ' if named else ''}the API is down: {self.trouble.code}, {self.next_probe()}"

    def next_probe(self) -> str:
        """When the next probe goes out."""
        if self.held:
            return "no probe: a person has paused the account"
        return f"next probe in {duration(self.probe_s)}" if self.probe_s > 0 else "the next call is a probe"

    def sentence(self) -> str:
        """Why, in one sentence."""
        state = "is suspended" if self.suspended else "waits: the API is down"
        return f"account {self.account} {state}: {self.trouble.message or self.trouble.code}; {self.next_probe()}"

    def rows(self, now_s: float, waiting: int) -> list[tuple[str, str]]:
        """All of it, as names and texts.

        Args:
            now_s: the time now, in seconds since the epoch.
            waiting: jobs that wait for the account.
        """
        why = self.trouble
        state = "SUSPENDED" if self.suspended else "DOWN"
        probes = f"{many(why.probes, 'probe')} failed since" if why.probes else "no probe yet"
        due = self.next_probe() if waiting or self.held else "the next job that is queued is the probe"
        return [
            (state, why.message or why.code),
            ("since", f"{when(why.since, now_s)}; {probes}; {due}"),
            ("to do", self.to_do()),
        ]

    def to_do(self) -> str:
        """What a person can do."""
        hint = self.trouble.hint
        if self.suspended:
            cause = hint or "see to the cause"
            return f"{cause}; it resumes by itself when a probe succeeds, or at once with: {self.resume_command}"
        cause = f"{hint}; otherwise nothing" if hint else "nothing"
        return f"{cause}: jobs wait and lose no attempts, and it goes on by itself when a probe succeeds"

    def as_json(self) -> HaltJson:
        """For machines."""
        why = self.trouble
        return {
            "account": self.account,
            "state": "suspended" if self.suspended else "down",
            "code": why.code,
            "message": why.message,
            "hint": why.hint,
            "request_id": why.request_id,
            "since": iso(why.since),
            "probes": why.probes,
            "next_probe_s": None if self.held else round(self.probe_s, 1),
        }
