"""Queues again what waits in the ledger: retries that are due, and jobs whose worker died.

A dead worker's message comes back too (visibility timeout), but it may come while the claim still holds, find nothing
to do and be gone. Run by the workers themselves, no extra process.
"""

from __future__ import annotations

import logging
import math
import threading
from typing import TYPE_CHECKING, Final

from worker.celery_app import again_queue, app, publish
from worker.errors import WarroomsError

if TYPE_CHECKING:
    from worker.bootstrap import AccountDesk, Runtime
    from worker.redis_store import RedisStore

log = logging.getLogger(__name__)

EVERY_S: Final = 0.5
SOON_S: Final = 2.0


class Recovery:
    """A thread of the worker that looks after due retries, for all accounts.

    Args:
        runtime: the worker's belongings; the thread ends when `runtime.stopping` is set.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._thread = threading.Thread(target=self._run, name="recovery", daemon=True)

    def start(self) -> None:
        """Starts looking."""
        self._thread.start()

    def _run(self) -> None:
        while not self._runtime.stopping.wait(EVERY_S):
            for desk in self._runtime.desks.values():
                try:
                    queue_due(desk, self._runtime.store)
                except WarroomsError as error:
                    log.warning("cannot queue retries: %s", error)
                except Exception:
                    log.exception("cannot queue retries of %s", desk.account.name)


def queue_due(desk: AccountDesk, store: RedisStore) -> int:
    """Nudges the account's jobs that are due; not more than it can serve soon, the ones nudged before included.

    Returns:
        How many were nudged.
    """
    soon = math.ceil(desk.account.plan.rate_per_s * SOON_S)
    most = soon - store.length(again_queue(desk.account.name))
    if most <= 0:
        return 0
    due = desk.ledger.take_due(most, every_ms=round(EVERY_S * 900))
    if due:
        with app.producer_pool.acquire(block=True) as producer:
            for job_id, _lane in due:
                record = desk.ledger.record(job_id)
                if record is not None:
                    publish(producer, record.job, again=True)
    return len(due)
