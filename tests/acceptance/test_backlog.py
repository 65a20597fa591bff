"""Flashduty's own incidents, with workers at work: the limit holds whoever calls, and each incident has one room."""

from __future__ import annotations

import json
import subprocess
import time
from typing import TYPE_CHECKING, Any

from sandbox.stack import APP_KEY
from tests.commands import WARROOMS

from .house import CREATE, LIST, House

if TYPE_CHECKING:
    from collections.abc import Sequence

RATES = "20/second;600/minute"


def seed(house: House, count: int) -> list[str]:
    start = int(time.time()) - 3600
    ids: list[str] = house.stack.control("incidents", count=count, start_time_s=start, spacing_s=1)["incident_ids"]
    return ids


def backlog(house: House, *options: str) -> dict[str, Any]:
    command: Sequence[str] = [WARROOMS, "backlog", "--since", "1d", "--json", *options]
    done = subprocess.run(command, env=house.stack.env, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    assert APP_KEY not in done.stdout + done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_a_backlog_shares_the_limit_with_the_workers_that_drain_it() -> None:
    with House(rates=RATES) as house:
        house.start_workers(2)
        ids = seed(house, 120)
        said = backlog(house, "--without-room", "--batch", "night", "--wait")
        assert said["result"] == {"opened": 120, "found": 0, "failed": 0, "cancelled": 0}
        stats = house.stack.stats()
        assert stats["by_status"] == {"200": 120 + 120 + 3}, "the API has refused none: all calls have one bucket"
        assert sorted(room["incident_id"] for room in house.rooms()) == sorted(ids)
        again = backlog(house, "--without-room")
        assert (again["read"], again["has_room"], again["queued"]) == (120, 120, 0)
        assert house.calls()[CREATE] == 120


def test_without_looking_for_rooms_the_ledger_knows_what_is_open(house: House) -> None:
    ids = seed(house, 5)
    assert backlog(house, "--wait", "--urgent")["result"]["opened"] == 5
    again = backlog(house)
    assert (again["already_open"], again["queued"]) == (5, 0)
    assert LIST not in house.calls()
    assert sorted(room["incident_id"] for room in house.rooms()) == sorted(ids)
