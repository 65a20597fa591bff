"""`warrooms failed replay` and `drop`: dead letters are queued anew, or given up, chunk by chunk."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import TYPE_CHECKING, Final

from producers import console
from producers.bad_input import BadInput
from producers.cli.exits import Exit
from producers.cli.failed import nothing
from producers.cli.failed_text import Sum
from producers.cli.selecting import select
from producers.cli.views import account_option
from producers.console import about, many, number
from producers.look import look
from producers.queue import CHUNK
from worker.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from producers.choice import Choice
    from producers.cli.selecting import Selection
    from producers.desk import Desk
    from worker.records import Record


@dataclass(frozen=True, slots=True)
class Action:
    """What is done to dead letters.

    Args:
        verb: its name, as in the command.
        past: what was done.
        act: does it to records of one account; for each whether it still was a dead letter.
    """

    verb: str
    past: str
    act: Callable[[Desk, Sequence[Record]], list[bool]]


REPLAY: Final = Action("replay", "replayed", lambda desk, some: desk.ledger.replay([one.job for one in some]))
DROP: Final = Action("drop", "dropped", lambda desk, some: desk.ledger.drop([one.job.id for one in some]))


@dataclass(slots=True)
class Done:
    """What was done so far.

    Args:
        found: what it was done to, or in a dry run would be.
        accounts: how many jobs of each account.
        gone: jobs that somebody else replayed or dropped in the meantime.
        error: what ended it early.
        interrupted: Ctrl-C ended it early.
    """

    found: Sum = field(default_factory=Sum)
    accounts: Counter[str] = field(default_factory=Counter)
    gone: int = 0
    error: str | None = None
    interrupted: bool = False

    def add(self, record: Record, *, kept: bool) -> None:
        """Counts one."""
        if not kept:
            self.gone += 1
            return
        self.found.add(record)
        self.accounts[record.job.account] += 1


def run(action: Action, choice: Choice, *, everything: bool, dry_run: bool, most: int | None, json: bool) -> Exit:
    """Does it to the chosen dead letters and says what was done.

    Raises:
        BadInput: nothing was chosen, or there is no such account, batch or code.
        QueueUnavailable: Redis does not answer.
    """
    _check(action, choice, everything=everything)
    selection, done = select(choice), Done()
    try:
        _do(action, selection, done, most, dry_run=dry_run)
    except QueueUnavailable as error:
        done.error = str(error)
    except KeyboardInterrupt:
        done.interrupted = True
    _report(action, selection, done, dry_run=dry_run, json=json)
    return _exit(selection, done)


def _check(action: Action, choice: Choice, *, everything: bool) -> None:
    if everything and choice.targets:
        raise BadInput("--all means every dead letter; leave out the job ids, or --all")
    if not everything and not choice.names_something:
        raise BadInput(
            f"say which dead letters to {action.verb}: job ids, --batch, --code, --older-than, --newer-than or "
            "--account; every one of them with --all (see them with: warrooms failed list)"
        )


def _do(action: Action, selection: Selection, done: Done, most: int | None, *, dry_run: bool) -> None:
    """Oldest first, so that those who have waited longest stand in front."""
    letters = selection.read(oldest_first=True, most=most)
    while chunk := list(islice(letters, CHUNK)):
        for desk, pairs in groupby(chunk, key=lambda pair: pair[0]):
            records = [record for _, record in pairs]
            kept = [True] * len(records) if dry_run else action.act(desk, records)
            for record, was_one in zip(records, kept, strict=True):
                done.add(record, kept=was_one)


def _exit(selection: Selection, done: Done) -> Exit:
    if done.interrupted:
        return Exit.INTERRUPTED
    if done.error:
        return Exit.UNREACHABLE
    return Exit.BAD_INPUT if selection.misses else Exit.DONE


def _report(action: Action, selection: Selection, done: Done, *, dry_run: bool, json: bool) -> None:
    if json:
        console.answer_json(_as_json(action, selection, done, dry_run=dry_run))
    elif done.found.total or not (selection.misses or done.error or done.interrupted):
        console.answer(*_lines(action, selection, done, dry_run=dry_run))
    for miss in selection.misses:
        console.complain(miss)
    count = number(done.found.total)
    stopped = f"{count} or a few more were {action.past}, the others are as they were; run it again for them"
    if done.error:
        console.complain(f"{done.error} ({stopped})")
    if done.interrupted:
        console.complain(f"stopped: {stopped}")


def _lines(action: Action, selection: Selection, done: Done, *, dry_run: bool) -> list[str]:
    found = done.found
    if not found.total and not done.gone:
        return [f"{nothing(selection)}; nothing to {action.verb}"]
    if dry_run:
        return [f"dry run: would {action.verb} {found.text()}; nothing was changed", *_takes(action, selection, done)]
    lines = [f"{action.past} {found.text()}"]
    if done.gone:
        lines.append(f"{many(done.gone, 'other')} had been replayed or dropped by somebody else in the meantime")
    if action is DROP:
        return [*lines, "they are cancelled now; open or bulk would queue them anew"] if found.total else lines
    lines += _takes(action, selection, done)
    if done.error or done.interrupted or not found.total:
        return lines
    batch = f" --batch {selection.choice.batch}" if selection.choice.batch else account_option(selection.choice.account)
    return [*lines, f"follow them with: warrooms watch{batch}"]


def _takes(action: Action, selection: Selection, done: Done) -> list[str]:
    """Where the replayed jobs stand, how long they take, and why they wait, if they do."""
    if action is not REPLAY or done.error:
        return []
    lines = []
    for desk in selection.desks:
        if count := done.accounts[desk.account.name]:
            takes = about(desk.account.plan.drain_s(count))
            lines.append(f"account {desk.account.name}: {many(count, 'job')} at the end of the line, {takes} of calls")
    concerned = [desk for desk in selection.desks if done.accounts[desk.account.name]]
    halts = [look(desk).halt for desk in concerned]
    return [*lines, *(f"{halt.sentence()}: they wait" for halt in halts if halt)]


def _as_json(action: Action, selection: Selection, done: Done, *, dry_run: bool) -> dict[str, object]:
    return {
        "dry_run": dry_run,
        action.past: 0 if dry_run else done.found.total,
        "selected": done.found.total + done.gone,
        "by_code": done.found.by_code(),
        "gone": done.gone,
        "misses": selection.misses,
        "error": done.error or ("stopped" if done.interrupted else None),
        "at": console.iso(time.time()),
    }
