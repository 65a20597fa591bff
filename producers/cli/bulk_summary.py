"""What became of a bulk: its numbers, its exit code, its words. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from producers.answers import record_json
from producers.cli.exits import Exit
from producers.cli.views import failure_lines
from producers.console import about, iso, many, number, starts
from producers.receipt import Status, Tally
from producers.watching import result

if TYPE_CHECKING:
    from collections.abc import Mapping

    from producers.cli.bulk import Request
    from producers.crew import Crew
    from producers.halts import Halt
    from producers.watching import View
    from worker.records import Record
    from worker.settings import Account


@dataclass(slots=True)
class Outcome:
    """What came of a bulk so far.

    Args:
        batch: the batch that counts the jobs; empty as long as nothing was queued.
        good: checked jobs by account; only of a dry or strict run.
        tally: receipts of the queued ones.
        bad: lines that gave no job.
        other_batch: jobs that name a batch of their own, which was not used.
        broken: why the file could not be read to its end.
        unreachable: why Redis could not be reached.
        interrupted: Ctrl-C came while queueing or waiting.
        stopped: what Ctrl-C while waiting left behind.
        withheld: nothing was queued because of --strict.
        halts: accounts of these jobs that are down or suspended.
        holds: those that a person paused, a sentence each.
        crews: who works for the accounts of these jobs.
        said: whether the counts and the time were said before the wait.
        view: how the batch ended, if that was waited for.
        failures: its last dead letters.
    """

    batch: str = ""
    good: dict[str, int] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    bad: int = 0
    other_batch: int = 0
    broken: str | None = None
    unreachable: str | None = None
    interrupted: bool = False
    stopped: str | None = None
    withheld: bool = False
    halts: list[Halt] = field(default_factory=list)
    holds: list[str] = field(default_factory=list)
    crews: dict[str, Crew] = field(default_factory=dict)
    said: bool = False
    view: View | None = None
    failures: list[Record] = field(default_factory=list)

    @property
    def is_bad(self) -> bool:
        """Whether the input is not what it should be: bad lines, unreadable, or no job at all."""
        return bool(self.bad or self.broken) or not (sum(self.good.values()) or self.tally.total)

    @property
    def exit(self) -> Exit:
        """The exit code: the first that applies."""
        if self.interrupted:
            return Exit.INTERRUPTED
        if self.unreachable:
            return Exit.UNREACHABLE
        if self.is_bad:
            return Exit.BAD_INPUT
        return Exit.JOBS_FAILED if self.view is not None and self.view.failed else Exit.DONE

    def alone(self) -> list[str]:
        """The accounts that no worker works for, a sentence each, if there is something to do for them."""
        if self.view is not None or self.tally.total <= self.tally.by_status[Status.ALREADY_OPEN]:
            return []
        return [sentence for name, crew in self.crews.items() if (sentence := crew.sentence(name))]

    def remarks(self) -> list[str]:
        """What a person should know of jobs that were queued, a sentence each."""
        if self.view is not None or not self.tally.total:
            return []
        said = [f"{halt.sentence()}: the jobs wait until it is called again" for halt in self.halts]
        said += self.holds
        if self.tally.on_disk is False:
            said.append(
                "Redis has not confirmed yet that the jobs are on its disk: if it crashes in the next seconds, "
                "hand them in again, nothing doubles"
            )
        return said

    def trouble(self, name: str) -> list[str]:
        """What went wrong as a whole, a sentence each, and what to do."""
        found = [sentence for sentence in (self.unreachable, self.stopped) if sentence]
        if self.interrupted and not self.stopped:
            found.append(
                f"stopped: {many(self.tally.total, 'job')} or a few more were queued and go on; "
                "run it again for the rest, nothing doubles"
            )
        if self.broken:
            queued = f"; what came before is queued ({many(self.tally.total, 'job')})" if self.tally.total else ""
            found.append(f"{name}: {self.broken}{queued}")
        if self.bad:
            found.append(self._bad_lines(name))
        if not found and self.is_bad:
            found.append(f"{name} has no job in it")
        if self.withheld:
            found[-1] += "; nothing was queued (--strict)"
        return found

    def _bad_lines(self, name: str) -> str:
        text = f"{name} has {many(self.bad, 'bad line')}"
        if not self.tally.total:
            return text
        return f"{text}; the others were queued: correct it and run it again, nothing doubles"


def summary_lines(outcome: Outcome, request: Request, now_s: float) -> list[str]:
    """What was queued, for people."""
    by = outcome.tally.by_status
    counts = [f"{number(by[Status.QUEUED])} queued"]
    counts += [f"{number(by[status])} {status}" for status in Status if status is not Status.QUEUED and by[status]]
    counts += [many(outcome.bad, "bad line")] if outcome.bad else []
    lines = [f"batch {outcome.batch}: {', '.join(counts)}"]
    if outcome.other_batch:
        lines.append(
            f"{many(outcome.other_batch, 'line')} named another batch; this command counts all under {outcome.batch}"
        )
    if outcome.tally.last_starts_at is not None and not outcome.halts and not outcome.alone():
        lines.append(f"the last one is {starts(outcome.tally.last_starts_at.timestamp(), now_s)}")
    if not request.wait and outcome.tally.total > by[Status.ALREADY_OPEN]:
        lines.append(f"follow them with: warrooms watch --batch {outcome.batch}")
    return lines


def result_lines(outcome: Outcome) -> list[str]:
    """How the batch ended, for people; nothing if nobody waited for that."""
    return [] if outcome.view is None else [result(outcome.view), *failure_lines(outcome.failures)]


def dry_run_lines(outcome: Outcome, accounts: Mapping[str, Account]) -> list[str]:
    """What would be queued, and how long it would take."""
    good = sum(outcome.good.values())
    bad = f" and leave out {many(outcome.bad, 'bad line')}" if outcome.bad else ""
    lines = [f"dry run: would queue {many(good, 'job')}{bad}; nothing was queued"]
    for name, count in outcome.good.items():
        plan = accounts[name].plan
        takes = about(plan.drain_s(count))
        lines.append(f"account {name}: {many(count, 'job')}, {takes} at {plan} if nothing else is queued")
    return lines


def summary_json(outcome: Outcome, request: Request, accounts: Mapping[str, Account]) -> dict[str, object]:
    """The summary for machines; the bad lines are added by the caller, one by one."""
    by, last = outcome.tally.by_status, outcome.tally.last_starts_at
    view = outcome.view
    return {
        "batch": outcome.batch or None,
        "dry_run": request.dry_run,
        **{status.replace(" ", "_"): by[status] for status in Status},
        "good": outcome.good or None,
        "bad": outcome.bad,
        "last_starts_at": None if last is None else iso(last.timestamp()),
        "done_by": None if outcome.tally.done_by is None else iso(outcome.tally.done_by.timestamp()),
        "takes_s": {name: round(accounts[name].plan.drain_s(count), 1) for name, count in outcome.good.items()} or None,
        "on_disk": outcome.tally.on_disk,
        "halts": [halt.as_json() for halt in outcome.halts],
        "workers_alive": {name: crew.alive for name, crew in outcome.crews.items()} or None,
        "error": outcome.broken or outcome.unreachable or outcome.stopped,
        "result": None
        if view is None
        else {"opened": view.opened, "found": view.found, "failed": view.failed, "cancelled": view.cancelled},
        "failed_jobs": [record_json(record) for record in outcome.failures],
        "exit_code": int(outcome.exit),
    }
