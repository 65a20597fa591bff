"""The installation that is hurt, everything that was handed in, and what is found in the end."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final, Self

from producers.queue import JobQueue
from sandbox.stack import INTEGRATION_ID, Process, Stack, StackError, until
from worker.errors import QueueUnavailable
from worker.jobs import WarRoomJob
from worker.settings import Settings

from .balance import Balance, Findings, weigh

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ACCOUNT: Final = "default"
QUEUE: Final = f"warrooms.{ACCOUNT}"
RAISED: Final = "6000/minute"
AOF: Final = {"appendonly": "yes", "appendfsync": "everysec"}
BASE: Final = f"warrooms:{{{ACCOUNT}}}"

LISTS: Final = (QUEUE, f"{QUEUE}.again", f"{QUEUE}.urgent")
ZSETS: Final = (
    "unacked_index",
    *(f"{BASE}:{name}" for name in ("claims", "retries", "line:bulk", "line:urgent")),
)
AGAIN_S: Final = 0.2


class Ground:
    """A stack with an AOF whose workers reach Valkey through a proxy, and the memory of what was handed in.

    Args:
        seed: of the incidents' numbers, so that two runs in one place do not meet.
        rates: the account's limits, enforced by the sandbox too.
        api: more options of the sandbox.
        env: more environment variables.
    """

    def __init__(
        self, seed: int = 0, *, rates: str = RAISED, api: Sequence[str] = (), env: Mapping[str, str] | None = None
    ) -> None:
        self.seed = seed
        self.batches: dict[str, list[WarRoomJob]] = {}
        self.kept: list[str] = []
        """Messages that were seen in the queue, to be sent again much later."""
        self.dismissed: set[str] = set()
        """The names of the workers that were killed or stopped on purpose."""
        self._made = 0
        self._open = contextlib.ExitStack()
        self._settings = {"rates": rates, "integration_id": INTEGRATION_ID}
        options = ("--rates", rates, "--latency", "uniform:0:0.4", *api)
        self.stack = Stack(options, {"WARROOMS_RATES": rates, **(env or {})}, valkey=AOF, through_proxy=True)

    def __enter__(self) -> Self:
        with self._open:
            self._open.enter_context(self.stack)
            self.queue = JobQueue(Settings(redis_url=self.stack.redis_url, **self._settings))  # type: ignore[arg-type]
            self._open.callback(self.queue.close)
            self._open.callback(self._kill_workers)
            self._open = self._open.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends everything; once more does no harm."""
        self._open.close()

    def _kill_workers(self) -> None:
        """Everything was counted: nothing that a worker still holds matters, and a hurt one may take long to stop."""
        for worker in self.stack.workers:
            worker.kill()

    @property
    def workers(self) -> list[Process]:
        """Those that live, the frozen ones included."""
        return [worker for worker in self.stack.workers if worker.alive]

    def start_workers(self, count: int) -> None:
        """Starts so many and does not wait for them."""
        for _ in range(count):
            self.stack.start_worker(wait=False)

    # --- jobs ---

    def jobs(self, count: int, batch: str) -> list[WarRoomJob]:
        """New jobs that belong to a batch; they count as handed in from now on."""
        first, self._made = self._made, self._made + count
        jobs = numbered(self.seed, first, count)
        self.batches.setdefault(batch, []).extend(jobs)
        return jobs

    def hand_in(self, batch: str) -> None:
        """Hands in all jobs of a batch, again and again until Redis has taken them."""
        while True:
            try:
                self.queue.enqueue_many(self.batches[batch], batch=batch)
            except QueueUnavailable:
                time.sleep(AGAIN_S)
            else:
                return

    def hand_all_in(self) -> None:
        """Hands in everything once more: what a crash of Redis lost after it was acknowledged comes back."""
        for batch in self.batches:
            self.hand_in(batch)

    # --- what is found ---

    def settle(self, within_s: float) -> bool:
        """Waits until nothing moves any more; False if something still does."""
        try:
            until(self._is_still, "the end of all jobs", within_s=within_s)
        except StackError:
            return False
        return True

    def _is_still(self) -> bool:
        if self.queue.ledger(ACCOUNT).progress().waiting:
            return False
        self._hurry_orphans()
        return not any(self.left_over().values())

    def _hurry_orphans(self) -> None:
        """Time travel, when every job has ended: the messages that a dead worker held are overdue now, not in 30 s."""
        redis = self.stack.redis
        overdue = {str(tag): 1 for tag in redis.zrange("unacked_index", 0, -1)}
        if overdue:
            redis.zadd("unacked_index", overdue, xx=True)

    def left_over(self) -> dict[str, int]:
        """What stands in the places that are empty when all work is done."""
        redis = self.stack.redis
        return {
            **{name: int(redis.llen(name)) for name in LISTS},
            "unacked": int(redis.hlen("unacked")),
            **{name: int(redis.zcard(name)) for name in ZSETS},
        }

    def balance(self) -> Balance:
        """Counts everything."""
        ledger = self.queue.ledger(ACCOUNT)
        ids = {name: frozenset(job.id for job in jobs) for name, jobs in self.batches.items()}
        return weigh(
            Findings(
                records={job_id: ledger.record(job_id) for batch in ids.values() for job_id in batch},
                rooms=self.stack.rooms(),
                progress=ledger.progress(),
                batches={name: (batch, ledger.batch(name)) for name, batch in ids.items()},
                left_over=self.left_over(),
                deserters=self._deserters(),
            )
        )

    def _deserters(self) -> list[str]:
        gone = [w for w in self.stack.workers if not w.alive and w.name not in self.dismissed]
        return [f"{w.name} with {w.popen.returncode}: {w.last_words(3)}" for w in gone]


def numbered(seed: int, first: int, count: int) -> list[WarRoomJob]:
    """Jobs that a seed and their numbers determine."""
    return [
        WarRoomJob(incident_id=f"{seed % 2**32:08x}{number:016x}", integration_id=INTEGRATION_ID)
        for number in range(first, first + count)
    ]
