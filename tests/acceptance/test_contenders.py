"""Each contender of bench/contest.py opens the rooms it is told to: else its figures would say nothing."""

from __future__ import annotations

from typing import Final

import pytest

from bench.arena import Arena
from bench.contenders import NAMES, load
from bench.npm import NotInstalled, installed
from sandbox.stack import ROOT, until

GENEROUS: Final = (1000, 60_000)
"""A second and a minute: nobody has to wait."""

PACKAGES: Final = {
    "celery_pyrate_limiter": "pyrate_limiter",
    "celery_throttled": "throttled",
    "celery_heimdall": "celery_heimdall",
    "dramatiq_window": "dramatiq",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_contender_opens_one_room_for_each_incident(name: str) -> None:
    _skip_if_absent(name)
    bulk, urgent = [f"{number:024x}" for number in range(18)], [f"{number:020x}ffff" for number in range(2)]
    with Arena(load(name), "sliding-log", 2, rates=GENEROUS) as arena:
        arena.start_worker()
        arena.start_worker()
        arena.enqueue(bulk)
        arena.enqueue(urgent, urgent=True)
        until(lambda: arena.stats()["incidents_with_rooms"] == 20, "20 rooms", arena.workers[0], within_s=60)
        assert {room["incident_id"] for room in arena.stack.rooms()} == {*bulk, *urgent}
        assert arena.stats()["duplicates"] == arena.stats()["refusals"] == 0


def _skip_if_absent(name: str) -> None:
    """The extra `bench` is not part of `dev`, and Node need not be on a machine."""
    if name in PACKAGES:
        pytest.importorskip(PACKAGES[name])
    if name == "bullmq":
        try:
            installed(ROOT / "bench" / "contenders" / "bullmq", "worker.mjs", "enqueue.mjs", "queue.mjs")
        except NotInstalled as error:
            pytest.skip(str(error))
