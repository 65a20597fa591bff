"""The way into the queue for every producer: the ledger records a job and queues its message in one step.

So a producer that dies in the middle has queued each job whole or not at all; handing all in again doubles nothing.
"""

from __future__ import annotations

import re
import secrets
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Final

from producers.desk import Desk
from producers.receipt import Receipt, Status, Tally
from worker.errors import InvalidJob, QueueUnavailable
from worker.jobs import BATCH_PATTERN, JobState, Lane, WarRoomJob
from worker.ledger import Ledger
from worker.on_disk import OnDisk
from worker.redis_store import SOCKET_TIMEOUT_S, RedisStore
from worker.token_bucket import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from worker.records import Entered
    from worker.settings import Account, Settings

CHUNK: Final = 500
"""Jobs per ledger script: some milliseconds of Redis' time, so no worker waits for it."""

_STATUS: Final = {
    JobState.QUEUED: Status.ALREADY_QUEUED,
    JobState.RETRYING: Status.ALREADY_QUEUED,
    JobState.OPENING: Status.ALREADY_OPENING,
    JobState.OPENED: Status.ALREADY_OPEN,
    JobState.FOUND: Status.ALREADY_OPEN,
}


class JobQueue:
    """The way into the queue for every producer. Thread-safe.

    Args:
        settings: the accounts, their limits, and where Redis is. No app key is read here.
        timeout_s: how long an answer of Redis may take, in seconds.
    """

    def __init__(self, settings: Settings, *, timeout_s: float = SOCKET_TIMEOUT_S) -> None:
        self.store = RedisStore(settings.redis_url, timeout_s=timeout_s)
        self._desks: Mapping[str, Desk] = {
            name: Desk(
                account,
                Ledger.of(self.store, account, settings),
                TokenBucket(self.store, name, account.plan),
            )
            for name, account in settings.accounts().items()
        }

    def enqueue(self, job: WarRoomJob) -> Receipt:
        """Queues one job; does not wait until it is on Redis' disk, as `enqueue_many` does.

        Raises:
            InvalidJob: the account is not configured here.
            QueueUnavailable: Redis does not answer or refuses; enqueueing again does no harm.
        """
        (receipt,) = self._enqueue([job], job.batch)
        return receipt

    def enqueue_many(
        self,
        jobs: Iterable[WarRoomJob],
        *,
        batch: str | None = None,
        on_receipt: Callable[[WarRoomJob, Receipt], None] | None = None,
    ) -> Tally:
        """Queues any number of jobs, in constant memory, in the order given, and waits until they are on Redis' disk.

        Args:
            jobs: any iterable; read as it goes, `CHUNK` at a time.
            batch: the name under which their progress is counted; each job's own unless given.
            on_receipt: called for every job, in order, once it is queued.

        Raises:
            InvalidJob: an account is not configured here; the chunks before it are queued.
            QueueUnavailable: Redis does not answer or refuses; the message says how many jobs were queued.
                Handing the same jobs in again does no harm.
        """
        _check_batch(batch)
        tally, on_disk = Tally(batch), OnDisk(self.store)
        source = iter(jobs)
        while chunk := list(islice(source, CHUNK)):
            with _saying_how_many(tally):
                receipts = self._enqueue(chunk, batch)
            for job, receipt in zip(chunk, receipts, strict=True):
                tally.add(receipt)
                if on_receipt is not None:
                    on_receipt(job, receipt)
        if tally.total:
            with _saying_how_many(tally):
                tally.on_disk = on_disk.wait()
        return tally

    def enqueue_chunk(self, jobs: Sequence[WarRoomJob], batch: str | None = None) -> list[Receipt]:
        """Queues at most `CHUNK` jobs at once, for who has a rhythm of its own; their receipts, in their order.

        It does not wait for the disk: `on_disk()`, asked for before the first of them, does.

        Raises:
            InvalidJob: an account is not configured here; nothing was queued.
            QueueUnavailable: Redis does not answer or refuses; handing the same jobs in again does no harm.
        """
        return self._enqueue(jobs, batch)

    def on_disk(self) -> OnDisk:
        """Tells later whether what is queued from now on is on Redis' disk.

        Raises:
            QueueUnavailable: Redis does not answer or refuses.
        """
        return OnDisk(self.store)

    def ledger(self, account: str) -> Ledger:
        """The ledger of an account.

        Raises:
            InvalidJob: the account is not configured here.
        """
        return self._desk(account).ledger

    def bucket(self, account: str) -> TokenBucket:
        """The bucket of an account.

        Raises:
            InvalidJob: the account is not configured here.
        """
        return self._desk(account).bucket

    def desks(self, accounts: Collection[str] | None = None) -> list[Desk]:
        """The desks of these accounts; None means all."""
        return [desk for name, desk in self._desks.items() if accounts is None or name in accounts]

    @property
    def accounts(self) -> Mapping[str, Account]:
        """The configured accounts by name."""
        return {name: desk.account for name, desk in self._desks.items()}

    def close(self) -> None:
        """Closes every connection."""
        self.store.close()

    def _desk(self, account: str) -> Desk:
        try:
            return self._desks[account]
        except KeyError:
            known = ", ".join(self._desks)
        raise InvalidJob(f"account: {account!r} is not configured here; known: {known}")

    def _enqueue(self, jobs: Sequence[WarRoomJob], batch: str | None) -> list[Receipt]:
        groups: dict[tuple[str, str | None], list[int]] = {}
        for index, job in enumerate(jobs):
            groups.setdefault((job.account, batch or job.batch), []).append(index)
        for account, _ in groups:
            self._desk(account)  # all accounts are known before anything is written
        receipts: list[Receipt | None] = [None] * len(jobs)
        for (account, name), indexes in groups.items():
            desk = self._desks[account]
            line = _Line.ahead(desk)
            mine = [jobs[i] for i in indexes]
            for index, job, entered in zip(indexes, mine, desk.ledger.enqueue(mine, name), strict=True):
                receipts[index] = line.receipt(job, entered)
        return [receipt for receipt in receipts if receipt is not None]


@contextmanager
def _saying_how_many(tally: Tally) -> Iterator[None]:
    try:
        yield
    except QueueUnavailable as error:
        problem = f"{error} ({tally.total} jobs were queued before; hand all in again, nothing doubles)"
    else:
        return
    raise QueueUnavailable(problem)


def _check_batch(batch: str | None) -> None:
    if batch is not None and not re.fullmatch(BATCH_PATTERN.strip("^$"), batch):
        raise InvalidJob(f"batch: must be 1 to 100 letters, digits, '.', '-' or '_', got {batch[:40]!r}")


class _Line:
    """The line of an account as it was before an enqueue: who stands in front of the next one."""

    def __init__(self, ahead: dict[Lane, int], next_slot_at: datetime, interval: timedelta) -> None:
        self._ahead = ahead
        self._next_slot_at = next_slot_at
        self._interval = interval

    @classmethod
    def ahead(cls, desk: Desk) -> _Line:
        progress = desk.ledger.progress()
        level = desk.bucket.peek()
        queued = max(0, progress.states[JobState.QUEUED] + progress.states[JobState.RETRYING])
        return cls(
            {Lane.URGENT: min(progress.queued_urgent, queued), Lane.BULK: queued},
            datetime.now(UTC) + timedelta(seconds=level.next_slot_s),
            timedelta(microseconds=desk.account.plan.interval_us),
        )

    def receipt(self, job: WarRoomJob, entered: Entered) -> Receipt:
        if not entered.new:
            status = _STATUS[entered.state]
            return Receipt(entered.job_id, status, chat_id=entered.chat_id, share_link=entered.share_link)
        position = self._ahead[job.lane]
        self._ahead[Lane.BULK] += 1
        if job.lane is Lane.URGENT:
            self._ahead[Lane.URGENT] += 1
        return Receipt(entered.job_id, Status.QUEUED, position, self._next_slot_at + position * self._interval)


def new_batch_name(prefix: str = "bulk") -> str:
    """A batch name that says when it was made and collides with no other."""
    return f"{prefix}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
