"""The ledger of an account: the parts in ledger_lua bound to Redis. It is the truth; a message is only a nudge.

A job's record, its turn and its message in Celery's queue change together, in one script: producers need no second
step, and how many messages got lost between Redis and a worker's memory can be told from how many jobs wait.

One method a command, so it is long; how fields are written and read is in ledger_fields.
"""

from __future__ import annotations

import math
import uuid
from copy import copy
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast

from worker.errors import NextStep
from worker.hands import Hands
from worker.jobs import JobKey, JobState, Lane
from worker.ledger_fields import (
    entered_of,
    fields_of_error,
    flat,
    job_of,
    progress_of,
    record_of,
    request_of,
    short_of,
    stray_of,
)
from worker.messages import nudge, queue_name
from worker.newest import Newest, read_newest
from worker.rate_limit import LOSES_S
from worker.records import Claim
from worker.survey import Survey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from worker.errors import FlashdutyError
    from worker.jobs import WarRoom, WarRoomJob
    from worker.reading import Reading
    from worker.records import Entered, Progress, Record, Standing, Stray
    from worker.redis_store import RedisStore
    from worker.settings import Account, Settings

T = TypeVar("T")

PARTS: Final = tuple(f"ledger_lua/{part}" for part in ("record", "life", "rescue", "people", "slots", "dispatch"))
FUNCTIONS: Final = {"bucket": "token_bucket"}

DEAD_MS: Final = 8_000
"""A worker that was silent for so long, while others were heard, is dead: four heartbeats, or two that had to wait."""

LOST_MS: Final = 5_000
"""So many messages as were too few for so long are lost."""

PAGE: Final = 200


class Ledger:
    """Records, claims, batches and dead letters of one account.

    Args:
        store: the Redis that everyone shares.
        account: the account's name.
        retention_s: how long finished jobs are remembered, in seconds.
        suspects: how many calls may go out in the moments that a crash of Redis may undo.
        clock: milliseconds since the epoch; None means Redis' own clock. Only tests pass one.

    Every method raises QueueUnavailable if Redis does not answer.
    """

    def __init__(
        self,
        store: RedisStore,
        account: str,
        *,
        retention_s: int = 7 * 86_400,
        suspects: int = 100,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.account = account
        self._base = f"warrooms:{{{account}}}"
        self._keys = [self._base, queue_name(account, Lane.BULK), queue_name(account, Lane.URGENT)]
        self._store = store
        self._script = store.script(*PARTS, **FUNCTIONS)
        self.survey = Survey(store, account)
        self._suspects = suspects
        self._retention_ms = retention_s * 1000
        self._clock = clock
        self._hands = Hands()

    @classmethod
    def of(cls, store: RedisStore, account: Account, settings: Settings) -> Self:
        """The ledger of a configured account."""
        suspects = account.plan.most_within(LOSES_S)
        return cls(store, account.name, retention_s=settings.retention_s, suspects=suspects)

    # --- producers ---

    def enqueue(
        self, jobs: Sequence[WarRoomJob], batch: str | None = None, traces: Sequence[str] = ()
    ) -> list[Entered]:
        """Records and queues the jobs, one answer each in their order; one atomic step, so keep it to some hundreds.

        A job that is known stays as it is, unless it failed or was cancelled: then it is queued anew. An urgent
        enqueue of a waiting bulk job makes it urgent. `traces` are the jobs' W3C traceparents, or none.
        """
        fields: list[str | int] = [batch or "", ",".join(traces)]
        for job in jobs:
            fields += (short_of(job.id), *request_of(job), nudge(job))
        reply = self._call("enqueue", *fields)
        rows = (reply[at : at + 5] for at in range(0, len(reply), 5))
        return [entered_of(job.id, *row) for job, row in zip(jobs, rows, strict=True)]

    # --- workers ---

    def claim(self, job: WarRoomJob, worker: str) -> Claim | JobState:
        """Takes the job whose turn it is into this worker's hands, because of a message that names one.

        It is of the named job's lane, or of the other one if nobody waits there. The named job's record begins here if
        there is none; it waits for its turn like any other.

        Returns:
            The claim, with the job as the ledger knows it; or the named job's state if none waits.
        """
        claim, _ = self._claim("claim", job, worker)
        return claim

    def _claim(
        self, command: str, job: WarRoomJob, worker: str, keys: Sequence[str] = (), more: Sequence[str | int] = ()
    ) -> tuple[Claim | JobState, list[Any]]:
        token = f"{worker}/{uuid.uuid4().hex[:12]}"
        asked = Claim(job, token, 1, look_first=False)
        self._hands.take(asked)
        fields = (short_of(job.id), token, worker, job.batch or "", *request_of(job))
        reply = self._call(command, *fields, *more, more_keys=keys)
        if reply[0] != "claimed":
            self._hands.let_go(asked)
            return JobState(reply[0]), []
        (_, short, attempts, look, failing_ms, denials, *request, trace, queued_ms), rest = reply[:12], reply[12:]
        claimed = job_of(JobKey.parse(f"{self.account}.{short}"), *request)
        claim = Claim(
            claimed,
            token,
            int(attempts) + 1,
            bool(look),
            failing_ms / 1000,
            int(denials),
            trace,
            int(queued_ms) / 1000,
        )
        self._hands.take(claim)
        return claim, rest

    def begin(self, claim: Claim, *, sent: bool) -> bool:
        """An attempt begins, and counts; `sent` if its creating call goes out now. False if the claim is lost."""
        self._hands.sent(claim, sent=sent)
        began = bool(self._call("begin", short_of(claim.job.id), claim.token, claim.attempt, "1" if sent else ""))
        if not began:
            self._hands.let_go(claim)
        return began

    def has_room(self, claim: Claim, state: JobState, room: WarRoom, request_id: str) -> bool:
        """Ends the job as `opened` or `found`; False if the claim is lost."""
        self._hands.has_room(claim, state, room, request_id)
        return self._finish(claim, state, {**room.model_dump(), "request_id": request_id})

    def failed(self, claim: Claim, error: FlashdutyError, reason: str) -> bool:
        """Ends the job as a dead letter; False if the claim is lost."""
        fields = {**fields_of_error(error), "message": reason}
        if error.next_step is NextStep.LOOK_FIRST:
            fields["look"] = "1"  # for whoever queues it again
        return self._finish(claim, JobState.FAILED, fields)

    def retry(
        self, claim: Claim, error: FlashdutyError, delay_s: float, *, look_first: bool, spent: bool = True
    ) -> bool:
        """Puts the job aside until it is due; False if the claim is lost.

        Args:
            claim: the right to do so.
            error: how the attempt ended.
            delay_s: when it is due, in seconds.
            look_first: whether the room may already be there.
            spent: whether the attempt counts.
        """
        fields = fields_of_error(error)
        if spent and error.next_step is NextStep.RETRY_FEW:
            fields["denials"] = claim.denials + 1
        flags = ("1" if look_first else "", "1" if spent else "")
        return self._end(claim, "retry", round(delay_s * 1000), *flags, *flat(fields))

    def release(self, claim: Claim, *, look_first: bool = False) -> bool:
        """Gives the job back to its place in line without an attempt spent; False if the claim is lost."""
        return self._end(claim, "release", "1" if look_first else "", nudge(claim.job))

    # --- recovery ---

    def beat(self, worker: str) -> str:
        """This worker lives. The reply names the server: another one means that Redis was restarted or failed over."""
        return str(self._call("beat", worker))

    def reconcile(self, worker: str) -> None:
        """Tells a Redis that was restarted what this worker holds and how its last calls ended."""
        held, rooms = self._hands.all()
        fields: list[str | int] = [worker, len(held)]
        for one in held:
            job, attempts = one.claim.job, one.claim.attempt if one.began else one.claim.attempt - 1
            fields += (short_of(job.id), one.claim.token, attempts)
            fields += ("1" if yes else "" for yes in (one.began, one.sent, one.ending))
            fields += (*request_of(job), job.batch or "")
        for ended in rooms:
            room = ended.room
            fields += (short_of(ended.claim.job.id), ended.claim.token, ended.state.value)
            fields += (room.chat_id, room.chat_name, room.share_link, ended.request_id)
        named = self._call("reconcile", *fields)
        # Hands are read again: what was let go since is no longer ours, whatever the ledger was told above.
        now_held = {one.claim.token for one in self._hands.all()[0]}
        claims = [*zip(named[::2], named[1::2], strict=True)]
        gone = [part for short, token in claims if token not in now_held for part in (short, token)]
        if gone:
            self._call("disown", *gone)

    def holds_nothing(self) -> bool:
        """Whether this process has no job in hand."""
        held, _ = self._hands.all()
        return not held

    def over(self, store: RedisStore) -> Self:
        """The same ledger, and the same hands, over another connection."""
        other = copy(self)
        other._store, other._script = store, store.script(*PARTS, **FUNCTIONS)  # noqa: SLF001 - its own class
        return other

    def goodbye(self, worker: str) -> None:
        """This worker ends; what it should still hold is nobody's."""
        self._call("goodbye", worker)

    def strays(self, most: int, every_ms: int) -> list[Stray]:
        """Jobs that must be queued again: due retries, jobs of dead workers; and some to stand for lost messages.

        At most `most` of the first and of the last kind, once per `every_ms` over all workers.
        """
        reply = self._call("strays", every_ms, most)
        return [stray_of(self.account, *reply[at : at + 7]) for at in range(0, len(reply), 7)]

    def requeue(self, strays: Sequence[Stray]) -> int:
        """Queues those of them that still need it, each at its turn; how many."""
        fields: list[str] = []
        for stray in strays:
            fields += (stray.reason.value, short_of(stray.job.id), stray.evidence, nudge(stray.job))
        return sum(self._call("requeue", *fields)) if fields else 0

    # --- people ---

    def record(self, job_id: str) -> Record | None:
        """The job's record; None if there is none (never enqueued, or forgotten after the retention)."""
        return self._records([short_of(job_id)])[0]

    def records(self, job_ids: Sequence[str]) -> list[Record | None]:
        """The records of several jobs, in their order."""
        return self._records([short_of(job_id) for job_id in job_ids]) if job_ids else []

    def progress(self) -> Progress:
        """The account's jobs by state."""
        return progress_of(self._hash(f"{self._base}:account"))

    def together(self, readings: Sequence[Reading[T]]) -> list[T]:
        """What all of them read, in their order and one round trip."""
        return self._store.together(readings)

    def standing(self) -> Standing:
        """Who stands in the account's lines now."""
        (standing,) = self._store.together([self.survey.standing()])
        return standing

    def position(self, job: WarRoomJob) -> int | None:
        """How many jobs of its lane stand in front of a queued job; None if it does not wait in line."""
        line = f"{self._base}:line:{job.lane}"
        return cast("int | None", self._store.held(lambda: self._store.client.zrank(line, short_of(job.id))))

    def batch(self, name: str) -> Progress | None:
        """The batch's jobs by state; None if no such batch is known."""
        stored = self._hash(f"{self._base}:batch:{name}")
        return progress_of(stored) if stored else None

    def last_ranks(self, batch: str) -> dict[Lane, int]:
        """By lane, how many jobs stand in front of the batch's last one in line; see `Survey.last_ranks`."""
        (ranks,) = self._store.together([self.survey.last_ranks(self._hash(f"{self._base}:batch:{batch}"))])
        return ranks

    def batches(self, most: int = 10) -> list[str]:
        """The names of the newest batches, newest first."""
        call = self._store.client.zrange
        return cast("list[str]", self._store.held(lambda: call(f"{self._base}:batches", 0, most - 1, desc=True)))

    def dead_letters(self, *, oldest_first: bool = False, until_ms: int | None = None) -> Iterator[Record]:
        """The jobs that failed, newest first, read as they are asked for; with `until_ms`, from that moment back.

        Oldest first ends with those that had failed when it began: who replays them as they come meets none twice.
        """
        if not oldest_first:
            return self._walk("failed", down=True, first="+inf" if until_ms is None else str(until_ms))
        newest = self._page("failed", "+inf", 0, 1, down=True)
        return self._walk("failed", newest[0][1] if newest else math.inf)

    def unfinished(self) -> Iterator[Record]:
        """Every job that is not finished, read as they are asked for: in hands, retrying, urgent, bulk.

        Workers go on meanwhile: a job that changes its place may come twice, or not at all.
        """
        yield from self._in_hands()
        for place in ("retries", "line:urgent", "line:bulk"):
            yield from self._walk(place)

    def replay(self, jobs: Sequence[WarRoomJob]) -> list[bool]:
        """Queues dead letters at the end of their lines; for each whether it was one."""
        fields = [part for job in jobs for part in (short_of(job.id), nudge(job))]
        return [bool(done) for done in self._call("replay", *fields)] if fields else []

    def drop(self, job_ids: Sequence[str]) -> list[bool]:
        """Gives dead letters up: they are cancelled; for each whether it was one."""
        return [bool(done) for done in self._call("drop", *map(short_of, job_ids))] if job_ids else []

    def cancel(self, job_ids: Sequence[str]) -> list[JobState | None]:
        """Ends jobs that wait; for each its state now: `opening` cannot be taken back; None if nobody knows it."""
        states = self._call("cancel", *map(short_of, job_ids)) if job_ids else []
        return [JobState(state) if state else None for state in states]

    def workers(self) -> dict[str, float]:
        """The workers that were heard in the last hour: seconds since each one's last heartbeat."""
        (workers,) = self._store.together([self.survey.workers()])
        return workers

    def newest(self, batches: int, letters: int) -> Newest:
        """At most so many of the newest batches and dead letters, for a board."""
        return read_newest(
            self._store, self.survey, self.account, batches=batches, letters=letters, retention_ms=self._retention_ms
        )

    # --- inside ---

    def _finish(self, claim: Claim, state: JobState, fields: Mapping[str, str | int]) -> bool:
        return self._end(claim, "finish", state.value, *flat(fields))

    def _end(self, claim: Claim, command: str, *rest: str | int) -> bool:
        self._hands.ending(claim)
        kept = bool(self._call(command, short_of(claim.job.id), claim.token, *rest))
        self._hands.let_go(claim)
        return kept

    def _walk(self, name: str, last: float = math.inf, *, down: bool = False, first: str = "-inf") -> Iterator[Record]:
        """The jobs of a place from one score to another in its order; what leaves it meanwhile moves no other one."""
        at, here = first, set[str]()  # the score reached, and who was met there
        while page := self._page(name, at, len(here), PAGE, down=down):
            fresh = [short for short, score in page if short not in here and score <= last]
            yield from (record for record in self._records(fresh) if record is not None)
            score = page[-1][1]
            met = {short for short, its in page if its == score}
            here = here | met if repr(score) == at else met
            at = repr(score)
            if not fresh:
                return

    def _in_hands(self) -> Iterator[Record]:
        shorts = cast("list[str]", self._store.held(lambda: self._store.client.hvals(f"{self._base}:claims")))
        yield from (record for record in self._records(shorts) if record is not None)

    def _page(self, name: str, at: str, met: int, most: int, *, down: bool) -> list[tuple[str, float]]:
        """The next members and their scores from the score `at` on, of which `met` were seen."""

        def read() -> object:
            end = "-inf" if down else "+inf"
            return self._store.client.zrange(
                f"{self._base}:{name}", at, end, desc=down, byscore=True, offset=0, num=most + met, withscores=True
            )

        return [(str(short), float(score)) for short, score in cast("Any", self._store.held(read))]

    def _records(self, shorts: Sequence[str]) -> list[Record | None]:
        def read() -> object:
            pipe = self._store.client.pipeline(transaction=False)
            for short in shorts:
                pipe.hgetall(f"{self._base}:job:{short}")
            return pipe.execute()

        stored = cast("list[dict[str, str]]", self._store.held(read))
        keys = (JobKey.parse(f"{self.account}.{short}") for short in shorts)
        return [record_of(key, one) if one else None for key, one in zip(keys, stored, strict=True)]

    def _hash(self, key: str) -> dict[str, str]:
        return cast("dict[str, str]", self._store.held(lambda: self._store.client.hgetall(key)))

    def _call(self, command: str, *args: str | int, more_keys: Sequence[str] = ()) -> Any:  # noqa: ANN401
        now = "" if self._clock is None else self._clock()
        head = (command, now, self._suspects, DEAD_MS, LOST_MS, self._retention_ms)
        return self._script([*self._keys, *more_keys], [*head, *args])
