"""The one use case: wait for a slot, look or create, write down how it ended. No Celery, no Redis, no HTTP in it.

    look at the record ─▶ slot ─▶ claim ─▶ create ─▶ opened
                                    │        └─ error ─▶ WAIT     429: pause the account, back to the line
                                    │                    RETRY, LOOK_FIRST: retrying, or failed after 6 attempts
                                    │                    GIVE_UP, SUSPEND: failed
                                    └─ outcome unknown ─▶ look ─▶ found, or slot ─▶ create

Waiting comes before the claim: a claim covers calls only, so it is short, and a waiting job belongs to nobody.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from worker.errors import FlashdutyError, NextStep, NoMoreSlots, OutcomeUnknown, RoomGone, WarroomsError
from worker.jobs import JobState, Lane, WarRoom, WarRoomJob
from worker.retry_policy import MAX_ATTEMPTS, GiveUp, TryAgainIn, decide

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.flashduty import ListedRoom, Reply
    from worker.records import Claim, Entered, Record
    from worker.slots import Slot

log = logging.getLogger(__name__)


class Ledger(Protocol):
    """The part of the ledger that this needs."""

    def enqueue(self, jobs: Sequence[WarRoomJob], batch: str | None = None) -> list[Entered]: ...  # noqa: D102
    def record(self, job_id: str) -> Record | None: ...  # noqa: D102
    def claim(self, job_id: str, worker: str) -> Claim | JobState | None: ...  # noqa: D102
    def mark_sent(self, claim: Claim) -> bool: ...  # noqa: D102
    def has_room(self, claim: Claim, state: JobState, room: WarRoom, request_id: str) -> bool: ...  # noqa: D102
    def failed(self, claim: Claim, error: FlashdutyError, reason: str) -> bool: ...  # noqa: D102
    def retry(self, claim: Claim, error: FlashdutyError, delay_s: float, *, look_first: bool) -> bool: ...  # noqa: D102
    def release(self, claim: Claim, *, look_first: bool = False) -> bool: ...  # noqa: D102


class Slots(Protocol):
    """The part of the account's slots that this needs."""

    def take(self, lane: Lane, asked: Callable[[], None] = ...) -> Slot: ...  # noqa: D102
    def in_time(self, slot: Slot) -> bool: ...  # noqa: D102
    def give_back(self, slot: Slot) -> None: ...  # noqa: D102
    def pause(self, retry_after_s: float | None) -> float: ...  # noqa: D102


class Api(Protocol):
    """The part of the API that this needs; every call spends a slot."""

    def create(self, job: WarRoomJob) -> Reply[WarRoom]: ...  # noqa: D102
    def list_rooms(self, incident_id: str, integration_id: int) -> Reply[tuple[ListedRoom, ...]]: ...  # noqa: D102
    def detail(self, integration_id: int, chat_id: str) -> Reply[WarRoom | None]: ...  # noqa: D102


class Outcome(StrEnum):
    """How one nudge ended."""

    OPENED = "opened"
    FOUND = "found"
    FAILED = "failed"
    RETRYING = "retrying"
    BACK_IN_LINE = "back in line"
    NOTHING_TO_DO = "nothing to do"


@dataclass(frozen=True, slots=True)
class Report:
    """What happened, for the log; the ledger has the rest."""

    outcome: Outcome
    attempt: int = 0
    waited_s: float = 0.0
    error: FlashdutyError | None = None
    delay_s: float = 0.0
    room: WarRoom | None = None


class _ClaimLost(Exception):
    pass


class OpenWarRoom:
    """Opens the rooms of one account.

    Args:
        ledger: the account's jobs.
        slots: the account's slots.
        api: the account's API.
        worker: this worker's name, for the claims.
        jitter: gives a number in [0, 1) for each retry.
    """

    def __init__(
        self,
        ledger: Ledger,
        slots: Slots,
        api: Api,
        *,
        worker: str,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._ledger = ledger
        self._slots = slots
        self._api = api
        self._worker = worker
        self._jitter = jitter

    def __call__(self, nudged: WarRoomJob, asked: Callable[[], None] = lambda: None) -> Report:
        """Does what the job needs now, which may be nothing.

        Args:
            nudged: the job as the message tells it; the record, if there is one, tells better.
            asked: called once the job has asked for a slot or needs none (the gate counts).

        Raises:
            QueueUnavailable: Redis is away and this worker does not hold any longer.
        """
        job = self._job(nudged)
        if job is None:
            asked()
            return Report(Outcome.NOTHING_TO_DO)
        try:
            slot = self._slots.take(job.lane, asked)
        except NoMoreSlots:
            return Report(Outcome.BACK_IN_LINE)
        claim = self._ledger.claim(job.id, self._worker)
        if claim is None or isinstance(claim, JobState):
            self._slots.give_back(slot)
            return Report(Outcome.NOTHING_TO_DO)
        return self._attempt(job, claim, slot)

    def _job(self, nudged: WarRoomJob) -> WarRoomJob | None:
        record = self._ledger.record(nudged.id)
        if record is None:  # a foreign client's message: the record begins here
            self._ledger.enqueue([nudged], nudged.batch)
            return nudged
        if record.state.finished or record.state is JobState.RETRYING:
            return None
        if nudged.lane is Lane.URGENT and record.job.lane is Lane.BULK:  # a foreign client is in a hurry now
            self._ledger.enqueue([nudged], nudged.batch)
            return record.job.model_copy(update={"lane": Lane.URGENT})
        return record.job

    def _attempt(self, job: WarRoomJob, claim: Claim, slot: Slot) -> Report:
        if claim.attempt > MAX_ATTEMPTS:
            self._slots.give_back(slot)
            ended = OutcomeUnknown("the worker ended in the middle of every attempt", code="WorkerLost")
            return self._settle(claim, slot, ended)
        try:
            return self._open(job, claim, slot)
        except _ClaimLost:
            return Report(Outcome.NOTHING_TO_DO, claim.attempt)
        except NoMoreSlots:
            self._ledger.release(claim)
            return Report(Outcome.BACK_IN_LINE, claim.attempt)
        except FlashdutyError as error:
            return self._settle(claim, slot, error)
        except WarroomsError:
            raise  # Redis is away for good: the lease runs out, and whoever comes next looks first
        except Exception:
            # A defect of ours must not leave the job claimed for nobody: it is an attempt with unknown outcome.
            log.exception("defect while opening %s", job.id)
            defect = OutcomeUnknown("a defect in the worker, see its log", code="Defect")
            return self._settle(claim, slot, defect)

    def _open(self, job: WarRoomJob, claim: Claim, slot: Slot) -> Report:
        self._check(slot)
        if claim.look_first:
            found = self._look(job)
            if found is not None:
                return self._has_room(claim, slot, JobState.FOUND, *found)
            slot = self._slots.take(job.lane)
            if not self._ledger.mark_sent(claim):
                self._slots.give_back(slot)
                raise _ClaimLost
            self._check(slot)
        try:
            reply = self._api.create(job)
        except RoomGone as gone:
            return self._look_once(job, claim, slot, gone)
        return self._has_room(claim, slot, JobState.OPENED, reply.value, reply.request_id)

    def _check(self, slot: Slot) -> None:
        """Redis may have let us wait since the slot came; a call that goes out too late breaks the limit."""
        if not self._slots.in_time(slot):
            self._slots.give_back(slot)
            raise NoMoreSlots("the slot is too old")

    def _look(self, job: WarRoomJob) -> tuple[WarRoom, str] | None:
        """The incident's living room and the request id, if it has one.

        The caller's slot pays for the list; each detail takes one of its own.
        """
        listed = self._api.list_rooms(job.incident_id, job.integration_id).value
        for candidate in listed:
            self._slots.take(job.lane)
            detail = self._api.detail(job.integration_id, candidate.chat_id)
            if detail.value is not None:
                return detail.value, detail.request_id
        return None

    def _has_room(self, claim: Claim, slot: Slot, state: JobState, room: WarRoom, request_id: str) -> Report:
        if not self._ledger.has_room(claim, state, room, request_id):
            raise _ClaimLost
        return Report(Outcome(state.value), claim.attempt, slot.waited_s, room=room)

    def _settle(self, claim: Claim, slot: Slot, error: FlashdutyError) -> Report:
        if error.next_step is NextStep.WAIT:
            return self._wait(claim, slot, error)
        match decide(claim.attempt, error, self._jitter()):
            case TryAgainIn(delay_s, look_first):
                kept = self._ledger.retry(claim, error, delay_s, look_first=look_first)
                report = Report(Outcome.RETRYING, claim.attempt, slot.waited_s, error, delay_s)
            case GiveUp(reason):
                kept = self._ledger.failed(claim, error, reason)
                report = Report(Outcome.FAILED, claim.attempt, slot.waited_s, error)
        return report if kept else Report(Outcome.NOTHING_TO_DO, claim.attempt)

    def _wait(self, claim: Claim, slot: Slot, error: FlashdutyError, *, look_first: bool = False) -> Report:
        """A 429 pauses the account for every worker, and costs this job no attempt."""
        paused_s = self._slots.pause(error.retry_after_s)
        self._ledger.release(claim, look_first=look_first)
        return Report(Outcome.BACK_IN_LINE, claim.attempt, slot.waited_s, error, paused_s)

    def _look_once(self, job: WarRoomJob, claim: Claim, slot: Slot, gone: RoomGone) -> Report:
        """Success without a room, as documented when the group was deleted: look whether one lives all the same."""
        try:
            self._slots.take(job.lane)
            found = self._look(job)
        except NoMoreSlots:
            self._ledger.release(claim, look_first=True)
            return Report(Outcome.BACK_IN_LINE, claim.attempt)
        except FlashdutyError as error:
            if error.next_step is NextStep.WAIT:
                return self._wait(claim, slot, error, look_first=True)
            raise OutcomeUnknown(f"{gone.message}; looking for it failed: {error}", code=gone.code) from error
        if found is not None:
            return self._has_room(claim, slot, JobState.FOUND, *found)
        if not self._ledger.failed(claim, gone, str(gone)):
            raise _ClaimLost
        return Report(Outcome.FAILED, claim.attempt, slot.waited_s, gone)
