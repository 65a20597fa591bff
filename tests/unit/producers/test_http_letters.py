"""Pages of dead letters: newest first over all accounts, each once."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import pytest

from producers.bad_input import BadInput
from producers.http.letters import Place, newest_first
from tests.records import record
from worker.jobs import JobState, WarRoomJob

if TYPE_CHECKING:
    from worker.records import Record


def dead(account: str, number: int, at_s: float) -> Record:
    job = WarRoomJob(account=account, incident_id=f"{number:024x}", integration_id=7)
    return record(JobState.FAILED, job, finished_at=at_s)


def test_pages_follow_each_other_over_all_accounts() -> None:
    ledgers = [
        [dead(account, number, at_s) for number, at_s in [(4, 9.0), (3, 9.0), (2, 5.0), (1, 1.0)]]
        for account in ("a", "b")
    ]
    seen: list[Place] = []
    after: Place | None = None
    while page := list(islice(newest_first(ledgers, after), 3)):
        seen += map(Place.of, page)
        after = Place.parse(str(seen[-1]))
    assert len(seen) == 8
    assert seen == sorted(seen, reverse=True)


@pytest.mark.parametrize("cursor", ["", "x", "5", "5-", "-x", "5-a b", "1" * 16 + "-x", "٣-x"])
def test_a_cursor_of_somebody_else_is_refused(cursor: str) -> None:
    with pytest.raises(BadInput, match="next_cursor"):
        Place.parse(cursor)
