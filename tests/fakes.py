"""Stand-ins for the use case's neighbours. The ledger's is a whole twin: it passes the real one's tests."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Final

from worker.errors import NextStep
from worker.flashduty import ListedRoom, Reply
from worker.health import Health
from worker.jobs import INT64_MAX, JobState, Lane, WarRoom, WarRoomJob
from worker.ledger import DEAD_MS, LOST_MS
from worker.records import Claim, Entered, Progress, Reason, Record, Stray
from worker.retry_policy import MAX_ATTEMPTS
from worker.slots import Asking, Lines, NotYet, Reserved, Slot, Taken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from worker.errors import FlashdutyError
    from worker.health import Sign

START_MS: Final = 1_790_000_000_000
INCIDENT: Final = "69da451ef77b1b51f40e83ee"
MOST_BATCHES: Final = 64
BREAK_MS: Final = 5000
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
    denials: int = 0
    began: int | None = None
    look: bool = False
    sent: bool = False
    token: str | None = None
    worker: str = ""
    turn: int = 0
    due: int | None = None
    first: int | None = None
    finished: int | None = None
    room: WarRoom | None = None
    request_id: str = ""
    code: str = ""
    said: str = ""
    hint: str = ""
    status: int | None = None

    def move(self, state: JobState, now: int) -> None:
        self.state, self.updated = state, now

    def rest(self, *, look: bool = False) -> None:
        """Nobody has it in hand."""
        self.look = self.look or look
        self.began, self.sent, self.worker = None, False, ""

    def unspend(self) -> None:
        if self.began is not None:
            self.attempts = max(self.attempts - 1, 0)

    def set_error(self, error: FlashdutyError) -> None:
        self.code, self.said, self.hint = error.code, str(error), error.hint
        self.request_id, self.status = error.request_id, error.status

    def forget_error(self) -> None:
        self.code, self.said, self.hint, self.status, self.first = "", "", "", None, None
        self.denials = 0


@dataclass
class _Missing:
    """What recovery saw: at least so many messages were too few ever since."""

    since: int
    least: int


class FakeLedger:
    """The rules of ledger_lua once more, in plain Python, on one dict; counters are recounted, never kept.

    `lines` are the jobs in line by lane, `queues` the jobs that the messages name, both with the head first; `pop`
    takes a message as a worker does that dies before it claims.
    """

    def __init__(self, account: str = "acc", *, clock: Callable[[], int]) -> None:
        self.account = account
        self._clock = clock
        self._jobs: dict[str, _Kept] = {}
        self._numbers = count(1)
        self._heard: dict[str, int] = {}
        self._beaten: int | None = None
        self._watched_since = 0
        self._missing: dict[Lane, _Missing] = {}
        self._turns: Counter[tuple[Lane, str]] = Counter()
        self._reached: Counter[Lane] = Counter()
        self.queues: dict[Lane, list[str]] = {lane: [] for lane in Lane}
        self.batch_names: set[str] = set()

    # --- producers ---

    def enqueue(self, jobs: Sequence[WarRoomJob], batch: str | None = None) -> list[Entered]:
        if batch:
            self.batch_names.add(batch)
        return [self._enter(job, batch) for job in jobs]

    def _enter(self, job: WarRoomJob, batch: str | None) -> Entered:
        kept = self._jobs.get(job.id)
        if kept is None:
            kept = self._create(job, batch)
            self._line_up(kept)
            self._nudge(kept)
            return Entered(job.id, JobState.QUEUED, True, kept.job.lane, position=self._position(kept))
        new = kept.state in {JobState.FAILED, JobState.CANCELLED}
        if new:
            kept.job = job
            self._again(kept, batch or "")
        else:
            if kept.state in {JobState.QUEUED, JobState.RETRYING}:
                members = tuple(dict.fromkeys(kept.job.member_ids + job.member_ids))
                observers = kept.job.add_observers or job.add_observers
                kept.job = kept.job.model_copy(update={"member_ids": members, "add_observers": observers})
            if job.lane is Lane.URGENT and kept.job.lane is Lane.BULK and not kept.state.finished:
                self._hurry(kept)
                if kept.state is JobState.QUEUED:
                    self._nudge(kept)
        if batch and batch not in kept.batches and len(kept.batches) < MOST_BATCHES:
            kept.batches.append(batch)
        if new or kept.room is None:
            return Entered(job.id, kept.state, new, kept.job.lane, position=self._position(kept))
        return Entered(job.id, kept.state, False, kept.job.lane, kept.room.chat_id, kept.room.share_link)

    # --- workers ---

    def claim(self, job: WarRoomJob, worker: str) -> Claim | JobState:
        now, named = self._clock(), self._jobs.get(job.id)
        if named is None:
            if job.batch:
                self.batch_names.add(job.batch)
            named = self._create(job, job.batch)
            self._line_up(named)
        elif named.state is JobState.QUEUED and named.job.lane is Lane.BULK and job.lane is Lane.URGENT:
            self._hurry(named)
        lane = named.job.lane if named.state is JobState.QUEUED else job.lane
        other = Lane.BULK if lane is Lane.URGENT else Lane.URGENT
        waiting = self.lines[lane] or self.lines[other]
        if not waiting:
            return named.state
        kept = self._jobs[waiting[0]]
        self._reached[kept.job.lane] = max(self._reached[kept.job.lane], kept.turn)
        kept.rest()
        kept.token, kept.worker, kept.due = f"{worker}/{next(self._numbers)}", worker, None
        kept.move(JobState.OPENING, now)
        self._heard[worker] = now
        failing_s = max(0, now - kept.first) / 1000 if kept.first is not None else 0.0
        return Claim(self._named(kept), kept.token, kept.attempts + 1, kept.look, failing_s, kept.denials)

    def take(self, job: WarRoomJob, worker: str) -> Taken | JobState:
        """Claims; the bucket of this twin never has a slot at once."""
        claim = self.claim(job, worker)
        if isinstance(claim, JobState):
            return claim
        return Taken(claim, NotYet(0.0, NOW) if claim.attempt <= MAX_ATTEMPTS else None)

    def slot(self, claim: Claim, *, sent: bool, ticket: bool) -> Reserved | NotYet | None:
        """The bucket of this twin has a slot for whoever comes again."""
        assert ticket
        return Reserved(0.0, "", NOW) if self.begin(claim, sent=sent) else None

    def begin(self, claim: Claim, *, sent: bool) -> bool:
        kept = self._held(claim)
        if kept is None:
            return False
        kept.attempts, kept.began, kept.sent = claim.attempt, self._clock(), sent
        return True

    def has_room(self, claim: Claim, state: JobState, room: WarRoom, request_id: str) -> bool:
        kept = self._held(claim)
        if claim.job.id not in self._jobs:
            kept = self._create(a_job_like(claim.job), None)
            kept.token = claim.token
        if kept is None:
            return self._did(claim, state)
        self._finish(kept, state)
        kept.room, kept.request_id, kept.look = room, request_id, False
        kept.forget_error()
        return True

    def failed(self, claim: Claim, error: FlashdutyError, reason: str) -> bool:
        kept = self._held(claim)
        if kept is None:
            return self._did(claim, JobState.FAILED)
        self._finish(kept, JobState.FAILED)
        kept.set_error(error)
        kept.said = reason
        kept.look = kept.look or error.next_step is NextStep.LOOK_FIRST
        kept.first = self._clock() if kept.first is None else kept.first
        return True

    def retry(
        self, claim: Claim, error: FlashdutyError, delay_s: float, *, look_first: bool, spent: bool = True
    ) -> bool:
        kept, now = self._held(claim), self._clock()
        if kept is None:
            return self._did(claim, JobState.RETRYING)
        if not spent:
            kept.unspend()
        elif error.next_step is NextStep.RETRY_FEW:
            kept.denials = claim.denials + 1
        kept.move(JobState.RETRYING, now)
        kept.set_error(error)
        kept.due = now + round(delay_s * 1000)
        kept.first = now if kept.first is None else kept.first
        kept.rest(look=look_first)
        return True

    def release(self, claim: Claim, *, look_first: bool = False) -> bool:
        kept = self._held(claim)
        if kept is None:
            return self._did(claim, JobState.QUEUED)
        kept.unspend()
        kept.move(JobState.QUEUED, self._clock())
        kept.rest(look=look_first)
        self._nudge(kept)
        return True

    # --- recovery ---

    def beat(self, worker: str) -> str:
        if not self._is_watched():
            self._watched_since = self._clock()
        self._beaten = self._heard[worker] = self._clock()
        return "fake"

    def goodbye(self, worker: str) -> None:
        self._heard.pop(worker, None)

    def pop(self, lane: Lane) -> str | None:
        """Takes the message at the head of a queue away, as a worker does: the job it names."""
        return self.queues[lane].pop(0) if self.queues[lane] else None

    def strays(self, most: int, every_ms: int = 0) -> list[Stray]:
        """As the real one when nobody else has just looked."""
        assert every_ms >= 0
        due = sorted((kept.due or 0, id_) for id_, kept in self._jobs.items() if kept.state is JobState.RETRYING)
        ids = [(Reason.DUE, id_) for due_at, id_ in due if due_at <= self._clock()][:most]
        held = [id_ for id_, kept in self._jobs.items() if kept.state is JobState.OPENING]
        ids += [(Reason.DEAD, id_) for id_ in held if self._is_dead(self._jobs[id_].worker)]
        for lane in (Lane.URGENT, Lane.BULK):
            ids += [(Reason.LOST, id_) for id_ in self._lost(lane, most)]
        return [Stray(reason, self._named(self._jobs[id_]), self._evidence(reason, id_)) for reason, id_ in ids]

    def requeue(self, strays: Sequence[Stray]) -> int:
        return sum(self._requeue(stray) for stray in strays)

    def _requeue(self, stray: Stray) -> bool:
        kept = self._jobs.get(stray.job.id)
        if kept is None or stray.evidence != self._evidence(stray.reason, stray.job.id):
            return False
        if stray.reason is not Reason.LOST:
            kept.move(JobState.QUEUED, self._clock())
            kept.due = None
            kept.rest(look=kept.sent)
        self._nudge(kept)
        return True

    def _evidence(self, reason: Reason, id_: str) -> str:
        kept = self._jobs[id_]
        if reason is Reason.DUE:
            return "due" if kept.state is JobState.RETRYING and (kept.due or 0) <= self._clock() else "not due"
        if reason is Reason.DEAD:
            return f"{kept.token}" if kept.state is JobState.OPENING and self._is_dead(kept.worker) else "alive"
        return "queued" if kept.state is JobState.QUEUED else "not queued"

    def _is_watched(self) -> bool:
        return self._beaten is not None and 0 <= self._clock() - self._beaten <= BREAK_MS

    def _is_dead(self, worker: str) -> bool:
        heard, now = self._heard.get(worker), self._clock()
        if heard is None:
            return True
        if not self._is_watched():
            return False
        silent_since = heard if heard <= now else self._watched_since
        return max(silent_since, self._watched_since) <= now - DEAD_MS

    def _lost(self, lane: Lane, most: int) -> list[str]:
        now, was = self._clock(), self._missing.pop(lane, None)
        count_now = len(self.lines[lane]) - len(self.queues[lane])
        if count_now <= 0:
            return []
        seen = was if was and was.since <= now else _Missing(now, count_now)
        seen.least = min(seen.least, count_now)
        found = self.lines[lane][: min(seen.least, most)] if now - seen.since >= LOST_MS else []
        seen.least -= len(found)
        if seen.least:
            self._missing[lane] = seen
        return found

    # --- people ---

    def record(self, job_id: str) -> Record | None:
        kept = self._jobs.get(job_id)
        if kept is None:
            return None
        return Record(
            job=self._named(kept),
            state=kept.state,
            batches=tuple(kept.batches),
            attempts=kept.attempts,
            created_at=kept.created / 1000,
            updated_at=kept.updated / 1000,
            due_at=_seconds(kept.due),
            first_failed_at=_seconds(kept.first),
            finished_at=_seconds(kept.finished),
            room=kept.room,
            request_id=kept.request_id,
            code=kept.code,
            message=kept.said,
            hint=kept.hint,
            status=kept.status,
            worker=kept.worker,
            began_at=_seconds(kept.began),
            look_first=kept.look,
        )

    def replay(self, jobs: Sequence[WarRoomJob]) -> list[bool]:
        return [self._if_failed(job.id, self._again) for job in jobs]

    def drop(self, job_ids: Sequence[str]) -> list[bool]:
        return [self._if_failed(id_, lambda kept: self._finish(kept, JobState.CANCELLED)) for id_ in job_ids]

    def cancel(self, job_ids: Sequence[str]) -> list[JobState | None]:
        return [self._cancel(self._jobs.get(id_)) for id_ in job_ids]

    def _cancel(self, kept: _Kept | None) -> JobState | None:
        if kept is None:
            return None
        waits = kept.state in {JobState.QUEUED, JobState.RETRYING}
        if waits or (kept.state is JobState.OPENING and kept.began is None):
            self._finish(kept, JobState.CANCELLED)
            kept.token = None
        return kept.state

    def _if_failed(self, id_: str, do: Callable[[_Kept], None]) -> bool:
        kept = self._jobs.get(id_)
        if kept is None or kept.state is not JobState.FAILED:
            return False
        do(kept)
        return True

    def progress(self) -> Progress:
        states = Counter(kept.state for kept in self._jobs.values())
        hurried = [kept.job.lane for kept in self._jobs.values() if kept.state is JobState.QUEUED]
        return Progress({state: states[state] for state in JobState}, hurried.count(Lane.URGENT))

    def batch(self, name: str) -> Progress | None:
        if name not in self.batch_names:
            return None
        states = Counter(kept.state for kept in self._jobs.values() if name in kept.batches)
        return Progress({state: states[state] for state in JobState})

    # --- inside ---

    def _create(self, job: WarRoomJob, batch: str | None) -> _Kept:
        now = self._clock()
        self._jobs[job.id] = _Kept(job, now, now, batches=[batch] if batch else [])
        return self._jobs[job.id]

    def _named(self, kept: _Kept) -> WarRoomJob:
        return kept.job.model_copy(update={"batch": kept.batches[0] if kept.batches else None})

    def _again(self, kept: _Kept, row: str | None = None) -> None:
        kept.move(JobState.QUEUED, self._clock())
        kept.attempts, kept.token, kept.finished, kept.due = 0, None, None, None
        kept.forget_error()
        self._line_up(kept, row)
        self._nudge(kept)

    def _hurry(self, kept: _Kept) -> None:
        kept.job = kept.job.model_copy(update={"lane": Lane.URGENT})
        self._line_up(kept)

    @property
    def lines(self) -> dict[Lane, list[str]]:
        """The jobs in line by lane: those that are queued, by their turn."""
        queued = sorted((k.turn, id_) for id_, k in self._jobs.items() if k.state is JobState.QUEUED)
        return {lane: [id_ for _, id_ in queued if self._jobs[id_].job.lane is lane] for lane in Lane}

    def _position(self, kept: _Kept) -> int | None:
        return self.lines[kept.job.lane].index(kept.job.id) if kept.state is JobState.QUEUED else None

    def _line_up(self, kept: _Kept, row: str | None = None) -> None:
        lane = kept.job.lane
        row = (kept.batches[0] if kept.batches else "") if row is None else row
        if not any(self._waits_in(row, lane, other) for other in self._jobs.values() if other is not kept):
            self._turns[lane, row] = 0
        self._turns[lane, row] = kept.turn = max(self._turns[lane, row], self._reached[lane]) + 1

    def _waits_in(self, row: str, lane: Lane, kept: _Kept) -> bool:
        mine = row in kept.batches if row else not kept.batches and kept.job.lane is lane
        return mine and kept.state is JobState.QUEUED

    def _nudge(self, kept: _Kept) -> None:
        self.queues[kept.job.lane].append(kept.job.id)

    def _finish(self, kept: _Kept, state: JobState) -> None:
        kept.move(state, self._clock())
        kept.finished, kept.due = self._clock(), None
        kept.rest()

    def _held(self, claim: Claim) -> _Kept | None:
        kept = self._jobs.get(claim.job.id)
        return kept if kept and kept.state is JobState.OPENING and kept.token == claim.token else None

    def _did(self, claim: Claim, state: JobState) -> bool:
        kept = self._jobs.get(claim.job.id)
        return kept is not None and kept.token == claim.token and kept.state is state


def a_job_like(job: WarRoomJob) -> WarRoomJob:
    """The job of that key, and nothing else of it."""
    return WarRoomJob(account=job.account, incident_id=job.incident_id, integration_id=job.integration_id)


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else ms / 1000


@dataclass(frozen=True)
class Told:
    """What was told about the call of a slot: the error's code, or `well`, or `answered`."""

    slot: str
    how: str


class FakeSlots:
    """Gives a slot at once, unless the script says otherwise: an exception is raised, a function called first.

    `health` is what every error makes of the account.
    """

    def __init__(self, *script: Exception | Callable[[], None] | None, health: Health = Health()) -> None:  # noqa: B008
        self._script = deque(script)
        self.health = health
        self.taken: list[Lane] = []
        self.given_back: list[str] = []
        self.pauses: list[tuple[str, float | None]] = []
        self.told: list[Told] = []

    def expect(self, *script: Exception | Callable[[], None] | None) -> None:
        self._script.extend(script)

    def now(self) -> float:
        return 0.0

    def take(self, lane: Lane, asking: Asking | None = None, asked: Callable[[], None] = lambda: None) -> Slot:
        asked()
        step = self._script.popleft() if self._script else None
        if isinstance(step, Exception):
            raise step
        if step is not None:
            step()
        if asking is not None:
            asking.ask(True)
        self.taken.append(lane)
        return Slot(f"slot {len(self.taken)}", 0.25, came_at=100.0 * len(self.taken))

    def give_back(self, slot: Slot) -> None:
        self.given_back.append(slot.receipt)

    def pause(self, slot: Slot, retry_after_s: float | None) -> float:
        self.pauses.append((slot.receipt, retry_after_s))
        return retry_after_s or 1.0

    def report(self, slot: Slot, error: FlashdutyError | None = None, *, done: bool = True) -> Health:
        self.told.append(Told(slot.receipt, error.code if error else "well" if done else "answered"))
        return self.health if error else Health()


Answer = object
"""What a call of FakeApi gives: a value, an exception to raise, or a function to call for the value."""


class FakeApi:
    """Answers from a script, call by call, and remembers the calls; a call that nobody scripted is an error."""

    def __init__(self, *script: tuple[str, Answer]) -> None:
        self._script = deque(script)
        self.calls: list[str] = []
        self.fences: list[float] = []

    def expect(self, *script: tuple[str, Answer]) -> None:
        self._script.extend(script)

    def create(self, job: WarRoomJob, *, fence_at: float) -> Reply[WarRoom]:
        self.fences.append(fence_at)
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
        self.penalties: list[tuple[float | None, str]] = []
        self.healths: deque[Health] = deque()
        self.reports: list[tuple[Sign, float, FlashdutyError | None]] = []

    def acquire(self, lane: Lane, *, ticket: bool = False) -> Reserved | NotYet:
        self.asked.append((lane, ticket))
        return self._replies.popleft()

    def refund(self, receipt: str) -> bool:
        self.refunded.append(receipt)
        return True

    def penalty(self, retry_after_s: float | None, receipt: str) -> float:
        self.penalties.append((retry_after_s, receipt))
        return self._pause_left_s

    def report(self, sign: Sign, age_s: float, error: FlashdutyError | None) -> Health:
        self.reports.append((sign, age_s, error))
        return self.healths.popleft()
