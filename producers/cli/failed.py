"""`warrooms failed list` and `show`: the dead letters, and everything about one."""

from __future__ import annotations

import json as json_texts
import sys
import time
from typing import TYPE_CHECKING

from producers import console
from producers.answers import record_json
from producers.bad_input import BadInput
from producers.cli.desks import open_desks
from producers.cli.exits import Exit
from producers.cli.failed_text import Sum, list_line, show_lines, sum_lines
from producers.cli.lookup import find
from producers.cli.selecting import Selection, select
from producers.cli.views import replay_command, state_of, to_do
from worker.errors import QueueUnavailable
from worker.jobs import JobState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producers.choice import Choice
    from worker.records import Record


def list_failed(choice: Choice, most: int | None, *, json: bool) -> Exit:
    """Lists dead letters, the newest first, and sums them up by code; in constant memory.

    Raises:
        BadInput: no such account, batch or code.
        QueueUnavailable: Redis does not answer.
    """
    selection = select(choice)
    code = _as_json(selection, most) if json else _as_text(selection, most)
    for miss in selection.misses:
        console.complain(miss)
    return Exit.BAD_INPUT if selection.misses and code is Exit.DONE else code


def _as_text(selection: Selection, most: int | None) -> Exit:
    found = Sum()
    for record in _shown(selection, found, most):
        console.answer(list_line(record))
    left_out = found.total - most if most is not None else 0
    if left_out > 0:
        console.answer(f"and {console.number(left_out)} older ones, not shown because of --limit")
    if found.total:
        console.answer(*sum_lines(found, selection.choice.account))
    elif not selection.misses:
        console.answer(nothing(selection))
    return Exit.DONE


def _as_json(selection: Selection, most: int | None) -> Exit:
    found = Sum()
    ended: dict[str, object] = {"error": None}

    def letters() -> Iterator[str]:
        try:
            for record in _shown(selection, found, most):
                yield json_texts.dumps(record_json(record) | {"to_do": to_do(record)})
        except QueueUnavailable as error:  # what was read stays readable
            ended["error"] = str(error)

    def rest() -> dict[str, object]:
        return {"total": found.total, "by_code": found.by_code(), **ended}

    console.answer_json_with_list({}, "failed_jobs", letters(), rest)
    if ended["error"] is None:
        return Exit.DONE
    console.complain(str(ended["error"]))
    return Exit.UNREACHABLE


def _shown(selection: Selection, found: Sum, most: int | None) -> Iterator[Record]:
    """Those to be shown; all of them are counted. On a terminal, nobody waits for the count without a sign."""
    for _, record in selection.read():
        found.add(record)
        if most is None or found.total <= most:
            yield record
        elif found.total == most + 1 and sys.stderr.isatty():
            console.remark("counting the others")


def show(target: str, account: str | None, *, json: bool) -> Exit:
    """Shows everything about one dead letter.

    Raises:
        BadInput: no such job, or it is no dead letter.
        QueueUnavailable: Redis does not answer.
    """
    _, record = find(target, open_desks(account))
    if record.state is not JobState.FAILED:
        raise BadInput(
            f"{record.job.id} is no dead letter: {state_of(record, time.time())}; see: warrooms status {record.job.id}"
        )
    if json:
        console.answer_json(record_json(record) | {"to_do": to_do(record), "replay": replay_command(record)})
    else:
        console.answer(*show_lines(record, time.time()))
    return Exit.DONE


def nothing(selection: Selection) -> str:
    """The sentence for an empty selection."""
    if selection.choice.targets or selection.choice.names_something:
        return "no dead letter matches"
    return "there is no dead letter"
