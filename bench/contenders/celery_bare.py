"""A plain Celery task without any limiter: runs into the limit and tries again.

It is the baseline of what a job costs, and what happens to people who do nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bench.contenders.contender import Contender
from bench.contenders.on_celery import QUEUES, TASK, call, make_app, send, worker_of

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTENDER: Final = Contender(
    name="celery_bare",
    what="Celery, no limiter",
    cannot="any limit",
    urgent=QUEUES,
    packages=("celery", "kombu", "redis", "httpx"),
    worker=worker_of("celery_bare"),
    limited=False,
)
app = make_app("celery_bare")


@app.task(name="open", **TASK)  # type: ignore[untyped-decorator]
def open_war_room(self: Any, incident_id: str) -> None:  # noqa: ANN401
    call(self, incident_id)


def enqueue(incident_ids: Iterable[str], *, urgent: bool) -> None:
    send(open_war_room, incident_ids, urgent=urgent)
