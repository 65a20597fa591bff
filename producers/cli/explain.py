"""`warrooms explain`: what one job waits for, in words."""

from __future__ import annotations

from producers import console
from producers.cli.desks import open_desks
from producers.cli.exits import Exit
from producers.cli.lookup import find
from producers.outlook import explanation_of


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
