"""Every door to the queue. The Python API in four lines.

    from producers import enqueue, enqueue_many

    receipt = enqueue(incident_id="69da451ef77b1b51f40e83ee", integration_id=2490562293131, urgent=True)
    print(receipt.status, receipt.starts_at, receipt.share_link)

    tally = enqueue_many(jobs, batch="outage-42")      # any iterable of WarRoomJob, in constant memory

Settings come from the environment, read once (worker/settings.py); a program with settings of its own uses
`producers.queue.JobQueue`.
"""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from producers.queue import JobQueue
    from producers.receipt import Receipt, Tally
    from worker.jobs import WarRoomJob

__all__ = ["Receipt", "WarRoomJob", "enqueue", "enqueue_many"]

_lock = threading.Lock()


def enqueue(job: WarRoomJob | None = None, /, **fields: object) -> Receipt:
    """Queues one job, given as a `WarRoomJob` or as its fields.

    Args:
        job: the job; or
        **fields: incident_id, integration_id (the account's default if absent, or its only one), member_ids,
            add_observers, account, batch, urgent.

    Raises:
        InvalidJob: says each field that is wrong.
        QueueUnavailable: Redis does not answer or refuses; enqueueing again does no harm.
    """
    queue = _queue()
    if job is None:
        from producers.parsing import parse_job  # noqa: PLC0415

        job = parse_job(fields, queue.defaults)
    return queue.enqueue(job)


def enqueue_many(
    jobs: Iterable[WarRoomJob],
    *,
    batch: str | None = None,
    on_receipt: Callable[[WarRoomJob, Receipt], None] | None = None,
) -> Tally:
    """Queues any number of jobs in constant memory; see `JobQueue.enqueue_many`."""
    return _queue().enqueue_many(jobs, batch=batch, on_receipt=on_receipt)


def _queue() -> JobQueue:
    with _lock:
        return _open_queue()


@cache
def _open_queue() -> JobQueue:
    from producers.queue import JobQueue  # noqa: PLC0415 - importing this package must stay cheap
    from worker.settings import Settings  # noqa: PLC0415

    return JobQueue(Settings.load())


def __getattr__(name: str) -> object:
    """The two values of the API, imported when they are asked for: `warrooms --help` needs neither."""
    if name == "Receipt":
        from producers.receipt import Receipt  # noqa: PLC0415

        return Receipt
    if name == "WarRoomJob":
        from worker.jobs import WarRoomJob  # noqa: PLC0415

        return WarRoomJob
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
