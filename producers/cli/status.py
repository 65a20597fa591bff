"""`warrooms status`: one job, one batch, or how the accounts are doing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from producers import console
from producers.answers import batch_json, record_json
from producers.bad_input import BadInput
from producers.cli.desks import failures, known_batch, open_desks
from producers.cli.exits import Exit
from producers.cli.lookup import find
from producers.cli.overview import AccountView, account_json, account_lines, batch_line
from producers.cli.views import failure_lines, record_lines
from producers.desk import Desk, batch_progress
from producers.look import look
from producers.outlook import batch_view, explanation_of
from worker.jobs import JobState

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    desk, record = find(target, open_desks(account))
    told = explanation_of(desk, record)
    if json:
        console.answer_json(record_json(record) | told.times_json())
    else:
        console.answer(*record_lines(record, time.time()))
        if not record.state.finished:
            console.answer(*(f"  {'waits':<9}{sentence}" for sentence in told.sentences()))
    return Exit.JOBS_FAILED if record.state is JobState.FAILED else Exit.DONE


def _batch(name: str, desks: Sequence[Desk], *, json: bool) -> Exit:
    view = batch_view(desks, name, known_batch(desks, name))
    failed = failures(desks, name) if view.states[JobState.FAILED] else []
    if json:
        console.answer_json(batch_json(view) | {"failed_jobs": [record_json(record) for record in failed]})
    else:
        console.answer(batch_line(view, time.time()), *failure_lines(failed))
    return Exit.JOBS_FAILED if view.states[JobState.FAILED] else Exit.DONE


def _view(desk: Desk) -> AccountView:
    progress = desk.ledger.progress()
    batches = ((name, batch_progress([desk], name)) for name in desk.ledger.batches(NEWEST_BATCHES))
    seen = look(desk)
    return AccountView(
        account=desk.account,
        progress=progress,
        forecast=seen.forecast,
        batches=[batch_view([desk], name, found) for name, found in batches if found],
        failures=failures([desk]),
        halt=seen.halt,
        crew=seen.crew,
    )
