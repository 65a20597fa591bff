"""Celery + limits: a moving window for each of the two rates; a job that must wait is sent again with a countdown.

The two windows are taken one after the other, not both or neither. Every wait is a new message, and a message with a
countdown is held in the memory of the worker that read it: so a worker reads on until the whole backlog is in its
memory, and an urgent job competes with all of it each time the window opens.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

from bench.contenders.contender import Contender
from bench.contenders.limits_window import wait_s
from bench.contenders.on_celery import QUEUES, TASK, call, make_app, send, worker_of

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTENDER: Final = Contender(
    name="celery_limits_retry",
    what="Celery + limits (moving windows), retry with countdown",
    cannot="both rates in one step; an order among those that wait",
    urgent=QUEUES,
    packages=("celery", "kombu", "redis", "httpx", "limits"),
    worker=worker_of("celery_limits_retry"),
)
SPREAD_S: Final = 2.0
"""All that wait are told the same moment; a little apart, the limiter is not asked by all of them at once."""

app = make_app("celery_limits_retry")


@app.task(name="open", **TASK)  # type: ignore[untyped-decorator]
def open_war_room(self: Any, incident_id: str) -> None:  # noqa: ANN401
    must_wait_s = wait_s()
    if must_wait_s:
        raise self.retry(countdown=must_wait_s + random.uniform(0, SPREAD_S))
    call(self, incident_id)


def enqueue(incident_ids: Iterable[str], *, urgent: bool) -> None:
    send(open_war_room, incident_ids, urgent=urgent)
