"""Dead letters queued again, oldest first, a chunk at a time; at most so many in one request."""

from __future__ import annotations

import time
from collections import Counter
from itertools import groupby, islice
from typing import TYPE_CHECKING

from producers.choice import code_of
from producers.queue import CHUNK
from worker.errors import InvalidJob
from worker.jobs import JobKey, JobState

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from producers.choice import Choice
    from producers.desk import Desk
    from producers.http.schemas import ReplayJson
    from worker.records import Record

Letter = tuple["Desk", "Record"]


def replay(choice: Choice, desks: Sequence[Desk], most: int, *, dry_run: bool) -> ReplayJson:
    """Queues the chosen dead letters again, at the end of their own lanes.

    Args:
        choice: which ones.
        desks: the accounts that exist for who asks.
        most: how many at most.
        dry_run: only counts them.

    Raises:
        QueueUnavailable: Redis does not answer; what was replayed before stays so, asking again does the rest.
    """
    misses: list[str] = []
    letters = _named(choice, desks, misses) if choice.targets else _all(choice, desks)
    found, gone, by_code = 0, 0, Counter[str]()
    wanted = islice(letters, most)
    while chunk := list(islice(wanted, CHUNK)):
        for account, pairs in groupby(chunk, key=lambda letter: letter[0].account.name):
            records = [record for _, record in pairs]
            (desk,) = (desk for desk in desks if desk.account.name == account)
            kept = [True] * len(records) if dry_run else desk.ledger.replay([record.job for record in records])
            found += sum(kept)
            gone += len(kept) - sum(kept)
            by_code.update(code_of(record) for record, was_one in zip(records, kept, strict=True) if was_one)
    more = next(letters, None) is not None
    return {
        "dry_run": dry_run,
        "replayed": 0 if dry_run else found,
        "selected": found + gone,
        "by_code": dict(by_code),
        "gone": gone,
        "misses": misses,
        "more": more,
    }


def _all(choice: Choice, desks: Sequence[Desk]) -> Iterator[Letter]:
    now_s = time.time()
    for desk in desks:
        if choice.account in {None, desk.account.name}:
            for record in desk.ledger.dead_letters(oldest_first=True):
                if record.state is JobState.FAILED and choice.takes(record, now_s):
                    yield desk, record


def _named(choice: Choice, desks: Sequence[Desk], misses: list[str]) -> Iterator[Letter]:
    now_s = time.time()
    known = {desk.account.name: desk for desk in desks}
    for target in choice.targets:
        try:
            key = JobKey.parse(target)
        except InvalidJob as error:
            misses.append(str(error))
            continue
        desk = known.get(key.account)
        record = desk.ledger.record(str(key)) if desk else None
        if desk is None or record is None:
            misses.append(f"there is no job {key}: never queued, or forgotten after the retention")
        elif record.state is not JobState.FAILED:
            misses.append(f"{key} is no dead letter: it is {record.state.value}")
        elif not choice.takes(record, now_s) or choice.account not in {None, key.account}:
            misses.append(f"{key} is not among the dead letters that the other fields choose")
        else:
            yield desk, record
