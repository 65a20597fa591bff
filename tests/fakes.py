"""Stand-ins for the use case's neighbours. The ledger's is a whole twin: it passes the real one's tests."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from worker.errors import NextStep
from worker.flashduty import ListedRoom, Reply
from worker.jobs import INT64_MAX, JobState, Lane, WarRoom, WarRoomJob
from worker.ledger import LEASE_MS, NUDGE_AGAIN_MS
from worker.records import Claim, Entered, Progress, Record
from worker.slots import Lines, NotYet, Reserved, Slot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from worker.errors import FlashdutyError

START_MS: Final = 1_790_000_000_000
INCIDENT: Final = "69da451ef77b1b51f40e83ee"
MOST_BATCHES: Final = 64
NOW: Final = Lines(0.0, 0.0, 0.0)


@dataclass
class Clock:
    """Milliseconds since the epoch, set by the test."""

    now_ms: int = START_MS

    def __call__(self) -> int:
        return self.now_ms

    def forward(self, seconds: float) -> None:
        self.now_ms += round(seconds * 1000)


def a_job(number: int = 0, **fields: object) -> WarRoomJob:
    """A job of account `acc`; another number, another incident."""
    incident = f"{number:024x}" if number else INCIDENT
    return WarRoomJob.of(**{"account": "acc", "incident_id": incident, "integration_id": INT64_MAX, **fields})


A_ROOM: Final = WarRoom(chat_id="oc_1", chat_name="INC-1", share_link="https://im.example/1")


@dataclass
class _Kept:
    job: WarRoomJob
    created: int
    updated: int
    state: JobState = JobState.QUEUED
    batches: list[str] = field(default_factory=list)
    attempts: int = 0
    look: bool = False
    sent: bool = False
    token: str | None = None
    lease: int = 0
    listed: int | None = None  # when somebody must look at it
    due: int | None = None
    finished: int | None = None
    room: WarRoom | None = None
    request_id: str = ""
    code: str = ""
    message: str = ""
    hint: str = ""
    status: int | None = None

    def move(self, state: JobState, now: int) -> None:
        self.state, self.updated = state, now


class FakeLedger:
    """The rules of ledger.lua once more, in plain Python, on one dict; counters are recounted, never kept."""

    def __init__(self, account: str = "acc", *, clock: Callable[[], int]) -> None:
        self.account = account
        self._clock = clock
        self._jobs: dict[str, _Kept] = {}
        self._tokens = 0
        self.batch_names: set[str] = set()

    def enqueue(self, jobs: Sequence[WarRoomJob], batch: str | None = None) -> list[Entered]:
        if batch:
            self.batch_names.add(batch)
        return [self._enter(job, batch) for job in jobs]

    def _enter(self, job: WarRoomJob, batch: str | None) -> Entered:
        now = self._clock()
        kept = self._jobs.get(job.id)
        if kept is None:
            self._jobs[job.id] = _Kept(job, now, now, batches=[batch] if batch else [])
            return Entered(job.id, JobState.QUEUED, new=True)
        new = kept.state in {JobState.FAILED, JobState.CANCELLED}
        if new:
            kept.move(JobState.QUEUED, now)
            kept.job, kept.attempts, kept.sent, kept.token = job, 0, False, None
            kept.code = kept.message = kept.hint = ""
            kept.status = kept.finished = kept.due = None
        elif kept.state in {JobState.QUEUED, JobState.RETRYING} and (job.member_ids or job.add_observers):
            members = tuple(dict.fromkeys(kept.job.member_ids + job.member_ids))
            observers = kept.job.add_observers or job.add_observers
            kept.job = kept.job.model_copy(update={"member_ids": members, "add_observers": observers})
        if not new and job.lane is Lane.URGENT:
            kept.job = kept.job.model_copy(update={"lane": Lane.URGENT})
        if batch and batch not in kept.batches and len(kept.batches) < MOST_BATCHES:
            kept.batches.append(batch)
        if new or kept.room is None:
            return Entered(job.id, kept.state, new=new)
        return Entered(job.id, kept.state, False, kept.room.chat_id, kept.room.share_link)

    def record(self, job_id: str) -> Record | None:
        kept = self._jobs.get(job_id)
        if kept is None:
            return None
        return Record(
            job=kept.job.model_copy(update={"batch": kept.batches[0] if kept.batches else None}),
            state=kept.state,
            batches=tuple(kept.batches),
            attempts=kept.attempts,
            created_at=kept.created / 1000,
            updated_at=kept.updated / 1000,
            due_at=None if kept.due is None else kept.due / 1000,
            finished_at=None if kept.finished is None else kept.finished / 1000,
            room=kept.room,
            request_id=kept.request_id,
            code=kept.code,
            message=kept.message,
            hint=kept.hint,
            status=kept.status,
        )

    def claim(self, job_id: str, worker: str) -> Claim | JobState | None:
        now, kept = self._clock(), self._jobs.get(job_id)
        if kept is None:
            return None
        orphan = kept.state is JobState.OPENING and kept.lease <= now
        if kept.state is not JobState.QUEUED and not orphan:
            return kept.state
        self._tokens += 1
        kept.look = kept.look or (orphan and kept.sent)
        kept.sent = not kept.look
        kept.token = f"{worker}/{self._tokens}"
        kept.lease = kept.listed = now + LEASE_MS
        kept.attempts += 1
        kept.due = None
        kept.move(JobState.OPENING, now)
        return Claim(job_id, kept.token, kept.attempts, kept.look)

    def mark_sent(self, claim: Claim) -> bool:
        kept = self._held(claim)
        if kept is None:
            return False
        kept.sent = True
        kept.lease = kept.listed = self._clock() + LEASE_MS
        return True

    def has_room(self, claim: Claim, state: JobState, room: WarRoom, request_id: str) -> bool:
        kept = self._held(claim)
        if kept is None:
            return self._did(claim, state)
        self._finish(kept, state)
        kept.room, kept.request_id = room, request_id
        kept.look, kept.code, kept.message, kept.hint, kept.status = False, "", "", "", None
        return True

    def failed(self, claim: Claim, error: FlashdutyError, reason: str) -> bool:
        kept = self._held(claim)
        if kept is None:
            return self._did(claim, JobState.FAILED)
        self._finish(kept, JobState.FAILED)
        _set_error(kept, error)
        kept.message = reason
        kept.look = kept.look or error.next_step is NextStep.LOOK_FIRST
        return True

    def retry(self, claim: Claim, error: FlashdutyError, delay_s: float, *, look_first: bool) -> bool:
        kept = self._held(claim)
        if kept is None:
            return self._did(claim, JobState.RETRYING)
        kept.move(JobState.RETRYING, self._clock())
        _set_error(kept, error)
        kept.due = kept.listed = self._clock() + round(delay_s * 1000)
        kept.look, kept.sent = kept.look or look_first, False
        return True

    def release(self, claim: Claim, *, look_first: bool = False) -> bool:
        kept = self._held(claim)
        if kept is None:
            return self._did(claim, JobState.QUEUED)
        kept.move(JobState.QUEUED, self._clock())
        kept.attempts, kept.sent, kept.look = kept.attempts - 1, False, kept.look or look_first
        kept.listed = self._clock() + NUDGE_AGAIN_MS
        return True

    def take_due(self, most: int) -> list[tuple[str, Lane]]:
        """As the real one when nobody else has just looked."""
        now = self._clock()
        due = sorted((kept.listed, id_) for id_, kept in self._jobs.items() if (kept.listed or now + 1) <= now)
        nudged = []
        for _, id_ in due[:most]:
            kept = self._jobs[id_]
            if kept.state is JobState.OPENING:
                kept.look, kept.sent = kept.look or kept.sent, False
            if kept.state is not JobState.QUEUED:
                kept.move(JobState.QUEUED, now)
            kept.listed = now + NUDGE_AGAIN_MS
            nudged.append((id_, kept.job.lane))
        return nudged

    def progress(self) -> Progress:
        states = Counter(kept.state for kept in self._jobs.values())
        hurried = [kept.job.lane for kept in self._jobs.values() if kept.state is JobState.QUEUED]
        return Progress({state: states[state] for state in JobState}, hurried.count(Lane.URGENT))

    def batch(self, name: str) -> Progress | None:
        if name not in self.batch_names:
            return None
        states = Counter(kept.state for kept in self._jobs.values() if name in kept.batches)
        return Progress({state: states[state] for state in JobState})

    def _finish(self, kept: _Kept, state: JobState) -> None:
        kept.move(state, self._clock())
        kept.finished, kept.due, kept.listed = self._clock(), None, None

    def _held(self, claim: Claim) -> _Kept | None:
        kept = self._jobs.get(claim.job_id)
        return kept if kept and kept.state is JobState.OPENING and kept.token == claim.token else None

    def _did(self, claim: Claim, state: JobState) -> bool:
        kept = self._jobs.get(claim.job_id)
        return kept is not None and kept.token == claim.token and kept.state is state


def _set_error(kept: _Kept, error: FlashdutyError) -> None:
    kept.code, kept.message, kept.hint = error.code, str(error), error.hint
    kept.request_id, kept.status = error.request_id, error.status


class FakeSlots:
    """Gives a slot at once, unless the script says otherwise: an exception is raised, a function called first."""

    def __init__(self, *script: Exception | Callable[[], None] | None) -> None:
        self._script = deque(script)
        self.taken: list[Lane] = []
        self.given_back: list[str] = []
        self.pauses: list[float | None] = []
        self.late: set[str] = set()

    def expect(self, *script: Exception | Callable[[], None] | None) -> None:
        self._script.extend(script)

    def take(self, lane: Lane, asked: Callable[[], None] = lambda: None) -> Slot:
        asked()
        step = self._script.popleft() if self._script else None
        if isinstance(step, Exception):
            raise step
        if step is not None:
            step()
        self.taken.append(lane)
        return Slot(f"slot {len(self.taken)}", 0.25)

    def in_time(self, slot: Slot) -> bool:
        return slot.receipt not in self.late

    def give_back(self, slot: Slot) -> None:
        self.given_back.append(slot.receipt)

    def pause(self, retry_after_s: float | None) -> float:
        self.pauses.append(retry_after_s)
        return retry_after_s or 1.0


Answer = object
"""What a call of FakeApi gives: a value, an exception to raise, or a function to call for the value."""


class FakeApi:
    """Answers from a script, call by call, and remembers the calls; a call that nobody scripted is an error."""

    def __init__(self, *script: tuple[str, Answer]) -> None:
        self._script = deque(script)
        self.calls: list[str] = []

    def expect(self, *script: tuple[str, Answer]) -> None:
        self._script.extend(script)

    def create(self, job: WarRoomJob) -> Reply[WarRoom]:
        room = self._next("create", job.id)
        assert isinstance(room, WarRoom)
        return Reply(room, "req-create", 0.5)

    def list_rooms(self, incident_id: str, integration_id: int) -> Reply[tuple[ListedRoom, ...]]:
        rooms = self._next("list", incident_id)
        assert isinstance(rooms, tuple)
        listed = tuple(ListedRoom(chat_id, integration_id, incident_id, "enabled", 1) for chat_id in rooms)
        return Reply(listed, "req-list", 0.5)

    def detail(self, integration_id: int, chat_id: str) -> Reply[WarRoom | None]:
        room = self._next("detail", f"{chat_id} of {integration_id}")
        assert room is None or isinstance(room, WarRoom)
        return Reply(room, "req-detail", 0.5)

    @property
    def unused(self) -> int:
        return len(self._script)

    def _next(self, call: str, about: str) -> object:
        assert self._script, f"nobody expected {call} {about}"
        expected, answer = self._script.popleft()
        assert call == expected, f"{expected} was expected, not {call} {about}"
        self.calls.append(call)
        value = answer() if callable(answer) else answer
        if isinstance(value, BaseException):
            raise value
        return value


class FakeBucket:
    """Replies from a script; remembers the tickets shown and the slots given back."""

    def __init__(self, replies: Iterable[Reserved | NotYet] = (), pause_left_s: float = 0.0) -> None:
        self._replies = deque(replies)
        self._pause_left_s = pause_left_s
        self.asked: list[tuple[Lane, bool]] = []
        self.refunded: list[str] = []
        self.penalties: list[float | None] = []

    def acquire(self, lane: Lane, *, ticket: bool = False) -> Reserved | NotYet:
        self.asked.append((lane, ticket))
        return self._replies.popleft()

    def refund(self, receipt: str) -> bool:
        self.refunded.append(receipt)
        return True

    def penalty(self, retry_after_s: float | None) -> float:
        self.penalties.append(retry_after_s)
        return self._pause_left_s
