"""Redis is found by Sentinels, and its primary is killed in the middle of a batch: everybody goes on by themselves."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Final

import pytest

from producers.queue import JobQueue
from sandbox.sentinels import Sentinels
from sandbox.stack import INTEGRATION_ID, Stack, until
from tests.commands import WARROOMS
from worker.errors import QueueUnavailable
from worker.jobs import WarRoomJob
from worker.settings import Settings

from .watched import Watched

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

JOBS: Final = 200
RATES: Final = "1800/minute"
PASSWORD: Final = "p@ss/w:rd?50%"
OF_THE_SENTINELS: Final = "s3nt;nel&50%"
API: Final = ("--latency", "uniform:0:1", "--rates", "6000/minute")
URGENT: Final = "69da451ef77b1b51f40e83ee"


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Sentinels]:
    with Sentinels(
        tmp_path / "sentinels",
        password=PASSWORD,
        sentinel_password=OF_THE_SENTINELS,
        appendonly="yes",
        appendfsync="always",
    ) as watched:
        yield watched


@pytest.fixture
def stack(watched: Sentinels) -> Iterator[Stack]:
    env = {"WARROOMS_RATES": RATES, "REDIS_URL": watched.url}
    with Stack(API, env, redis_url=watched.primary_url) as stack:
        yield stack


def test_jobs_go_on_when_the_primary_is_killed_and_no_incident_gets_a_second_room(
    watched: Sentinels, stack: Stack, tmp_path: Path
) -> None:
    for _ in range(2):
        stack.start_worker()
    queue = JobQueue(Settings(redis_url=watched.url, integration_id=INTEGRATION_ID, rates=RATES))
    jobs = [WarRoomJob(incident_id=f"{n:024x}", integration_id=INTEGRATION_ID) for n in range(JOBS)]
    assert queue.enqueue_many(jobs).on_disk
    until(lambda: stack.stats()["arrivals"] > JOBS / 4, "a quarter of the way")
    old = watched.primary
    old.kill()
    until(lambda: watched.primary is not old, "another primary")
    until(lambda: _drained(queue), "all jobs", within_s=60)
    queue.close()
    assert [worker.popen.poll() for worker in stack.workers] == [None, None]
    stats = stack.stats()
    assert (stats["incidents_with_rooms"], stats["duplicates"], stats["refusals"]) == (JOBS, 0, 0)

    said = _warrooms(stack, "open", URGENT, "--wait")
    assert len(stack.rooms(URGENT)) == 1
    said += _warrooms(stack, "status")
    assert "workers  2 alive" in said
    doctor = json.loads(_warrooms(stack, "doctor", "--json"))
    found = {one["what"]: (one["level"], f"{one['found']} | {one['to_do']}") for one in doctor["findings"]}
    assert found["redis"] == ("ok", found["redis"][1])
    assert watched.place in found["redis"][1]
    assert "min-replicas-to-write" in found["sentinels"][1]
    said += str(doctor)
    assert "Traceback" not in said

    with Watched(stack.env, tmp_path) as flower:
        flower.wait_for_workers(2)
        assert flower.lengths() == {"warrooms.default": 0, "warrooms.default.urgent": 0}
        said += flower.get("/broker").text + flower.log()
    for worker in stack.workers:
        assert worker.stop() == 0
        said += worker.log.read_text()
    for secret in (PASSWORD, OF_THE_SENTINELS, "p%40ss", "s3nt%3Bnel"):
        assert secret not in said


def _drained(queue: JobQueue) -> bool:
    try:
        return not queue.ledger("default").progress().waiting
    except QueueUnavailable:
        return False  # nobody is the primary yet


def _warrooms(stack: Stack, *command: str) -> str:
    done = subprocess.run([WARROOMS, *command], env=stack.env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
