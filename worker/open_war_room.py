"""The one use case: claim, wait for a slot, look or create, write down how it ended. No Celery, Redis or HTTP in it.

    claim ─▶ slot ─▶ create ─▶ opened
      │        │        └─ error ─▶ WAIT       429: pause the account, back to the line
      │        │                    RETRY, LOOK_FIRST: retrying, or failed after 6 attempts
      │        │                    SUSPEND    the account is suspended, back to the line
      │        │                    GIVE_UP    failed
      │        ├─ outcome unknown ─▶ look ─▶ found, or slot ─▶ create
      │        └─ none to be had: back to the line
      └─ nobody waits: nothing to do

Waiting for a slot is no attempt; an attempt begins with its first slot, in one step of the ledger, which asks for the
slot when it is asked for the job: two round trips before a call are none if its slot is near. How calls end is told to
the account's health (slots): when the API is down or refuses the account, everybody waits, and no job pays for it with
its attempts.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

from worker.errors import (
    AccountRefused,
    FlashdutyError,
    NextStep,
    NoMoreSlots,
    OutcomeUnknown,
    RoomGone,
    SettingsError,
    WarroomsError,
)
from worker.health import Health
from worker.jobs import JobState, Lane, WarRoom, WarRoomJob
from worker.retry_policy import BackInLine, GiveUp, TryAgainIn, decide
from worker.slots import Asking, First, Slot
from worker.telemetry import OK, SILENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.flashduty import ListedRoom, Reply
    from worker.records import Claim
    from worker.slots import NotYet, Reserved, Taken
    from worker.telemetry import Telemetry

T = TypeVar("T")

log = logging.getLogger(__name__)


class Ledger(Protocol):
    """The part of the ledger that this needs."""

    def take(self, job: WarRoomJob, worker: str) -> Taken | JobState: ...  # noqa: D102
    def slot(self, claim: Claim, *, sent: bool, ticket: bool) -> Reserved | NotYet | None: ...  # noqa: D102
    def has_room(self, claim: Claim, state: JobState, room: WarRoom, request_id: str) -> bool: ...  # noqa: D102
    def failed(self, claim: Claim, error: FlashdutyError, reason: str) -> bool: ...  # noqa: D102
    def retry(  # noqa: D102
        self, claim: Claim, error: FlashdutyError, delay_s: float, *, look_first: bool, spent: bool = ...
    ) -> bool: ...
    def release(self, claim: Claim, *, look_first: bool = False) -> bool: ...  # noqa: D102


class Slots(Protocol):
    """The part of the account's slots that this needs."""

    def now(self) -> float: ...  # noqa: D102
    def take(self, lane: Lane, asking: Asking | None = ..., asked: Callable[[], None] = ...) -> Slot: ...  # noqa: D102
    def give_back(self, slot: Slot) -> None: ...  # noqa: D102
    def pause(self, slot: Slot, retry_after_s: float | None) -> float: ...  # noqa: D102
    def report(self, slot: Slot, error: FlashdutyError | None = ..., *, done: bool = ...) -> Health: ...  # noqa: D102


class Api(Protocol):
    """The part of the API that this needs; every call spends a slot."""

    def create(self, job: WarRoomJob, *, fence_at: float) -> Reply[WarRoom]: ...  # noqa: D102
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

    @property
    def label(self) -> str:
        """As metrics and log fields say it."""
        return self.value.replace(" ", "_")


@dataclass(frozen=True, slots=True)
class Report:
    """What happened to `job`, for the log; the ledger has the rest."""

    outcome: Outcome
    attempt: int = 0
    waited_s: float = 0.0
    error: FlashdutyError | None = None
    delay_s: float = 0.0
    room: WarRoom | None = None
    job: WarRoomJob | None = None
    latency_s: float | None = None
    request_id: str = ""

    @property
    def code(self) -> str:
        """OK if the job has its room, else its error's; empty if it only waits."""
        if self.error is not None:
            return self.error.code
        return OK if self.room is not None else ""


class _ClaimLost(Exception):
    pass


class _CallFailed(Exception):
    """A call ended in an error, which was told to the account's health."""

    def __init__(self, slot: Slot, error: FlashdutyError, health: Health) -> None:
        super().__init__(str(error))
        self.slot = slot
        self.error = error
        self.health = health


class OpenWarRoom:
    """Opens the rooms of one account.

    Args:
        ledger: the account's jobs.
        slots: the account's slots.
        api: the account's API.
        worker: this worker's name, for the claims; no other process ever has the same.
        jitter: gives a number in [0, 1) for each retry.
        telemetry: told what is claimed and how it ended.
    """

    def __init__(
        self,
        ledger: Ledger,
        slots: Slots,
        api: Api,
        *,
        worker: str,
        jitter: Callable[[], float] = random.random,
        telemetry: Telemetry = SILENT,
    ) -> None:
        self._ledger = ledger
        self._slots = slots
        self._api = api
        self._worker = worker
        self._jitter = jitter
        self._telemetry = telemetry

    def __call__(
        self,
        nudged: WarRoomJob,
        asked: Callable[[], None] = lambda: None,
        took: Callable[[WarRoomJob], None] = lambda _job: None,
    ) -> Report:
        """Does what the job whose turn it is needs now, if there is one.

        Args:
            nudged: the job that the message names; its record begins here if it has none.
            asked: called once a slot was asked for, or none is needed (the gate counts).
            took: called with the job that is done.

        Raises:
            QueueUnavailable: Redis is away and this worker does not hold any longer.
        """
        asked_at = self._slots.now()
        taken = self._ledger.take(nudged, self._worker)
        if isinstance(taken, JobState):
            asked()
            return Report(Outcome.NOTHING_TO_DO)
        claim = taken.claim
        took(claim.job)
        self._telemetry.claimed(claim)
        report = replace(self._do(taken, asked_at, asked), job=claim.job)
        self._telemetry.ended(claim.job, report.outcome.label, report.code, report.attempt)
        return report

    def _do(self, taken: Taken, asked_at: float, asked: Callable[[], None]) -> Report:
        claim = taken.claim
        if taken.answer is None:  # its attempts are used up, and none of them came to an end
            asked()
            return self._settle(claim, NO_SLOT, _WORKER_LOST, Health())
        try:
            slot = self._slot_for(claim, sent=not claim.look_first, first=First(asked_at, taken.answer), asked=asked)
        except _ClaimLost:
            return Report(Outcome.NOTHING_TO_DO, claim.attempt)
        except NoMoreSlots:
            self._ledger.release(claim)
            return Report(Outcome.BACK_IN_LINE, claim.attempt)
        return self._attempt(claim, slot)

    def _slot_for(
        self, claim: Claim, *, sent: bool, first: First | None = None, asked: Callable[[], None] = lambda: None
    ) -> Slot:
        """A slot of the attempt, with which it begins; the record says what goes out before it goes out."""

        def ask(ticket: bool) -> Reserved | NotYet:  # noqa: FBT001 - the bucket's own
            answer = self._ledger.slot(claim, sent=sent, ticket=ticket)
            if answer is None:
                raise _ClaimLost
            return answer

        return self._slots.take(claim.job.lane, Asking(ask, first), asked)

    def _attempt(self, claim: Claim, slot: Slot) -> Report:
        try:
            return self._open(claim, slot)
        except _ClaimLost:
            return Report(Outcome.NOTHING_TO_DO, claim.attempt)
        except NoMoreSlots:
            self._ledger.release(claim)
            return Report(Outcome.BACK_IN_LINE, claim.attempt)
        except _CallFailed as failed:
            return self._settle(claim, failed.slot, failed.error, failed.health)
        except WarroomsError:
            raise  # Redis is away for good: this worker ends, and whoever comes next looks first
        except Exception:
            # A defect of ours must not leave the job claimed for nobody: it is an attempt with unknown outcome.
            log.exception("defect while opening %s", claim.job.id)
            return self._settle(claim, slot, _DEFECT, Health())

    def _open(self, claim: Claim, slot: Slot) -> Report:
        job = claim.job
        if claim.look_first:
            found = self._look(job, slot)
            if found is not None:
                return self._has_room(claim, slot, JobState.FOUND, found)
            slot = self._slot_for(claim, sent=True)
        try:
            reply = self._ask(slot, lambda: self._api.create(job, fence_at=slot.fence_at))
        except _CallFailed as failed:
            if isinstance(failed.error, RoomGone):
                return self._look_once(claim, slot, failed.error)
            raise
        self._slots.report(slot)
        return self._has_room(claim, slot, JobState.OPENED, reply)

    def _ask(self, slot: Slot, call: Callable[[], Reply[T]]) -> Reply[T]:
        """One call; an error is told to the account's health here, a success by who knows what it is worth."""
        try:
            reply = call()
        except NoMoreSlots:  # it has not left in time
            self._slots.give_back(slot)
            raise
        except FlashdutyError as error:
            ended = error
        except SettingsError as error:  # the key's file is gone, say: no call of the account can go out
            ended = AccountRefused(str(error), code="NoAppKey", hint="see to the app key; nothing has to be restarted")
        else:
            return reply
        raise _CallFailed(slot, ended, self._slots.report(slot, ended))

    def _look(self, job: WarRoomJob, slot: Slot) -> Reply[WarRoom] | None:
        """The answer with the incident's living room, if it has one.

        The slot pays for the list; each detail takes one of its own.
        """
        listed = self._ask(slot, lambda: self._api.list_rooms(job.incident_id, job.integration_id)).value
        self._slots.report(slot, done=False)
        for candidate in listed:
            chat_id = candidate.chat_id
            own = self._slots.take(job.lane)
            detail = self._ask(own, lambda: self._api.detail(job.integration_id, chat_id))  # noqa: B023 - called at once
            self._slots.report(own, done=detail.value is not None)
            if detail.value is not None:
                return cast("Reply[WarRoom]", detail)
        return None

    def _has_room(self, claim: Claim, slot: Slot, state: JobState, reply: Reply[WarRoom]) -> Report:
        if not self._ledger.has_room(claim, state, reply.value, reply.request_id):
            raise _ClaimLost
        return Report(
            Outcome(state.value),
            claim.attempt,
            slot.waited_s,
            room=reply.value,
            latency_s=reply.latency_s,
            request_id=reply.request_id,
        )

    def _settle(self, claim: Claim, slot: Slot, error: FlashdutyError, health: Health) -> Report:
        if error.next_step is NextStep.WAIT:
            return self._wait(claim, slot, error)
        match decide(claim, error, health, self._jitter()):
            case TryAgainIn(delay_s, look_first, spent):
                kept = self._ledger.retry(claim, error, delay_s, look_first=look_first, spent=spent)
                report = Report(Outcome.RETRYING, claim.attempt, slot.waited_s, error, delay_s)
            case BackInLine():
                kept = self._ledger.release(claim)
                report = Report(Outcome.BACK_IN_LINE, claim.attempt, slot.waited_s, error, health.pause_s)
            case GiveUp(reason):
                kept = self._ledger.failed(claim, error, reason)
                report = Report(Outcome.FAILED, claim.attempt, slot.waited_s, error)
        return report if kept else Report(Outcome.NOTHING_TO_DO, claim.attempt)

    def _wait(self, claim: Claim, slot: Slot, error: FlashdutyError, *, look_first: bool = False) -> Report:
        """A 429 pauses the account for every worker, and costs this job no attempt."""
        paused_s = self._slots.pause(slot, error.retry_after_s)
        self._ledger.release(claim, look_first=look_first)
        return Report(Outcome.BACK_IN_LINE, claim.attempt, slot.waited_s, error, paused_s)

    def _look_once(self, claim: Claim, slot: Slot, gone: RoomGone) -> Report:
        """Success without a room, as documented when the group was deleted: look whether one lives all the same."""
        try:
            found = self._look(claim.job, self._slots.take(claim.job.lane))
        except NoMoreSlots:
            self._ledger.release(claim, look_first=True)
            return Report(Outcome.BACK_IN_LINE, claim.attempt)
        except _CallFailed as failed:
            if failed.error.next_step is NextStep.WAIT:
                return self._wait(claim, failed.slot, failed.error, look_first=True)
            unknown = OutcomeUnknown(f"{gone.message}; looking for it failed: {failed.error}", code=gone.code)
            return self._settle(claim, failed.slot, unknown, failed.health)
        if found is not None:
            return self._has_room(claim, slot, JobState.FOUND, found)
        if not self._ledger.failed(claim, gone, str(gone)):
            raise _ClaimLost
        return Report(Outcome.FAILED, claim.attempt, slot.waited_s, gone)


NO_SLOT = Slot("", 0.0)

_WORKER_LOST = OutcomeUnknown("the worker ended in the middle of every attempt", code="WorkerLost")
_DEFECT = OutcomeUnknown("a defect in the worker, see its log", code="Defect")
