"""`warrooms open`: one incident, one line of answer."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Final

from producers import console
from producers.cli.desks import defaults
from producers.cli.exits import Exit, StillWaiting
from producers.cli.views import record_json, room_link, state_of, to_do
from producers.parsing import parse_job
from producers.queue import JobQueue, Receipt, Status
from worker.errors import QueueUnavailable
from worker.jobs import JobState, Lane, WarRoomJob
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.ledger import Ledger, Record

LOOK_EVERY_S: Final = 0.25

PATIENCE_S: Final = 30.0
"""How long waiting goes on while Redis does not answer."""

NOBODY_CAME_S: Final = 15.0
"""A job that is queued so long after its time may wait for a worker that does not run."""


def open_one(
    fields: Mapping[str, object], account: str | None, *, wait: bool, timeout_s: float | None, json: bool
) -> Exit:
    """Queues one job and says what became of it.

    Raises:
        InvalidJob: the fields are no job.
        StillWaiting: it is not finished in time.
        QueueUnavailable: Redis does not answer.
    """
    settings = Settings.load()
    job = parse_job(fields, defaults(settings.accounts(), account, None, Lane.URGENT))
    with closing(JobQueue(settings)) as queue:
        receipt = queue.enqueue(job)
        ledger = queue.ledger(job.account)
        record = ledger.record(job.id)
        if wait and not (record and record.state.finished):
            if not json:
                console.remark(_receipt_line(job, receipt, record))
            record = _finished(ledger, job, receipt, timeout_s, quiet=json)
    if json:
        console.answer_json(_receipt_json(receipt) | (record_json(record) if record else {}))
    else:
        console.answer(_record_line(record) if wait and record else _receipt_line(job, receipt, record))
    failed = wait and record is not None and record.state is JobState.FAILED
    return Exit.JOBS_FAILED if failed else Exit.DONE


def _finished(
    ledger: Ledger, job: WarRoomJob, receipt: Receipt, timeout_s: float | None, *, quiet: bool
) -> Record | None:
    """Waits for the end of the job, and says on stderr what happens meanwhile."""
    began = answered = time.monotonic()
    told: object = None
    starts_in_s = 0.0 if receipt.starts_at is None else max(0.0, receipt.starts_at.timestamp() - time.time())
    asked_for_worker = quiet
    while True:
        try:
            record = ledger.record(job.id)
            answered = time.monotonic()
        except QueueUnavailable as error:
            if not error.passing or time.monotonic() - answered > PATIENCE_S:
                raise
            _sleep(job)
            continue
        if record is None or record.state.finished:
            return record
        waited_s = time.monotonic() - began
        if timeout_s is not None and waited_s >= timeout_s:
            raise StillWaiting(
                f"the job is still {record.state.value} after {timeout_s:g} s and goes on; "
                f"follow it with: warrooms status {job.id}"
            )
        news = (record.state, record.attempts)
        if not quiet and told not in {None, news}:
            console.remark(f"{state_of(record, time.time())}{_because(record)}")
        told = news
        late = record.state is JobState.QUEUED and waited_s > starts_in_s + NOBODY_CAME_S
        if late and not asked_for_worker:
            console.remark(f"no worker has taken it for {console.duration(waited_s)}: is one running?")
            asked_for_worker = True
        _sleep(job)


def _sleep(job: WarRoomJob) -> None:
    try:
        time.sleep(LOOK_EVERY_S)
    except KeyboardInterrupt:
        console.remark("", f"stopped waiting; the job goes on: warrooms status {job.id}")
        sys.exit(Exit.INTERRUPTED)


def _because(record: Record) -> str:
    return f": {record.message}" if record.state is JobState.RETRYING and record.message else ""


def _receipt_line(job: WarRoomJob, receipt: Receipt, record: Record | None) -> str:
    if receipt.status is Status.ALREADY_OPEN:
        link = room_link(record) if record else receipt.share_link or receipt.chat_id
        return f"already open: {link}"
    if receipt.status is not Status.QUEUED or receipt.starts_at is None:
        return f"{receipt.status.value}: {receipt.job_id}" + (
            f", {state_of(record, time.time())}" if record is not None else ""
        )
    place = "next in line" if not receipt.position else f"{console.many(receipt.position, 'job')} in front"
    starts = console.when(receipt.starts_at.timestamp(), time.time())
    return f"queued ({job.lane.value}): {receipt.job_id}, {place}, expected to start {starts}"


def _record_line(record: Record) -> str:
    if record.state.has_room:
        return f"{record.state.value}: {room_link(record)}"
    if record.state is JobState.FAILED:
        return f"failed: {record.message}; {to_do(record)}"
    return f"{record.state.value}: {record.job.id}"


def _receipt_json(receipt: Receipt) -> dict[str, object]:
    return {
        "job_id": receipt.job_id,
        "status": receipt.status.value,
        "position": receipt.position,
        "starts_at": None if receipt.starts_at is None else console.iso(receipt.starts_at.timestamp()),
    }
