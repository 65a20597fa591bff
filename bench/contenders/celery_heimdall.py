"""celery-heimdall: a counter in Redis that starts again when its window has passed; who must wait is sent again later.

It knows one rate for each key. 50 in 3 s are 1,000 a minute, and within a second no more than 50 unless a window's end
meets the next one's begin. Its countdowns are whole seconds, and all that wait are told the same one (3 // 50 s apart).
While less than a second of a window is left that is 0, and a countdown of 0 runs the job, uncounted (celery-heimdall
1.0.1, task.py, `rate_limited_countdown`): so it is refused more than once for each room. Of what was tried this is the
best: 1,000 in 60 s opened 206 rooms in 55 s, and 500 in 30 s opened 262, as what is refused is counted, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from celery_heimdall import HeimdallTask, RateLimit

from bench.contenders.contender import Contender
from bench.contenders.on_celery import QUEUES, TASK, call, make_app, send, worker_of
from bench.contenders.war_room import limits_of_account

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTENDER: Final = Contender(
    name="celery_heimdall",
    what="celery-heimdall, 50 in 3 s",
    cannot="two rates; parts of a second; an order among those that wait",
    urgent=QUEUES,
    packages=("celery", "kombu", "redis", "httpx", "celery-heimdall"),
    worker=worker_of("celery_heimdall"),
)
_ACCOUNT: Final = limits_of_account()
WINDOW_S: Final = max(1, round(_ACCOUNT.per_second * 60 / _ACCOUNT.per_minute))
HEIMDALL: Final = {"rate_limit": RateLimit((_ACCOUNT.per_minute * WINDOW_S // 60, WINDOW_S)), "key": "war-rooms"}
app = make_app("celery_heimdall")


@app.task(name="open", base=HeimdallTask, heimdall=HEIMDALL, **TASK)  # type: ignore[untyped-decorator]
def open_war_room(self: Any, incident_id: str) -> None:  # noqa: ANN401
    call(self, incident_id)


def enqueue(incident_ids: Iterable[str], *, urgent: bool) -> None:
    send(open_war_room, incident_ids, urgent=urgent)
