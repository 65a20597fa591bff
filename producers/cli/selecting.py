"""The dead letters that a choice means, read from the ledgers as they are asked for."""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING

from producers.bad_input import BadInput
from producers.choice import KNOWN_CODES, code_of
from producers.cli.desks import known_batch, open_desks
from producers.cli.lookup import find
from producers.cli.views import state_of
from producers.parsing import shown
from worker.errors import InvalidJob
from worker.jobs import JobState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from producers.choice import Choice
    from producers.desk import Desk
    from worker.records import Record


@dataclass(slots=True)
class Selection:
    """What a choice means here and now.

    Args:
        choice: what the person said.
        desks: the accounts it concerns.
        misses: why a job that was named is not selected, a sentence each; complete once the selection was read.
    """

    choice: Choice
    desks: Sequence[Desk]
    misses: list[str] = field(default_factory=list)

    def read(self, *, oldest_first: bool = False, most: int | None = None) -> Iterator[tuple[Desk, Record]]:
        """The dead letters, the newest first unless asked otherwise; those named in the order in which they were.

        Args:
            oldest_first: account by account, the oldest first: the order in which to queue them again.
            most: how many at most; None means all.
        """
        now_s = time.time()
        if self.choice.targets:
            each = self._named()
        elif oldest_first:
            each = ((desk, one) for desk in self.desks for one in desk.ledger.dead_letters(oldest_first=True))
        else:
            letters = (_letters(desk) for desk in self.desks)
            each = heapq.merge(*letters, key=lambda pair: pair[1].finished_at or 0.0, reverse=True)
        taken = (pair for pair in each if pair[1].state is JobState.FAILED and self.choice.takes(pair[1], now_s))
        yield from islice(taken, most)

    def _named(self) -> Iterator[tuple[Desk, Record]]:
        met = set[str]()
        for target in self.choice.targets:
            try:
                desk, record = find(target, self.desks)
            except (BadInput, InvalidJob) as error:
                self.misses.append(str(error))
                continue
            if record.job.id in met:
                continue
            met.add(record.job.id)
            if record.state is JobState.FAILED:
                yield desk, record
            else:
                self.misses.append(f"{record.job.id} is no dead letter: {state_of(record, time.time())}")


def select(choice: Choice) -> Selection:
    """Looks up what the choice names: accounts, batch and codes.

    Raises:
        BadInput: no such account, batch or code.
        QueueUnavailable: Redis does not answer.
    """
    desks = open_desks(choice.account)
    if choice.batch is not None:
        known = known_batch(desks, choice.batch)
        desks = [desk for desk in desks if desk.account.name in known]
    if choice.unfamiliar_codes:
        _check_codes(choice, desks)
    return Selection(choice, desks)


def _letters(desk: Desk) -> Iterator[tuple[Desk, Record]]:
    for record in desk.ledger.dead_letters():
        yield desk, record


def _check_codes(choice: Choice, desks: Sequence[Desk]) -> None:
    """The API may give codes that nobody documented: one that stands in a dead letter is no slip of the pen."""
    missing, seen = set(choice.unfamiliar_codes), dict[str, str]()
    for desk in desks:
        for record in desk.ledger.dead_letters():
            code = code_of(record)
            seen[code.casefold()] = code
            missing.discard(code.casefold())
            if not missing:
                return
    code = min(missing)
    names = KNOWN_CODES | seen
    close = [names[one] for one in get_close_matches(code, names, n=1)]
    here = f"; codes here: {', '.join(sorted(seen.values()))}" if seen else ""
    hint = f"; did you mean {close[0]}?" if close else here
    raise BadInput(f"no dead letter has the code {shown(choice.as_typed(code))}, and it is none that is known{hint}")
