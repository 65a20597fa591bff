"""From what a person writes to a job's record: a job id, or an incident id alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from producers.bad_input import BadInput
from producers.desk import batch_progress
from producers.parsing import shown
from worker.jobs import BATCH_PATTERN, JobKey, incident_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from producers.desk import Desk
    from worker.records import Record


def find(target: str, desks: Sequence[Desk]) -> tuple[Desk, Record]:
    """The record of a job id, or of a bare incident id with its account's default integration.

    Raises:
        BadInput: it is neither, there is no such job, or several may be meant.
        InvalidJob: it is no job id, but looks like one.
        QueueUnavailable: Redis does not answer.
    """
    asked = _whole(target, desks) if target.count(".") == 2 else _by_incident(target, desks)  # noqa: PLR2004
    records = [(desk, desk.ledger.record(job_id)) for desk, job_id in asked]
    found = [(desk, record) for desk, record in records if record is not None]
    if not found:
        ids = " or ".join(job_id for _, job_id in asked)
        raise BadInput(f"there is no job {ids}: never queued, or forgotten after the retention")
    if len(found) > 1:
        ids = " or ".join(record.job.id for _, record in found)
        raise BadInput(f"{shown(target)} is the incident of several jobs; name one: {ids}")
    return found[0]


def _whole(target: str, desks: Sequence[Desk]) -> list[tuple[Desk, str]]:
    key = JobKey.parse(target)
    mine = [desk for desk in desks if desk.account.name == key.account]
    if not mine:
        looked = ", ".join(desk.account.name for desk in desks)
        raise BadInput(f"that job is of account {shown(key.account)}, and this command looks at: {looked}")
    return [(mine[0], str(key))]


def _by_incident(target: str, desks: Sequence[Desk]) -> list[tuple[Desk, str]]:
    try:
        incident = incident_id(target)
    except ValueError as error:
        if re.fullmatch(BATCH_PATTERN.strip("^$"), target) and batch_progress(desks, target):
            raise BadInput(f"{shown(target)} is a batch: give --batch {target}") from None
        raise BadInput(
            f"{shown(target)} is neither a job id (account.incident.integration) nor an incident id, which {error}"
        ) from None
    asked = [(d, f"{d.account.name}.{incident}.{d.account.integration_id}") for d in desks if d.account.integration_id]
    if not asked:
        raise BadInput(
            "an incident id alone is enough only where the account has a default integration; "
            "give the job id (account.incident.integration) or set FLASHDUTY_INTEGRATION_ID"
        )
    return asked
