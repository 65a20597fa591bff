"""Dead letters by pages: newest first over all accounts, and where the next page begins. Pure."""

from __future__ import annotations

import heapq
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from producers.bad_input import BadInput
from producers.parsing import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from worker.records import Record


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A dead letter's place: when it failed, in milliseconds since the epoch, then its id."""

    failed_ms: int
    job_id: str

    @classmethod
    def of(cls, record: Record) -> Self:
        """The place of a dead letter."""
        return cls(round((record.finished_at or record.updated_at) * 1000), record.job.id)

    @classmethod
    def parse(cls, cursor: str) -> Self:
        """The place that `str(place)` was made from.

        Raises:
            BadInput: it is no cursor of ours.
        """
        parts = re.fullmatch(r"([0-9]{1,15})-([A-Za-z0-9_.-]{1,120})", cursor, re.ASCII)
        if parts is None:
            raise BadInput(f"cursor must be the next_cursor of the page before, got {shown(cursor)}")
        return cls(int(parts[1]), parts[2])

    def __str__(self) -> str:
        return f"{self.failed_ms}-{self.job_id}"


def newest_first(ledgers: Iterable[Iterable[Record]], after: Place | None) -> Iterator[Record]:
    """The dead letters of several ledgers, each newest first, behind a place."""
    for record in heapq.merge(*ledgers, key=Place.of, reverse=True):
        if after is None or Place.of(record) < after:
            yield record
