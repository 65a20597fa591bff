"""This worker lives: a beat every two seconds, per account, over a connection of its own.

Recovery takes a job away from a worker that is dead, however long its call may last. A thread, so that it beats while
the consumer waits for a Redis connection that is half open; and after SIGTERM, until the last job in hand has ended.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from worker.errors import WarroomsError
from worker.redis_store import RedisStore

if TYPE_CHECKING:
    from worker.bootstrap import Runtime
    from worker.ledger import Ledger

log = logging.getLogger(__name__)

EVERY_S: Final = 2.0
AGAIN_S: Final = 0.2
TIMEOUT_S: Final = 2.0
"""A beat that takes longer goes over a dead connection: the next one takes a new."""


class Heartbeat:
    """The thread that beats, for all accounts, until it is stopped.

    Args:
        runtime: the worker's belongings.
        redis_url: where to beat.
    """

    def __init__(self, runtime: Runtime, redis_url: str) -> None:
        self._store = RedisStore(redis_url, timeout_s=TIMEOUT_S)
        self._worker = runtime.worker
        self._ledgers = [desk.ledger.over(self._store) for desk in runtime.desks.values()]
        self._servers: dict[str, str] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Beats once, then begins to beat."""
        self.beat()
        self._thread.start()

    def stop(self) -> None:
        """Says goodbye, unless something is still in hand: then others wait until it can no longer be under way."""
        self._stopping.set()
        self._thread.join(EVERY_S + TIMEOUT_S)
        for ledger in self._ledgers:
            try:
                if ledger.holds_nothing():
                    ledger.goodbye(self._worker)
            except WarroomsError as error:
                log.debug("no goodbye: %s", error)
        self._store.close()

    def beat(self) -> bool:
        """One beat for each account; a Redis that was restarted is told what this worker knows. Whether all arrived."""
        arrived = [self._beat_for(ledger) for ledger in self._ledgers]  # every one, whatever becomes of the others
        return all(arrived)

    def _beat_for(self, ledger: Ledger) -> bool:
        try:
            self._beat(ledger)
        except WarroomsError as error:
            log.debug("no heartbeat for %s: %s", ledger.account, error)
            return False
        return True

    def _beat(self, ledger: Ledger) -> None:
        server = ledger.beat(self._worker)
        known = self._servers.get(ledger.account, server)
        if server != known:
            ledger.reconcile(self._worker)
            log.warning("Redis was restarted or failed over; it was told what this worker has in hand")
        self._servers[ledger.account] = server

    def _run(self) -> None:
        pause_s = EVERY_S
        while not self._stopping.wait(pause_s):
            try:
                pause_s = EVERY_S if self.beat() else AGAIN_S
            except Exception:
                log.exception("no heartbeat")
