"""`warrooms open`: one incident, one line of answer."""

from __future__ import annotations

import math
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from producers import console
from producers.answers import receipt_json, record_json
from producers.bad_input import BadInput
from producers.cli.desks import Patience, defaults, open_desks
from producers.cli.exits import Exit, StillWaiting, Stopped
from producers.cli.integrations import Reasons, lookup
from producers.cli.views import room_link, state_of, to_do
from producers.look import look
from producers.parsing import parse_job
from producers.queue import JobQueue
from producers.receipt import Receipt, Status
from worker.errors import InvalidJob, QueueUnavailable
from worker.jobs import JobState, Lane, WarRoomJob
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from producers.desk import Desk
    from producers.look import Look
    from producers.parsing import Defaults
    from worker.records import Record

LOOK_EVERY_S: Final = 0.25

NOBODY_CAME_S: Final = 15.0
"""A job that is queued so long after its time may wait for a worker that does not run."""


def open_one(
    fields: Mapping[str, object], account: str | None, *, wait: bool, timeout_s: float | None, json: bool
) -> Exit:
    """Queues one job and says what became of it.

    Raises:
        BadInput: no such account, or none named where there are several.
        InvalidJob: the fields are no job.
        StillWaiting: it is not finished in time.
        Stopped: Ctrl-C while waiting.
        QueueUnavailable: Redis does not answer.
    """
    settings = Settings.load()
    accounts = settings.accounts()
    usual = defaults(accounts, account, None, Lane.URGENT)
    if usual.account not in accounts:
        raise BadInput(f"there are several accounts; name one with --account: {', '.join(accounts)}")
    with closing(JobQueue(settings)) as queue:
        job = _job(fields, settings, queue, usual)
        receipt = queue.enqueue(job)
        record = queue.ledger(job.account).record(job.id)
        (desk,) = queue.desks([job.account])
        seen = look(desk)
    line = partial(_receipt_line, job, receipt, record, _waits_for(seen, known=receipt.starts_at is not None))
    if wait and not (record and record.state.finished):
        if not json:
            console.remark(line())
        try:
            record = _finished(job, receipt, timeout_s, quiet=json)
        except KeyboardInterrupt:
            raise Stopped(f"stopped waiting; the job goes on: warrooms status {job.id}") from None
    if json:
        told = {**receipt_json(receipt), "workers_alive": seen.crew.alive}
        console.answer_json({**told, **(record_json(record) if record else {})})
    elif not wait or record is None or record.state.finished:
        console.answer(_record_line(record) if wait and record else line())
    if not wait and not (record and record.state.finished):
        why = [] if json else _why_not_called(seen)
        console.remark(*filter(None, [*why, seen.crew.sentence(job.account)]))
    if wait and record is not None and not record.state.finished:
        raise StillWaiting(
            f"the job is still {record.state.value} after {timeout_s:g} s and goes on; "
            f"follow it with: warrooms status {job.id}"
        )
    failed = wait and record is not None and record.state is JobState.FAILED
    return Exit.JOBS_FAILED if failed else Exit.DONE


def _job(fields: Mapping[str, object], settings: Settings, queue: JobQueue, usual: Defaults) -> WarRoomJob:
    """The job; where no integration is named or set, the account's only one is looked up."""
    why = Reasons(quiet=True)
    try:
        return parse_job(fields, replace(usual, integration_ids=lookup(usual.integration_ids, settings, queue, why)))
    except InvalidJob as error:
        problem = f"{error}; {why}" if str(why) else str(error)
    raise InvalidJob(problem)


def _finished(job: WarRoomJob, receipt: Receipt, timeout_s: float | None, *, quiet: bool) -> Record | None:
    """Waits for the end of the job or of the time, and says on stderr what happens meanwhile."""
    (desk,) = open_desks(job.account, hold=Patience(quiet=quiet))
    began_s = time.monotonic()
    news = _News(receipt, quiet=quiet)
    while True:
        record = desk.ledger.record(job.id)
        if record is None:
            raise QueueUnavailable(f"job {job.id} is gone from Redis: was its data lost? Open it again")
        if record.state.finished:
            return record
        waited_s = time.monotonic() - began_s
        if timeout_s is not None and waited_s >= timeout_s:
            return record
        news.tell(record, waited_s)
        news.tell_of_account(desk)
        time.sleep(LOOK_EVERY_S)


class _News:
    """Says each change of a job once, and once that nobody seems to work."""

    def __init__(self, receipt: Receipt, *, quiet: bool) -> None:
        starts_in_s = receipt.starts_at.timestamp() - time.time() if receipt.starts_at else 0.0
        self._too_late_s = max(0.0, starts_in_s) + NOBODY_CAME_S
        self._told: object = None
        self._halted: object = None
        self._lonely = False
        self._quiet = quiet

    def tell(self, record: Record, waited_s: float) -> None:
        if self._quiet:
            return
        news = (record.state, record.attempts)
        if self._told not in {None, news}:
            console.remark(f"{state_of(record, time.time())}{_because(record)}")
        self._told = news
        if record.state is JobState.QUEUED and waited_s > self._too_late_s and not (self._halted or self._lonely):
            console.remark(f"no worker has taken it for {console.duration(waited_s)}: see the logs of the workers")
            self._too_late_s = math.inf

    def tell_of_account(self, desk: Desk) -> None:
        """Says once why the account is not called or that nobody works for it, and once that this is over."""
        if self._quiet:
            return
        name, seen = desk.account.name, look(desk)
        alone = seen.crew.sentence(name)
        if alone and not self._lonely:
            console.remark(alone)
        elif self._lonely and not alone:
            console.remark(f"account {name} has a worker")
        self._lonely = bool(alone)
        halted = (seen.halt and (seen.halt.trouble.level, seen.halt.trouble.code), bool(seen.hold))
        if any(halted) and halted != self._halted:
            console.remark(*_why_not_called(seen))
        elif self._halted and not any(halted):
            console.remark(f"account {name} is called again")
        self._halted = halted if any(halted) else None


def _because(record: Record) -> str:
    return f": {record.message}" if record.state is JobState.RETRYING and record.message else ""


def _why_not_called(seen: Look) -> list[str]:
    """Why the account is not called, a sentence each: by itself, by a person."""
    return [sentence for sentence in (seen.halt.sentence() if seen.halt else "", seen.hold) if sentence]


def _waits_for(seen: Look, *, known: bool) -> str:
    """What has to happen before the job can start at all; empty if nothing. `known`: whether its time is."""
    if seen.halt is not None or (seen.hold and not known):
        return "waits until its account is called again"
    return "" if seen.crew.alive else "waits for a worker"


def _receipt_line(job: WarRoomJob, receipt: Receipt, record: Record | None, waits: str) -> str:
    if receipt.status is Status.ALREADY_OPEN:
        link = room_link(record) if record else receipt.share_link or receipt.chat_id
        return f"already open: {link}"
    if receipt.position is None:
        state = state_of(record, time.time()).removeprefix("queued, ") if record else "no longer known"
        lane = record.job.lane.value if record else job.lane.value
        return f"{receipt.status.value} ({lane}): {receipt.job_id}, {state}"
    place = "next in line" if not receipt.position else f"{console.many(receipt.position, 'job')} in front"
    lane = record.job.lane if record else job.lane
    expected = "waits for its turn"
    if receipt.starts_at is not None and receipt.done_by is not None:
        starts = console.starts(receipt.starts_at.timestamp(), time.time())
        expected = f"{starts}, its room {console.when(receipt.done_by.timestamp(), time.time())}"
    return f"{receipt.status.value} ({lane.value}): {receipt.job_id}, {place}, {waits or expected}"


def _record_line(record: Record) -> str:
    if record.state.has_room:
        return f"{record.state.value}: {room_link(record)}"
    if record.state is JobState.FAILED:
        return f"failed: {record.message}; {to_do(record)}"
    return f"{record.state.value}: {record.job.id}"
