"""`warrooms bulk`: a file of jobs into the queue, line by line, and one summary at the end."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, BinaryIO

from producers import console
from producers.cli.bulk_input import BadLines, Lines, name_of, opened
from producers.cli.bulk_summary import Outcome, dry_run_lines, result_lines, summary_json, summary_lines
from producers.cli.desks import check_batch, defaults
from producers.cli.exits import Stopped
from producers.cli.integrations import Reasons, lookup
from producers.cli.ticker import Ticker
from producers.queue import JobQueue, new_batch_name
from worker.errors import QueueUnavailable
from worker.jobs import Lane
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from producers.cli.exits import Exit
    from producers.parsing import Defaults
    from producers.receipt import Receipt
    from worker.jobs import WarRoomJob
    from worker.settings import Account


@dataclass(frozen=True, slots=True)
class Request:
    """What the person asked for; the options of the command."""

    file: str
    form: str | None = None
    integration: int | None = None
    account: str | None = None
    urgent: bool = False
    batch: str | None = None
    dry_run: bool = False
    strict: bool = False
    wait: bool = False
    verbose: bool = False
    json: bool = False


@dataclass(slots=True)
class _Run:
    """One run of the command: what it works with, and what came of it so far."""

    request: Request
    settings: Settings
    accounts: Mapping[str, Account]
    defaults: Defaults
    bad: BadLines
    outcome: Outcome = field(default_factory=Outcome)

    def lines(self, stream: BinaryIO) -> Lines:
        return Lines(stream, self.defaults, self.request.form, self.bad)


def bulk(request: Request) -> Exit:
    """Queues the jobs of a file and says what became of them.

    Raises:
        BadInput: the file cannot be opened, or an option is wrong.
        SettingsError: a setting is wrong.
        Stopped: Ctrl-C before anything was queued.
    """
    check_batch(request.batch)
    settings = Settings.load()
    accounts = settings.accounts()
    lane = Lane.URGENT if request.urgent else Lane.BULK
    usual = defaults(accounts, request.account, request.integration, lane)
    bad = BadLines(verbose=request.verbose, keep=request.json)
    with closing(JobQueue(settings)) as queue:  # connects only if a line needs an integration that nobody set
        ids = lookup(usual.integration_ids, settings, queue, Reasons(quiet=request.json))
        run = _Run(request, settings, accounts, replace(usual, integration_ids=ids), bad)
        try:
            _read(run)
        except KeyboardInterrupt:
            if run.outcome.batch:
                raise
            raise Stopped("stopped; nothing was queued") from None
        _follow(run)
        return _report(run)


def _read(run: _Run) -> None:
    """Checks the file, queues it, or both."""
    request = run.request
    with opened(request.file, twice=request.strict and not request.dry_run) as stream:
        if request.dry_run or request.strict:
            _check(run, stream)
        if request.dry_run or (request.strict and run.outcome.is_bad):
            run.outcome.withheld = request.strict and not request.dry_run
            return
        if request.strict:
            stream.seek(0)
        _queue(run, stream)


def _check(run: _Run, stream: BinaryIO) -> None:
    """Reads all lines and queues nothing."""
    lines = run.lines(stream)
    for job in _told(lines, "lines checked"):
        run.outcome.good[job.account] = run.outcome.good.get(job.account, 0) + 1
    run.outcome.bad, run.outcome.broken = run.bad.count, lines.broken


def _queue(run: _Run, stream: BinaryIO) -> None:
    """Queues what is good. Whatever stops it, the outcome says what was queued before."""
    outcome = run.outcome
    outcome.batch = run.request.batch or new_batch_name()
    lines = run.lines(stream)

    used = set[str]()

    def count(job: WarRoomJob, receipt: Receipt) -> None:
        used.add(job.account)
        outcome.other_batch += job.batch not in {None, outcome.batch}
        outcome.tally.add(receipt)

    with closing(JobQueue(run.settings)) as queue:
        try:
            done = queue.enqueue_many(_told(lines, "lines queued"), batch=outcome.batch, on_receipt=count)
            outcome.tally.on_disk = done.on_disk
            _look_at_accounts(queue, used, outcome)
        except QueueUnavailable as error:
            outcome.unreachable = str(error)
        except KeyboardInterrupt:
            outcome.interrupted = True
    outcome.bad, outcome.broken = run.bad.count, lines.broken


def _look_at_accounts(queue: JobQueue, names: Iterable[str], outcome: Outcome) -> None:
    """Are they called, and does somebody work for them?"""
    from producers.look import look  # noqa: PLC0415 - not for --dry-run

    looks = [look(desk) for desk in sorted(queue.desks(set(names)), key=lambda desk: desk.account.name)]
    outcome.halts = [seen.halt for seen in looks if seen.halt]
    outcome.holds = [seen.hold for seen in looks if seen.hold]
    outcome.crews = {seen.account: seen.crew for seen in looks}


def _told(jobs: Iterable[WarRoomJob], what: str) -> Iterator[WarRoomJob]:
    """The jobs; on a terminal, a count that runs along once it takes longer than a moment."""
    with Ticker() as ticker:
        for index, job in enumerate(jobs):
            if not index % 100:
                ticker.show(f"{index:,} {what}")
            yield job


def _follow(run: _Run) -> None:
    """Waits for the batch, if that was asked for and there is something to wait for."""
    request, outcome = run.request, run.outcome
    if not request.wait or not outcome.tally.total or outcome.unreachable or outcome.interrupted:
        return
    from producers.cli.follow import ended  # noqa: PLC0415

    if not request.json:
        console.answer(*summary_lines(outcome, request, time.time()))
        sys.stdout.flush()  # it belongs in front of the progress, wherever the two go
        outcome.said = True
    try:
        outcome.view, outcome.failures = ended(outcome.batch, quiet=request.json)
    except QueueUnavailable as error:
        outcome.unreachable = f"{error}; the jobs are queued and go on"
    except Stopped as error:
        outcome.interrupted = True
        outcome.stopped = str(error)


def _report(run: _Run) -> Exit:
    """Prints the summary, then on stderr what went wrong as a whole."""
    request, outcome = run.request, run.outcome
    name = name_of(request.file)
    if request.json:
        console.answer_json_with_list(summary_json(outcome, request, run.accounts), "bad_lines", run.bad.kept())
    elif request.dry_run:
        console.answer(*dry_run_lines(outcome, run.accounts))
    elif not outcome.withheld and outcome.batch and (outcome.tally.total or not outcome.trouble(name)):
        summary = [] if outcome.said else summary_lines(outcome, request, time.time())
        console.answer(*summary, *result_lines(outcome))
    console.remark(*([] if request.json else outcome.remarks()), *outcome.alone())
    for sentence in outcome.trouble(name):
        console.complain(sentence)
    return outcome.exit
