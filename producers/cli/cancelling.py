"""`warrooms cancel`: takes back jobs that wait, one by one or a batch of any length."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, Final

from producers import console
from producers.bad_input import BadInput
from producers.cli.cancelled import Cancelled, Named, batch_lines, named_line
from producers.cli.desks import known_batch, open_desks
from producers.cli.exits import Exit
from producers.cli.lookup import find
from producers.cli.ticker import Ticker
from producers.queue import CHUNK
from worker.errors import InvalidJob, QueueUnavailable
from worker.jobs import JobState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from producers.desk import Desk
    from worker.records import Record

PASSES: Final = 5
"""Workers go on meanwhile: a job that changed its place in the middle of a pass is met in the next one."""


def cancel(targets: Sequence[str], batch: str | None, account: str | None, *, dry_run: bool, json: bool) -> Exit:
    """Cancels the jobs named, or those of a batch, and says what became of each.

    Raises:
        BadInput: nothing was named, or there is no such account or batch.
        QueueUnavailable: Redis does not answer.
    """
    if bool(targets) == (batch is not None):
        both = "give jobs or --batch, not both" if targets else "say what to cancel: job ids, or --batch NAME"
        raise BadInput(both)
    desks = open_desks(account)
    if batch is not None:
        return _batch(desks, batch, dry_run=dry_run, json=json)
    return _named(desks, targets, dry_run=dry_run, json=json)


def _named(desks: Sequence[Desk], targets: Sequence[str], *, dry_run: bool, json: bool) -> Exit:
    done: list[Named] = []
    misses: list[str] = []
    error = ""
    try:
        for target in dict.fromkeys(targets):
            try:
                desk, record = find(target, desks)
            except (BadInput, InvalidJob) as miss:
                misses.append(str(miss))
            else:
                done.append(_cancel_one(desk, record, dry_run=dry_run))
    except QueueUnavailable as unavailable:
        error = str(unavailable)
    if json:
        listed = [one.as_json() for one in done]
        console.answer_json({"dry_run": dry_run, "jobs": listed, "misses": misses, "error": error or None})
    else:
        console.answer(*(named_line(one, dry_run=dry_run) for one in done))
    for sentence in [*misses, *([error] if error else [])]:
        console.complain(sentence)
    if error or misses:
        return Exit.UNREACHABLE if error else Exit.BAD_INPUT
    return Exit.JOBS_FAILED if any(one.too_late for one in done) else Exit.DONE


def _cancel_one(desk: Desk, record: Record, *, dry_run: bool) -> Named:
    if record.state.finished or dry_run:
        return Named(record, foreseen(record))
    (state,) = desk.ledger.cancel([record.job.id])
    return Named(record, state or JobState.CANCELLED)  # nobody knows it any more: so it waits no more either


def foreseen(record: Record) -> JobState:
    """The state a cancel would leave the job in."""
    called = record.state is JobState.OPENING and record.began_at
    return record.state if record.state.finished or called else JobState.CANCELLED


def _batch(desks: Sequence[Desk], name: str, *, dry_run: bool, json: bool) -> Exit:
    known = known_batch(desks, name)
    done = Cancelled(name)
    for progress in known.values():
        done.finished.update({state: max(0, n) for state, n in progress.states.items() if state.finished})
    try:
        with Ticker() as ticker:
            for desk in desks:
                if desk.account.name in known:
                    _sweep(desk, done, ticker, dry_run=dry_run)
    except QueueUnavailable as unavailable:
        done.error = str(unavailable)
    except KeyboardInterrupt:
        done.interrupted = True
    if json:
        console.answer_json(done.as_json(dry_run=dry_run) | {"at": console.iso(time.time())})
    else:
        console.answer(*batch_lines(done, dry_run=dry_run))
    rest = f"{console.many(done.total, 'job')} or a few more were cancelled; run it again for the rest"
    if done.error:
        console.complain(f"{done.error} ({rest})")
    if done.interrupted:
        console.complain(f"stopped: {rest}")
        return Exit.INTERRUPTED
    return Exit.UNREACHABLE if done.error else Exit.DONE


def _sweep(desk: Desk, done: Cancelled, ticker: Ticker, *, dry_run: bool) -> None:
    for _ in range(1 if dry_run else PASSES):
        before = done.total
        _one_pass(desk, done, ticker, dry_run=dry_run)
        left = desk.ledger.batch(done.batch)
        if done.total == before or left is None or left.waiting <= 0:
            return


def _one_pass(desk: Desk, done: Cancelled, ticker: Ticker, *, dry_run: bool) -> None:
    what = "would be cancelled" if dry_run else "cancelled"
    mine = (record for record in desk.ledger.unfinished() if done.batch in record.batches)
    while chunk := {record.job.id: record for record in islice(mine, CHUNK)}:
        if dry_run:
            states: Sequence[JobState | None] = [foreseen(record) for record in chunk.values()]
        else:
            states = desk.ledger.cancel(list(chunk))
        for record, state in zip(chunk.values(), states, strict=True):
            done.add(record, state)
        ticker.show(f"{console.many(done.total, 'job')} {what}")
