"""The ledger of an account: ledger.lua bound to Redis. It is the truth; a message is only a nudge to look here."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Final, cast

from worker.errors import NextStep
from worker.jobs import JobKey, JobState, Lane, WarRoom, WarRoomJob
from worker.records import Claim, Entered, Progress, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.errors import FlashdutyError
    from worker.redis_store import RedisStore

LEASE_MS: Final = 180_000
"""How long a claim holds without news: longer than what may follow one another, create, list and detail, 44 s each."""

NUDGE_AGAIN_MS: Final = 60_000
"""A due retry that was nudged and not claimed for this long is nudged again."""

NEW: Final = "new"


class Ledger:
    """Records, claims and batches of one account.

    Args:
        store: the Redis that everyone shares.
        account: the account's name.
        retention_s: how long finished jobs are remembered, in seconds.
        lease_ms: how long a claim holds without news, in milliseconds.
        clock: milliseconds since the epoch; None means Redis' own clock. Only tests pass one.

    Every method raises QueueUnavailable if Redis does not answer.
    """

    def __init__(
        self,
        store: RedisStore,
        account: str,
        *,
        retention_s: int = 7 * 86_400,
        lease_ms: int = LEASE_MS,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.account = account
        self._base = f"warrooms:{{{account}}}"
        self._store = store
        self._script = store.script("ledger")
        self._retention_ms = retention_s * 1000
        self._lease_ms = lease_ms
        self._clock = clock

    def enqueue(self, jobs: Sequence[WarRoomJob], batch: str | None = None) -> list[Entered]:
        """Records the jobs, one answer each in their order; one atomic step, so keep it to some hundreds.

        A job that is known stays as it is, unless it failed or was cancelled: then it is queued anew. An urgent
        enqueue of a waiting bulk job makes it urgent.
        """
        fields: list[str | int] = [self._retention_ms, batch or ""]
        for job in jobs:
            observers = "1" if job.add_observers else ""
            fields += (_short(job.id), job.lane.value, ",".join(map(str, job.member_ids)), observers)
        reply = self._call("enqueue", *fields)
        answers = zip(jobs, reply[::3], reply[1::3], reply[2::3], strict=True)
        return [_entered(job.id, status, chat, link) for job, status, chat, link in answers]

    def record(self, job_id: str) -> Record | None:
        """The job's record; None if there is none (never enqueued, or forgotten after the retention)."""
        key = f"{self._base}:job:{_short(job_id)}"
        stored = self._hash(key)
        return _record(JobKey.parse(job_id), stored) if stored else None

    def claim(self, job_id: str, worker: str) -> Claim | JobState | None:
        """Takes the job for an attempt, which counts from here; the record says *sent* unless it must look first.

        Returns:
            The claim; or the state in which the job needs no work now; or None if there is no record.
        """
        token = f"{worker}/{uuid.uuid4().hex[:12]}"
        verdict, attempt, look = self._call("claim", _short(job_id), token, self._lease_ms)
        if verdict == "claimed":
            return Claim(job_id, token, int(attempt), bool(look))
        return None if verdict == "unknown" else JobState(verdict)

    def mark_sent(self, claim: Claim) -> bool:
        """Says that the creating call goes out now; False if the claim is lost."""
        return bool(self._call("sent", _short(claim.job_id), claim.token, self._lease_ms))

    def has_room(self, claim: Claim, state: JobState, room: WarRoom, request_id: str) -> bool:
        """Ends the job as `opened` or `found`; False if the claim is lost."""
        return self._finish(claim, state, {**room.model_dump(), "request_id": request_id})

    def failed(self, claim: Claim, error: FlashdutyError, reason: str) -> bool:
        """Ends the job as a dead letter; False if the claim is lost."""
        fields = {**_error_fields(error), "message": reason}
        if error.next_step is NextStep.LOOK_FIRST:
            fields["look"] = "1"  # for whoever queues it again
        return self._finish(claim, JobState.FAILED, fields)

    def retry(self, claim: Claim, error: FlashdutyError, delay_s: float, *, look_first: bool) -> bool:
        """Puts the job aside until it is due; False if the claim is lost."""
        fields = _flat(_error_fields(error))
        delay_ms, look = round(delay_s * 1000), "1" if look_first else ""
        return bool(self._call("retry", _short(claim.job_id), claim.token, delay_ms, look, *fields))

    def release(self, claim: Claim, *, look_first: bool = False) -> bool:
        """Gives the job back to its line without an attempt spent; False if the claim is lost."""
        look = "1" if look_first else ""
        return bool(self._call("release", _short(claim.job_id), claim.token, look, NUDGE_AGAIN_MS))

    def take_due(self, most: int, every_ms: int) -> list[tuple[str, Lane]]:
        """At most `most` jobs to nudge, queued again: due retries, and claims whose lease ended (the worker died).

        Once per `every_ms` over all workers.
        """
        reply = self._call("due", most, every_ms, NUDGE_AGAIN_MS)
        pairs = zip(reply[::2], reply[1::2], strict=True)
        return [(f"{self.account}.{short}", Lane(lane)) for short, lane in pairs]

    def progress(self) -> Progress:
        """The account's jobs by state."""
        return _progress(self._hash(f"{self._base}:counts"))

    def batch(self, name: str) -> Progress | None:
        """The batch's jobs by state; None if no such batch is known."""
        stored = self._hash(f"{self._base}:batch:{name}")
        return _progress(stored) if stored else None

    def batches(self, most: int = 10) -> list[str]:
        """The names of the newest batches, newest first."""
        return self._newest("batches", most)

    def dead_letters(self, most: int = 10) -> list[str]:
        """The ids of the jobs that failed last, newest first."""
        return [f"{self.account}.{short}" for short in self._newest("failed", most)]

    def _finish(self, claim: Claim, state: JobState, fields: Mapping[str, str | int]) -> bool:
        short = _short(claim.job_id)
        return bool(self._call("finish", short, claim.token, state.value, self._retention_ms, *_flat(fields)))

    def _hash(self, key: str) -> dict[str, str]:
        return cast("dict[str, str]", self._store.held(lambda: self._store.client.hgetall(key)))

    def _newest(self, name: str, most: int) -> list[str]:
        def read() -> object:
            return self._store.client.zrevrange(f"{self._base}:{name}", 0, most - 1)

        return cast("list[str]", self._store.held(read))

    def _call(self, command: str, *args: str | int) -> Any:  # noqa: ANN401
        now = "" if self._clock is None else self._clock()
        return self._script([self._base], [command, now, *args])


def _short(job_id: str) -> str:
    return job_id.partition(".")[2]


def _entered(job_id: str, status: str, chat_id: str, share_link: str) -> Entered:
    state = JobState.QUEUED if status == NEW else JobState(status)
    return Entered(job_id, state, status == NEW, chat_id, share_link)


def _error_fields(error: FlashdutyError) -> dict[str, str | int]:
    return {
        "code": error.code,
        "message": str(error),
        "hint": error.hint,
        "request_id": error.request_id,
        "status": "" if error.status is None else error.status,
    }


def _flat(fields: Mapping[str, str | int]) -> list[str | int]:
    return [part for pair in fields.items() for part in pair]


def _record(key: JobKey, stored: Mapping[str, str]) -> Record:
    batches = tuple(filter(None, stored.get("batches", "").split(",")))
    # Without validating again: what stands in the ledger must be readable, whoever wrote it.
    job = WarRoomJob.model_construct(
        account=key.account,
        incident_id=key.incident_id,
        integration_id=key.integration_id,
        member_ids=tuple(dict.fromkeys(int(m) for m in stored.get("members", "").split(",") if m)),
        add_observers=stored.get("observers") == "1",
        lane=Lane(stored["lane"]),
        batch=batches[0] if batches else None,
    )
    chat_id = stored.get("chat_id", "")
    return Record(
        job=job,
        state=JobState(stored["state"]),
        batches=batches,
        attempts=int(stored.get("attempts", 0)),
        created_at=int(stored["created"]) / 1000,
        updated_at=int(stored["updated"]) / 1000,
        due_at=_time(stored.get("due")),
        finished_at=_time(stored.get("finished")),
        room=WarRoom(
            chat_id=chat_id,
            chat_name=stored.get("chat_name", ""),
            share_link=stored.get("share_link", ""),
        )
        if chat_id
        else None,
        request_id=stored.get("request_id", ""),
        code=stored.get("code", ""),
        message=stored.get("message", ""),
        hint=stored.get("hint", ""),
        status=int(stored["status"]) if stored.get("status") else None,
    )


def _time(ms: str | None) -> float | None:
    return int(ms) / 1000 if ms else None


def _progress(stored: Mapping[str, str]) -> Progress:
    states = {state: int(stored.get(state.value, 0)) for state in JobState}
    return Progress(states, int(stored.get("queued.urgent", 0)), _time(stored.get("created")))
