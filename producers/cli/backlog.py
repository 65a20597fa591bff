"""`warrooms backlog`: the incidents that Flashduty lists into the queue, piece by piece, and one summary at the end."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from producers import console
from producers.bad_input import BadInput
from producers.bookmark import Bookmark, Bookmarks
from producers.cli.backlog_text import Estimate, Outcome
from producers.cli.desks import check_batch, defaults
from producers.cli.exits import Exit, Stopped
from producers.cli.integrations import Reasons, lookup
from producers.cli.interrupts import as_interrupts, exit_of
from producers.cli.ticker import Ticker
from producers.incident_list import IncidentList
from producers.look import look
from producers.paced import Paced
from producers.queue import JobQueue, new_batch_name
from producers.receipt import Status
from producers.span import Span
from worker.errors import FlashdutyError, QueueUnavailable, RequestRefused
from worker.jobs import Lane
from worker.settings import Settings

if TYPE_CHECKING:
    from producers.cli.backlog_request import Request
    from producers.incident_list import Piece
    from worker.settings import Account


@dataclass(slots=True)
class _Run:
    """One run of the command: what it works with, and what came of it so far."""

    request: Request
    account: Account
    queue: JobQueue
    paced: Paced
    bookmarks: Bookmarks
    place: Bookmark
    outcome: Outcome

    def incidents(self) -> IncidentList:
        """Where the jobs come from. A dry run looks for no rooms: that would cost most of what the real one does."""
        request = self.request
        return IncidentList(self.paced, self.place.asked, self.account.name, request.lane, look=not request.dry_run)


def backlog(request: Request) -> Exit:
    """Queues what Flashduty lists and says what became of it.

    Raises:
        BadInput: an option is wrong, or no integration can be found.
        SettingsError: a setting is wrong, or there is no app key here.
        QueueUnavailable: Redis does not answer.
        Stopped: Ctrl-C, SIGTERM or SIGHUP before anything was read.
    """
    check_batch(request.batch)
    span = Span.of(request.since, request.until, time.time())
    request.asked()
    settings = Settings.load()
    with as_interrupts():
        with ExitStack() as closes:
            try:
                run = _begin(request, span, settings, closes)
            except KeyboardInterrupt as asked:
                raise Stopped("stopped; nothing was queued", exit_of(asked)) from None
            _read(run)
        _follow(run)
    return _report(run)


def _begin(request: Request, span: Span, settings: Settings, closes: ExitStack) -> _Run:
    accounts = settings.accounts()
    usual = defaults(accounts, request.account, request.integration, Lane.BULK)
    if usual.account not in accounts:
        raise BadInput(f"there are several accounts; name one with --account: {', '.join(accounts)}")
    account = accounts[usual.account]
    queue = closes.enter_context(closing(JobQueue(settings)))
    said = Reasons(quiet=request.json)
    paced = closes.enter_context(closing(Paced.of(settings, account, queue.bucket(account.name), said)))
    integration_id = _integration(settings, queue, account, usual.integration_ids.get(account.name))
    outcome = Outcome(account.name, integration_id, dry_run=request.dry_run)
    bookmarks = Bookmarks(queue.store, account.name)
    fresh = Bookmark(asked=request.asked(integration_id), start=span.start, end=span.end, window=span.start)
    run = _Run(request, account, queue, paced, bookmarks, fresh, outcome)
    if not request.dry_run:
        outcome.batch = request.batch or new_batch_name("backlog")
        run.place = _place(run)
    return run


def _integration(settings: Settings, queue: JobQueue, account: Account, known: int | None) -> int:
    if known is not None:
        return known
    why = Reasons(quiet=True)
    found = lookup({}, settings, queue, why).get(account.name)
    if found is None:
        raise BadInput(f"no IM integration is set: give --integration N or FLASHDUTY_INTEGRATION_ID; {why}")
    return found


def _place(run: _Run) -> Bookmark:
    """Where to begin: behind what an earlier run of the same batch has done, or at the start.

    The start is remembered too: `24h` means the same day for who goes on. And a name that nobody has given is said
    at once, with --json as well: whoever is killed can say nothing any more.
    """
    request, outcome, fresh = run.request, run.outcome, run.place
    found = run.bookmarks.find(request.batch) if request.batch else None
    if found is not None and found.asked == fresh.asked:
        outcome.resumed = found.read
        start, end = (console.local(at_s).isoformat(sep=" ") for at_s in (found.start, found.end))
        _say(
            run, f"going on behind {console.many(found.read, 'incident')} that were read before, from {start} to {end}"
        )
        return found
    if found is not None and found.read:
        raise BadInput(
            f"batch {request.batch} was begun with other options and not read to its end; "
            "give the same ones to go on, or another --batch"
        )
    run.bookmarks.keep(outcome.batch, fresh)
    if not request.batch:
        console.remark(f"batch {outcome.batch}; if this is cut off, go on with: {request.command(outcome.batch)}")
    return fresh


def _read(run: _Run) -> None:
    """Reads and queues. Whatever stops it, the outcome says what was done before."""
    outcome, request = run.outcome, run.request
    try:
        _estimate(run)
        if request.dry_run:
            _count(run)
        else:
            _queue(run)
    except QueueUnavailable as error:
        outcome.broken = str(error)
    except FlashdutyError as error:
        outcome.broken = str(error) + (f"; {error.hint}" if error.hint else "")
        outcome.exit_broken = Exit.BAD_INPUT if isinstance(error, RequestRefused) else Exit.UNREACHABLE
    except KeyboardInterrupt as asked:
        outcome.ended_by = exit_of(asked)
    outcome.calls = run.paced.calls
    if not request.dry_run and (outcome.broken or outcome.ended_by):
        outcome.again = request.command(outcome.batch)


def _estimate(run: _Run) -> None:
    place = run.place
    ahead = Span(place.start, place.end).after(place.window)
    count = run.incidents().count(ahead)
    left = max(0, count.incidents - place.window_read)
    estimate = Estimate(left, count.more, len(list(ahead.windows())), run.request.without_room, run.account.plan)
    run.outcome.estimate = estimate
    if left and not run.request.dry_run:
        _say(run, estimate.sentence())


def _count(run: _Run) -> None:
    """Reads every page and queues nothing; the estimate is then of what was read, not of what was counted."""
    outcome = run.outcome
    with Ticker() as ticker:
        for page in run.incidents().pieces(run.place):
            outcome.read += page.read
            outcome.unusable += len(page.unusable)
            ticker.show(outcome.progress())
    if outcome.estimate is not None:
        outcome.estimate = replace(outcome.estimate, incidents=outcome.read, more=False)


def _queue(run: _Run) -> None:
    """Queues each piece, then moves the bookmark: what ends in between is read once more, and nothing doubles."""
    outcome = run.outcome
    on_disk = run.queue.on_disk()
    with Ticker() as ticker:
        for piece in run.incidents().pieces(run.place):
            _hand_in(run, piece)
            if piece.place is None:
                run.bookmarks.remove(outcome.batch)
            else:
                run.bookmarks.keep(outcome.batch, piece.place)
            outcome.read += piece.read
            outcome.has_room += piece.has_room
            outcome.gone += len(piece.gone)
            outcome.unusable += len(piece.unusable)
            for sentence in piece.unusable:
                _say(run, sentence)
            ticker.show(outcome.progress())
    if outcome.tally.total:
        outcome.tally.on_disk = on_disk.wait()
        (desk,) = run.queue.desks([run.account.name])
        seen = look(desk)
        outcome.halts, outcome.hold = [seen.halt] if seen.halt else [], seen.hold


def _hand_in(run: _Run, piece: Piece) -> None:
    receipts = run.queue.enqueue_chunk(piece.jobs, run.outcome.batch)
    for job, receipt in zip(piece.jobs, receipts, strict=True):
        run.outcome.tally.add(receipt)
        run.outcome.gone_ours += job.incident_id in piece.gone and receipt.status is Status.ALREADY_OPEN


def _say(run: _Run, sentence: str) -> None:
    if not run.request.json:
        console.remark(sentence)


def _follow(run: _Run) -> None:
    """Waits for the batch, if that was asked for and there is something to wait for."""
    request, outcome = run.request, run.outcome
    if not request.wait or outcome.broken or outcome.ended_by or not (outcome.tally.total or outcome.resumed):
        return
    from producers.cli.follow import ended  # noqa: PLC0415 - only to wait

    if not request.json:
        console.remark(*outcome.lines(time.time(), waits=True))
    try:
        outcome.view, outcome.failures = ended(outcome.batch, quiet=request.json)
    except QueueUnavailable as error:
        outcome.broken = f"{error}; the jobs are queued and go on"
    except Stopped as error:
        outcome.ended_by, outcome.stopped = error.exit, str(error)


def _report(run: _Run) -> Exit:
    outcome = run.outcome
    try:
        _answer(run)
    except OSError:
        if outcome.ended_by is not Exit.HUNG_UP:
            raise
        console.forget_stdout()  # that was the terminal
    for sentence in outcome.trouble():
        console.complain(sentence)
    return outcome.exit


def _answer(run: _Run) -> None:
    outcome = run.outcome
    if run.request.json:
        console.answer_json(outcome.as_json())
    else:
        console.answer(*outcome.lines(time.time(), waits=run.request.wait))
        console.remark(*outcome.remarks())
