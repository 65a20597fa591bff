"""`warrooms explain`: what one job waits for, in words."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from producers import console
from producers.cli.desks import open_desks
from producers.cli.exits import Exit
from producers.cli.lookup import find
from producers.crew import Crew
from producers.desk import halt_of
from producers.explaining import Explanation
from producers.queue import outlook

if TYPE_CHECKING:
    from producers.desk import Desk
    from worker.records import Record


def explain(target: str, account: str | None, *, json: bool) -> Exit:
    """Says what the job waits for.

    Raises:
        BadInput: no such job or account.
        QueueUnavailable: Redis does not answer.
    """
    found = explanation_of(*find(target, open_desks(account)))
    if json:
        console.answer_json(found.as_json())
    else:
        console.answer(found.record.job.id, *(f"  {sentence}" for sentence in found.sentences()))
    return Exit.DONE


def explanation_of(desk: Desk, record: Record) -> Explanation:
    """All that bears on one job, as Redis has it now."""
    return Explanation(
        record,
        desk.ledger.position(record.job),
        outlook(desk.account, desk.ledger, desk.bucket),
        Crew(desk.ledger.workers()),
        halt_of(desk),
        time.time(),
    )
