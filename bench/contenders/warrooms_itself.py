"""This project, as README.md says to run it."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Final

from bench.contenders.contender import Contender
from producers.queue import JobQueue
from worker.jobs import Lane, WarRoomJob
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTENDER: Final = Contender(
    name="warrooms_itself",
    what="warrooms",
    cannot="",
    urgent="a lane of its own, in the queue and in the bucket",
    packages=("celery", "kombu", "redis", "httpx"),
    worker=(
        *("celery", "-A", "worker", "worker"),
        *("--without-mingle", "--without-gossip", "-n", "{name}@%h"),
    ),
)


def enqueue(incident_ids: Iterable[str], *, urgent: bool) -> None:
    lane, integration_id = Lane.URGENT if urgent else Lane.BULK, int(os.environ["FLASHDUTY_INTEGRATION_ID"])
    _queue().enqueue_many(
        WarRoomJob(incident_id=incident_id, integration_id=integration_id, lane=lane) for incident_id in incident_ids
    )


@functools.cache
def _queue() -> JobQueue:
    return JobQueue(Settings())
