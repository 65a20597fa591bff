"""Redis is killed under load and comes back: workers go on by themselves, and no incident gets a second room."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

from producers.queue import JobQueue
from sandbox.stack import INTEGRATION_ID, Stack, embedded_redis, until
from worker.jobs import WarRoomJob
from worker.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

JOBS = 200
RATES = "1800/minute"


def test_workers_outlive_a_redis_that_is_killed_with_messages_in_their_hands(tmp_path: Path) -> None:
    with embedded_redis(tmp_path / "valkey", appendonly="yes", appendfsync="always") as url:
        port = int(url.rsplit(":", 1)[1].split("/")[0])
        api = ("--latency", "uniform:0:1", "--rates", "6000/minute")
        with Stack(api=api, redis_url=url, env={"WARROOMS_RATES": RATES}) as stack:
            for _ in range(2):
                stack.start_worker()
            queue = JobQueue(Settings(redis_url=url, integration_id=INTEGRATION_ID, rates=RATES))
            jobs = [WarRoomJob(incident_id=f"{n:024x}", integration_id=INTEGRATION_ID) for n in range(JOBS)]
            queue.enqueue_many(jobs)
            until(lambda: stack.stats()["arrivals"] > JOBS / 4, "half of the way")
            os.kill(int(stack.redis.info("server")["process_id"]), signal.SIGKILL)
            until(lambda: not _answers(port), "the old server to be gone")
            with embedded_redis(tmp_path / "valkey", port=port, appendonly="yes", appendfsync="always") as again:
                assert again == url
                until(lambda: not queue.ledger("default").progress().waiting, "all jobs", within_s=60)
                assert [worker.popen.poll() for worker in stack.workers] == [None, None]
                stats = stack.stats()
                assert (stats["incidents_with_rooms"], stats["duplicates"]) == (JOBS, 0)
                queue.close()
                for worker in stack.workers:
                    assert worker.stop() == 0


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
