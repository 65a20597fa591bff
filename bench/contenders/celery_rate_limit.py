"""Celery's own `rate_limit`: each worker has its share of the minute and spaces its calls evenly.

It knows one rate for each task and worker. So: how many workers there are must be known (BENCH_WORKERS), the share of
one that is down is lost, two tasks cannot share a limit, and a second is not said at all; as calls are spaced, 1,000 a
minute never come near 50 a second. A job that waits is held in its worker, and so is an urgent one behind it.

Measured on Celery 5.7 and kombu 5.7, two workers of 500/m each open 6 to 7 rooms a second, not 16.7: each waiting job
has a timer, and after ten due timers kombu's event loop sleeps for a second (`Hub.fire_timers`, max_timers=10,
min_delay=1). With min_delay=0.05 patched in, the same workers open 14 to 15. Open since 2020 as celery/celery #5927. Of
the pools and sizes tried (threads 8 to 64, prefork 9 to 20) a small prefork pool was the fastest: that is what runs.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from bench.contenders.contender import Contender
from bench.contenders.on_celery import QUEUES, TASK, call, make_app, send, worker_of
from bench.contenders.war_room import limits_of_account

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTENDER: Final = Contender(
    name="celery_rate_limit",
    what="Celery rate_limit, 1,000/min divided by the workers",
    cannot="a limit over all workers; two rates; one limit over two tasks",
    urgent=QUEUES,
    packages=("celery", "kombu", "redis", "httpx"),
    worker=worker_of("celery_rate_limit"),
)
SHARE: Final = limits_of_account().per_minute // int(os.environ.get("BENCH_WORKERS", "1"))
app = make_app("celery_rate_limit")
app.conf.update(worker_pool="prefork", worker_concurrency=9)


@app.task(name="open", rate_limit=f"{SHARE}/m", **TASK)  # type: ignore[untyped-decorator]
def open_war_room(self: Any, incident_id: str) -> None:  # noqa: ANN401
    call(self, incident_id)


def enqueue(incident_ids: Iterable[str], *, urgent: bool) -> None:
    send(open_war_room, incident_ids, urgent=urgent)
