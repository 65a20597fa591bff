"""`warrooms backlog`: the incidents that Flashduty lists into the queue, page by page, and one summary at the end."""

from __future__ import annotations

import shlex
import time
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from producers import console
from producers.bad_input import BadInput
from producers.bookmark import Asked, Bookmark, Bookmarks
from producers.cli.backlog_text import Estimate, Outcome
from producers.cli.desks import check_batch, defaults
from producers.cli.exits import Exit, Stopped
from producers.cli.filters import PROGRESS, SEVERITIES, names, numbers
from producers.cli.integrations import Reasons, lookup
from producers.cli.views import account_option
from producers.desk import Desk, halts_of
from producers.incident_list import IncidentList
from producers.paced import Paced
from producers.queue import JobQueue, new_batch_name
from producers.span import Span
from worker.errors import FlashdutyError, QueueUnavailable, RequestRefused
from worker.jobs import Lane
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.settings import Account

OPEN: Final = "Triggered,Processing"
"""The progress of incidents that can have a room: closed ones are refused one."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the person asked for; the options of the command."""

    since: str
    until: str | None = None
    severity: str | None = None
    progress: str | None = None
    channel: str | None = None
    account: str | None = None
    integration: int | None = None
    without_room: bool = False
    urgent: bool = False
    batch: str | None = None
    dry_run: bool = False
    wait: bool = False
    json: bool = False

    def command(self, batch: str) -> str:
        """The command that goes on with a batch."""
        options = (
            ("--since", self.since), ("--until", self.until), ("--severity", self.severity),
            ("--progress", self.progress), ("--channel", self.channel), ("--integration", self.integration),
        )  # fmt: skip
        flags = (("--without-room", self.without_room), ("--urgent", self.urgent), ("--wait", self.wait))
        words = [word for name, value in options if value is not None for word in (name, str(value))]
        words += [name for name, is_set in flags if is_set]
        return f"warrooms backlog {shlex.join(words)}{account_option(self.account)} --batch {batch}"


@dataclass(slots=True)
class _Run:
    """One run of the command: what it works with, and what came of it so far."""

    request: Request
    account: Account
    queue: JobQueue
    paced: Paced
    asked: Asked
    span: Span
    outcome: Outcome

    def incidents(self) -> IncidentList:
        """Where the jobs come from. A dry run looks for no rooms: that would cost most of what the real one does."""
        lane = Lane.URGENT if self.request.urgent else Lane.BULK
        return IncidentList(self.paced, self.asked, self.account.name, lane, look=not self.request.dry_run)


def backlog(request: Request) -> Exit:
    """Queues what Flashduty lists and says what became of it.

    Raises:
        BadInput: an option is wrong, or no integration can be found.
        SettingsError: a setting is wrong, or there is no app key here.
        QueueUnavailable: Redis does not answer.
        FlashdutyError: the API does not answer the first question.
    """
    check_batch(request.batch)
    span = Span.of(request.since, request.until, time.time())
    filters = _filters(request)
    settings = Settings.load()
    accounts = settings.accounts()
    usual = defaults(accounts, request.account, request.integration, Lane.BULK)
    if usual.account not in accounts:
        raise BadInput(f"there are several accounts; name one with --account: {', '.join(accounts)}")
    account = accounts[usual.account]
    with closing(JobQueue(settings)) as queue:
        paced = Paced.of(settings, account, queue.bucket(account.name), _said(request))
        with closing(paced):
            integration_id = _integration(settings, queue, account, usual.integration_ids.get(account.name))
            asked = replace(filters, integration_id=integration_id)
            outcome = Outcome(account.name, integration_id, dry_run=request.dry_run)
            run = _Run(request, account, queue, paced, asked, span, outcome)
            _read(run)
    _follow(run)
    return _report(run)


def _filters(request: Request) -> Asked:
    return Asked(
        since=request.since,
        until=request.until,
        severity=names("--severity", request.severity, SEVERITIES),
        progress=names("--progress", request.progress or OPEN, PROGRESS),
        channel_ids=numbers("--channel", request.channel),
        integration_id=1,
        without_room=request.without_room,
    )


def _said(request: Request) -> Reasons:
    return Reasons(quiet=request.json)


def _integration(settings: Settings, queue: JobQueue, account: Account, known: int | None) -> int:
    if known is not None:
        return known
    why = Reasons(quiet=True)
    found = lookup({}, settings, queue, why).get(account.name)
    if found is None:
        raise BadInput(f"no IM integration is set: give --integration N or FLASHDUTY_INTEGRATION_ID; {why}")
    return found


def _read(run: _Run) -> None:
    """Reads and queues. Whatever stops it, the outcome says what was done before."""
    outcome, request = run.outcome, run.request
    bookmarks = Bookmarks(run.queue.store, run.account.name)
    place = _begin(run, bookmarks)
    try:
        _estimate(run, place)
        if request.dry_run:
            _count(run, place)
        else:
            _queue(run, bookmarks, place)
    except QueueUnavailable as error:
        outcome.broken = str(error)
    except FlashdutyError as error:
        outcome.broken = str(error) + (f"; {error.hint}" if error.hint else "")
        outcome.exit_broken = Exit.BAD_INPUT if isinstance(error, RequestRefused) else Exit.UNREACHABLE
    except KeyboardInterrupt:
        outcome.interrupted = True
    outcome.calls = run.paced.calls
    if not request.dry_run and (outcome.broken or outcome.interrupted):
        outcome.again = request.command(outcome.batch)


def _begin(run: _Run, bookmarks: Bookmarks) -> Bookmark:
    """Where to begin: behind what an earlier run of the same batch has done, or at the start."""
    request, outcome = run.request, run.outcome
    fresh = Bookmark(asked=run.asked, start=run.span.start, end=run.span.end, window=run.span.start)
    if request.dry_run:
        return fresh
    outcome.batch = request.batch or new_batch_name("backlog")
    found = bookmarks.find(request.batch) if request.batch else None
    if found is None:
        return fresh
    if found.asked != run.asked:
        raise BadInput(
            f"batch {request.batch} was begun with other options and not read to its end; "
            "give the same ones to go on, or another --batch"
        )
    outcome.resumed = found.read
    _say(run, f"going on behind {console.many(found.read, 'incident')} that were read before")
    return found


def _estimate(run: _Run, place: Bookmark) -> None:
    ahead = Span(place.start, place.end).after(place.window)
    count = run.incidents().count(ahead)
    left = max(0, count.incidents - place.window_read)
    estimate = Estimate(left, count.more, len(list(ahead.windows())), run.request.without_room, run.account.plan)
    run.outcome.estimate = estimate
    if left and not run.request.dry_run:
        _say(run, estimate.sentence())


def _count(run: _Run, place: Bookmark) -> None:
    """Reads every page and queues nothing; the estimate is then of what was read, not of what was counted."""
    outcome = run.outcome
    ticker = console.Ticker()
    for page in run.incidents().pages(place):
        outcome.read += page.read
        outcome.unusable += len(page.unusable)
        ticker.show(outcome.progress)
    ticker.close()
    if outcome.estimate is not None:
        outcome.estimate = replace(outcome.estimate, incidents=outcome.read, more=False)


def _queue(run: _Run, bookmarks: Bookmarks, place: Bookmark) -> None:
    """Queues each page, then moves the bookmark: what ends in between is read once more, and nothing doubles."""
    outcome = run.outcome
    on_disk = run.queue.on_disk()
    ticker = console.Ticker()
    try:
        for page in run.incidents().pages(place):
            for receipt in run.queue.enqueue_chunk(page.jobs, outcome.batch):
                outcome.tally.add(receipt)
            if page.place is None:
                bookmarks.remove(outcome.batch)
            else:
                bookmarks.keep(outcome.batch, page.place)
            outcome.read += page.read
            outcome.has_room += page.has_room
            outcome.unusable += len(page.unusable)
            for sentence in page.unusable:
                _say(run, sentence)
            ticker.show(outcome.progress)
    finally:
        ticker.close()
    if outcome.tally.total:
        outcome.tally.on_disk = on_disk.wait()
        name = run.account.name
        outcome.halts = halts_of([Desk(run.account, run.queue.ledger(name), run.queue.bucket(name))])


def _say(run: _Run, sentence: str) -> None:
    if not run.request.json:
        console.remark(sentence)


def _follow(run: _Run) -> None:
    """Waits for the batch, if that was asked for and there is something to wait for."""
    request, outcome = run.request, run.outcome
    if not request.wait or outcome.broken or outcome.interrupted or not (outcome.tally.total or outcome.resumed):
        return
    from producers.cli.follow import ended  # noqa: PLC0415 - only to wait

    if not request.json:
        console.remark(*outcome.lines(time.time(), waits=True))
    try:
        outcome.view, outcome.failures = ended(outcome.batch, quiet=request.json)
    except QueueUnavailable as error:
        outcome.broken = f"{error}; the jobs are queued and go on"
    except Stopped as error:
        outcome.interrupted = True
        console.complain(str(error))


def _report(run: _Run) -> Exit:
    outcome = run.outcome
    if run.request.json:
        console.answer_json(outcome.as_json())
    else:
        console.answer(*outcome.lines(time.time(), waits=run.request.wait))
        console.remark(*outcome.remarks())
    for sentence in outcome.trouble():
        console.complain(sentence)
    return outcome.exit
