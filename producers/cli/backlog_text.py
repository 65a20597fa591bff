"""What a backlog is expected to cost, and what became of it: numbers, exit code, words. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from producers.answers import record_json
from producers.cli.exits import Exit
from producers.cli.views import failure_lines
from producers.console import about, iso, many, number, when
from producers.receipt import Status, Tally
from producers.watching import result
from worker.flashduty.answers import MAX_PAGE

if TYPE_CHECKING:
    from producers.halts import Halt
    from producers.watching import View
    from worker.rate_limit import Plan
    from worker.records import Record


@dataclass(frozen=True, slots=True)
class Estimate:
    """What reading and opening so many incidents costs, in calls and in time.

    Args:
        incidents: how many the API counts.
        more: whether it stopped counting there.
        windows: parts of the span, each with pages of its own.
        look: whether each incident is asked whether it has a room.
        plan: the account's limits.
    """

    incidents: int
    more: bool
    windows: int
    look: bool
    plan: Plan

    @property
    def list_calls(self) -> int:
        """Calls that list incidents."""
        return max(self.windows, math.ceil(self.incidents / MAX_PAGE))

    @property
    def look_calls(self) -> int:
        """Calls that look for rooms."""
        return self.incidents if self.look else 0

    @property
    def calls(self) -> int:
        """All calls until every room is open, if none fails.

        An incident without a room costs the call that opens one; one with a room, the call that asks for its group. If
        that is gone it costs both: how many those are, nobody can tell before.
        """
        return self.list_calls + self.look_calls + self.incidents

    @property
    def takes_s(self) -> float:
        """How long they take at the account's limit, in seconds, if nothing else is called."""
        return self.plan.drain_s(self.calls)

    def sentence(self) -> str:
        """For people."""
        least = "at least " if self.more else ""
        looking = f", {number(self.look_calls)} to look for their rooms" if self.look else ""
        asking = ", or to ask whether the one they have is still there" if self.look else ""
        found = f"{least}{many(self.incidents, 'incident')} to read by the API's count"
        takes = f"{least}{about(self.takes_s)} at {self.plan} if nothing else is called"
        listing = f"{many(self.list_calls, 'call')} to list them"
        return f"{found}: {listing}{looking}, {number(self.incidents)} to open rooms{asking}; {takes}"

    def as_json(self) -> dict[str, object]:
        """For machines."""
        return {
            "incidents": self.incidents,
            "at_least": self.more,
            "list_calls": self.list_calls,
            "look_calls": self.look_calls,
            "open_calls": self.incidents,
            "takes_s": round(self.takes_s, 1),
        }


@dataclass(slots=True)
class Outcome:
    """What came of a backlog so far.

    Args:
        account: whose incidents.
        integration_id: where the rooms are opened.
        dry_run: nothing is queued.
        batch: the batch that counts the jobs.
        estimate: what was expected.
        resumed: incidents that an earlier run had read.
        read: incidents that this run has read.
        has_room: those left out because they have a room.
        gone: those that have a room, but its group was deleted in the IM; they count as if they had none.
        gone_ours: those of them whose room was opened by us, so that our ledger opens no other.
        unusable: those whose id is none.
        calls: calls to the API so far, without those that open rooms.
        tally: receipts of what was queued.
        broken: what ended it early.
        exit_broken: the exit code of that.
        ended_by: the exit code of Ctrl-C or the signal that ended it.
        stopped: what is to be said of that, if it is not the usual.
        again: the command that goes on where it ended.
        halts: why the account is not called as usual.
        hold: that a person paused it, in a sentence.
        view: how the batch ended, if that was waited for.
        failures: its last dead letters.
    """

    account: str
    integration_id: int
    dry_run: bool = False
    batch: str = ""
    estimate: Estimate | None = None
    resumed: int = 0
    read: int = 0
    has_room: int = 0
    gone: int = 0
    gone_ours: int = 0
    unusable: int = 0
    calls: int = 0
    tally: Tally = field(default_factory=Tally)
    broken: str | None = None
    exit_broken: Exit = Exit.UNREACHABLE
    ended_by: Exit | None = None
    stopped: str = ""
    again: str = ""
    halts: list[Halt] = field(default_factory=list)
    hold: str = ""
    view: View | None = None
    failures: list[Record] = field(default_factory=list)

    @property
    def exit(self) -> Exit:
        """The exit code: the first that applies."""
        if self.ended_by is not None:
            return self.ended_by
        if self.broken:
            return self.exit_broken
        return Exit.JOBS_FAILED if self.view is not None and self.view.failed else Exit.DONE

    def progress(self) -> str:
        """Where it stands, for a line that is written over."""
        return f"{many(self.resumed + self.read, 'incident')} read, {number(self.tally.total)} handed in"

    def lines(self, now_s: float, *, waits: bool) -> list[str]:
        """The summary for people."""
        if self.dry_run:
            return self._dry_lines()
        if not self.read:
            further = "further " if self.resumed else ""
            return [] if self.broken or self.ended_by else [f"no {further}incident matches; nothing was queued"]
        by = self.tally.by_status
        counts = [f"{number(by[Status.QUEUED])} queued"]
        counts += [f"{number(by[status])} {status}" for status in Status if status is not Status.QUEUED and by[status]]
        counts += [f"{number(self.has_room)} left out: they have a room"] if self.has_room else []
        counts += [f"{number(self.unusable)} without a usable id"] if self.unusable else []
        before = f" ({number(self.resumed)} before)" if self.resumed else ""
        lines = [f"{many(self.read, 'incident')} read{before} with {many(self.calls, 'call')}"]
        lines.append(f"batch {self.batch}: {', '.join(counts)}")
        if self.gone:
            lines.append(
                f"{many(self.gone, 'incident')} with a room whose group is gone in the IM: taken as without one"
            )
        if self.view is not None:
            return [*lines, result(self.view), *failure_lines(self.failures)]
        last = self.tally.last_starts_at
        if last is not None and not self.halts:
            lines.append(f"the last one is expected to start {when(last.timestamp(), now_s)}")
        if self.tally.total > by[Status.ALREADY_OPEN] and not waits:
            lines.append(f"follow them with: warrooms watch --batch {self.batch}")
        return lines

    def _dry_lines(self) -> list[str]:
        would = f"dry run: {many(self.read, 'incident')} read with {many(self.calls, 'call')}; nothing was queued"
        return [would, *([self.estimate.sentence()] if self.estimate else [])]

    def remarks(self) -> list[str]:
        """What a person should know of jobs that were queued."""
        if self.view is not None or not self.tally.total:
            return self._remarks_on_gone()
        said = self._remarks_on_gone()
        said += [f"{halt.sentence()}: the jobs wait until it is called again" for halt in self.halts]
        said += [self.hold] if self.hold else []
        if self.tally.on_disk is False:
            said.append("Redis has not confirmed yet that the jobs are on its disk: if it crashes, run this again")
        return said

    def _remarks_on_gone(self) -> list[str]:
        if not self.gone_ours:
            return []
        whose = f"{number(self.gone_ours)} of the groups that are gone {'was' if self.gone_ours == 1 else 'were'} ours"
        return [f"{whose}: 'already open' stands in our records; open another in Flashduty, if it is still needed"]

    def trouble(self) -> list[str]:
        """What went wrong, a sentence each, and how to go on."""
        found = [self.broken] if self.broken else []
        if self.ended_by is not None:
            kept = "what was queued goes on" if self.tally.total or self.resumed else "nothing was queued"
            found.append(self.stopped or f"stopped: {kept}")
        if found and self.again:
            found[-1] += f"; the rest, with nothing doubled: {self.again}"
        return found

    def as_json(self) -> dict[str, object]:
        """The summary for machines."""
        by, last, view = self.tally.by_status, self.tally.last_starts_at, self.view
        return {
            "account": self.account,
            "integration_id": self.integration_id,
            "batch": self.batch or None,
            "dry_run": self.dry_run,
            "estimate": None if self.estimate is None else self.estimate.as_json(),
            "resumed": self.resumed,
            "read": self.read,
            "has_room": self.has_room,
            "gone": self.gone,
            "gone_ours": self.gone_ours,
            "unusable": self.unusable,
            "calls": self.calls,
            **{status.replace(" ", "_"): by[status] for status in Status},
            "last_starts_at": None if last is None else iso(last.timestamp()),
            "on_disk": self.tally.on_disk,
            "halts": [halt.as_json() for halt in self.halts],
            "error": self.broken,
            "again": self.again or None,
            "result": None
            if view is None
            else {"opened": view.opened, "found": view.found, "failed": view.failed, "cancelled": view.cancelled},
            "failed_jobs": [record_json(record) for record in self.failures],
            "exit_code": int(self.exit),
        }
