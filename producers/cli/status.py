"""`warrooms status`: one job, one batch, or how the accounts are doing."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from producers import console
from producers.cli.desks import Desk, batch_progress, failures, known_batch, open_desks
from producers.cli.exits import BadInput, Exit
from producers.cli.overview import (
    AccountView,
    BatchView,
    account_json,
    account_lines,
    batch_json,
    batch_line,
)
from producers.cli.views import failure_lines, record_json, record_lines
from producers.parsing import shown
from worker.jobs import BATCH_PATTERN, JobKey, JobState, incident_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.records import Record

NEWEST_BATCHES = 5


def status(target: str | None, batch: str | None, account: str | None, *, json: bool) -> Exit:
    """Shows what was asked for.

    Raises:
        BadInput: no such job, batch or account.
        QueueUnavailable: Redis does not answer.
    """
    if target is not None and batch is not None:
        raise BadInput("give a job or --batch, not both")
    if target is not None:
        return _job(target, account, json=json)
    desks = open_desks(account)
    if batch is not None:
        return _batch(batch, desks, json=json)
    views = [_view(desk) for desk in desks]
    if json:
        console.answer_json({"accounts": [account_json(view) for view in views]})
    else:
        console.answer(*(line for view in views for line in account_lines(view, time.time())))
    return Exit.DONE


def _job(target: str, account: str | None, *, json: bool) -> Exit:
    record = _found(target, account)
    if json:
        console.answer_json(record_json(record))
    else:
        console.answer(*record_lines(record, time.time()))
    return Exit.JOBS_FAILED if record.state is JobState.FAILED else Exit.DONE


def _found(target: str, account: str | None) -> Record:
    """The record of a job id, or of a bare incident id with its account's default integration."""
    if target.count(".") == 2:  # noqa: PLR2004 - account.incident.integration
        key = JobKey.parse(target)
        if account not in {None, key.account}:
            raise BadInput(f"that job is of account {shown(key.account)}, not of --account {shown(account)}")
        (desk,) = open_desks(key.account)
        record = desk.ledger.record(str(key))
        asked = [str(key)]
    else:
        desks = open_desks(account)
        asked = _ids_of(target, desks)
        records = (desk.ledger.record(job_id) for desk in desks for job_id in asked if _is_of(job_id, desk))
        record = next((found for found in records if found is not None), None)
    if record is None:
        raise BadInput(f"there is no job {' or '.join(asked)}: never queued, or forgotten after the retention")
    return record


def _ids_of(target: str, desks: Sequence[Desk]) -> list[str]:
    try:
        incident = incident_id(target)
    except ValueError as error:
        if re.fullmatch(BATCH_PATTERN.strip("^$"), target) and batch_progress(desks, target):
            raise BadInput(f"{shown(target)} is a batch: warrooms status --batch {target}") from None
        raise BadInput(
            f"{shown(target)} is neither a job id (account.incident.integration) nor an incident id, which {error}"
        ) from None
    ids = [f"{d.account.name}.{incident}.{d.account.integration_id}" for d in desks if d.account.integration_id]
    if not ids:
        raise BadInput(
            "an incident id alone is enough only where the account has a default integration; "
            "give the job id (account.incident.integration) or set FLASHDUTY_INTEGRATION_ID"
        )
    return ids


def _is_of(job_id: str, desk: Desk) -> bool:
    return job_id.partition(".")[0] == desk.account.name


def _batch(name: str, desks: Sequence[Desk], *, json: bool) -> Exit:
    view = BatchView.of(name, known_batch(desks, name))
    failed = failures(desks, name) if view.states[JobState.FAILED] else []
    if json:
        console.answer_json(batch_json(view) | {"failed_jobs": [record_json(record) for record in failed]})
    else:
        console.answer(batch_line(view, time.time()), *failure_lines(failed))
    return Exit.JOBS_FAILED if view.states[JobState.FAILED] else Exit.DONE


def _view(desk: Desk) -> AccountView:
    progress = desk.ledger.progress()
    batches = ((name, batch_progress([desk], name)) for name in desk.ledger.batches(NEWEST_BATCHES))
    return AccountView(
        account=desk.account,
        progress=progress,
        level=desk.bucket.peek(),
        batches=[BatchView.of(name, found) for name, found in batches if found],
        failures=failures([desk]),
    )
