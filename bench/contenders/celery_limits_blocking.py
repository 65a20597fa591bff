"""Celery + limits: a moving window for each of the two rates; a job that must wait sleeps in its thread.

The two windows are taken one after the other, not both or neither. An urgent job is read first, but only when a thread
is free, and then competes with all the sleeping ones.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, Any, Final

from bench.contenders.contender import Contender
from bench.contenders.limits_window import wait_s
from bench.contenders.on_celery import QUEUES, TASK, call, make_app, send, worker_of

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTENDER: Final = Contender(
    name="celery_limits_blocking",
    what="Celery + limits (moving windows), waiting in the task",
    cannot="both rates in one step; an order among those that wait",
    urgent=QUEUES,
    packages=("celery", "kombu", "redis", "httpx", "limits"),
    worker=worker_of("celery_limits_blocking"),
)
SPREAD_S: Final = 0.5
"""All that wait are told the same moment; a little apart, the limiter is not asked by all of them at once."""

app = make_app("celery_limits_blocking")


@app.task(name="open", **TASK)  # type: ignore[untyped-decorator]
def open_war_room(self: Any, incident_id: str) -> None:  # noqa: ANN401
    while must_wait_s := wait_s():
        time.sleep(must_wait_s + random.uniform(0, SPREAD_S))
    call(self, incident_id)


def enqueue(incident_ids: Iterable[str], *, urgent: bool) -> None:
    send(open_war_room, incident_ids, urgent=urgent)
