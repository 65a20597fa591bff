"""The way into the queue for every producer: the ledger records a job and queues its message in one step.

So a producer that dies in the middle has queued each job whole or not at all; handing all in again doubles nothing.
"""

from __future__ import annotations

import math
import re
import secrets
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Final

from producers.desk import Desk
from producers.im_integration import Lookup
from producers.outlook import outlook
from producers.parsing import Defaults
from producers.receipt import Receipt, Status, Tally
from worker.errors import InvalidJob, QueueUnavailable
from worker.jobs import BATCH_PATTERN, JobState, WarRoomJob
from worker.ledger import Ledger
from worker.on_disk import OnDisk
from worker.redis_store import SOCKET_TIMEOUT_S, RedisStore
from worker.token_bucket import TokenBucket
from worker.tracing import traces_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from producers.forecast import Forecast
    from worker.records import Entered
    from worker.settings import Account, Settings
    from worker.spans import Spans

CHUNK: Final = 100
"""Jobs per ledger script: some milliseconds of Redis' time, so no worker waits for it; more are not faster."""

FRESH_S: Final = 0.1
"""What is known of lines and buckets is used for so long."""

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
        traces: who begins a trace with each job; as the settings say, unless given.
    """

    def __init__(self, settings: Settings, *, timeout_s: float = SOCKET_TIMEOUT_S, traces: Spans | None = None) -> None:
        self.store = RedisStore(settings.redis_url, timeout_s=timeout_s)
        self._outlooks = _Outlooks()
        self._settings = settings
        self._traces = traces
        self._desks: Mapping[str, Desk] = {
            name: Desk(
                account,
                Ledger.of(self.store, account, settings),
                TokenBucket(self.store, name, account.plan),
            )
            for name, account in settings.accounts().items()
        }
        own = Defaults.of(self.accounts)
        usual = Lookup.of(settings, own.integration_ids, self.accounts, self.store, self.bucket)
        self._defaults = replace(own, integration_ids=usual, why_none=usual.reasons)

    def enqueue(self, job: WarRoomJob) -> Receipt:
        """Queues one job; does not wait until it is on Redis' disk, as `enqueue_many` does.

        Raises:
            InvalidJob: it is no job, or its account is not configured here.
            QueueUnavailable: Redis does not answer or refuses; enqueueing again does no harm.
        """
        _check_job(job)
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
            InvalidJob: one is no job, or its account is not configured here; the chunks before it are queued.
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

    @property
    def defaults(self) -> Defaults:
        """What a job gets that does not say otherwise; an integration that nobody has set is looked up when needed.

        Looking up asks Redis, and with an app key here perhaps the API; without Redis it raises QueueUnavailable.
        """
        return self._defaults

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
            _check_job(job)
            groups.setdefault((job.account, batch or job.batch), []).append(index)
        for account, _ in groups:
            self._desk(account)  # all accounts are known before anything is written
        receipts: list[Receipt | None] = [None] * len(jobs)
        spans = self._traces or traces_of(self._settings, "producer")  # here: no reader pays for an exporter
        for (account, name), indexes in groups.items():
            desk = self._desks[account]
            mine = [jobs[i] for i in indexes]
            traces = [] if spans is None else [spans.enqueued(job) for job in mine]
            answers = desk.ledger.enqueue(mine, name, traces)
            forecast = self._outlooks.of(desk)
            for index, entered in zip(indexes, answers, strict=True):
                receipts[index] = _receipt(entered, forecast)
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


def _check_job(job: object) -> None:
    if not isinstance(job, WarRoomJob):
        raise InvalidJob(
            f"a job must be a WarRoomJob, got a {type(job).__name__}; make one with: WarRoomJob(incident_id=…, …)"
        )


def _check_batch(batch: str | None) -> None:
    if batch is not None and not re.fullmatch(BATCH_PATTERN.strip("^$"), batch):
        raise InvalidJob(f"batch: must be 1 to 100 letters, digits, '.', '-' or '_', got {batch[:40]!r}")


class _Outlooks:
    """The accounts' forecasts, looked up at most ten times a second: who enqueues often asks Redis once for many."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, tuple[float, Forecast]] = {}

    def of(self, desk: Desk) -> Forecast:
        looked_at_s, forecast = self._known.get(desk.account.name, (-math.inf, None))
        if forecast is None or self._clock() - looked_at_s > FRESH_S:
            looked_at_s, forecast = self._clock(), outlook(desk)
            self._known[desk.account.name] = (looked_at_s, forecast)
        return forecast


def _receipt(entered: Entered, forecast: Forecast) -> Receipt:
    status = Status.QUEUED if entered.new else _STATUS[entered.state]
    rank = entered.position
    if rank is None:
        return Receipt(entered.job_id, status, chat_id=entered.chat_id, share_link=entered.share_link)
    return Receipt(
        entered.job_id,
        status,
        position=forecast.in_front(entered.lane, rank),
        starts_at=forecast.starts_at(entered.lane, rank),
        done_by=forecast.done_by(entered.lane, rank),
    )


def new_batch_name(prefix: str = "bulk") -> str:
    """A batch name that says when it was made and collides with no other."""
    return f"{prefix}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
