"""What the worker's parts tell whoever watches: the slots, the use case, recovery."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes import A_ROOM, NOW, Clock, FakeApi, FakeBucket, FakeLedger, FakeSlots, a_job
from worker.errors import FlashdutyError, NoMoreSlots, OutcomeUnknown, RateLimited, RequestRefused
from worker.jobs import Lane
from worker.open_war_room import OpenWarRoom
from worker.recovery import recover
from worker.slots import Reserved, Slots
from worker.telemetry import Telemetry
from worker.watched import WatchedApi

if TYPE_CHECKING:
    from worker.jobs import WarRoomJob
    from worker.records import Claim, Reason

JOB = a_job()
TIMEOUT = OutcomeUnknown("no answer", code="Timeout")
REFUSED = RequestRefused("closed", code="InvalidParameter", status=400)
SLOWLY = RateLimited("slowly", code="RequestTooFrequently", status=429)


@dataclass
class Heard(Telemetry):
    """Keeps what it is told."""

    told: list[tuple[Any, ...]] = field(default_factory=list)

    def claimed(self, claim: Claim) -> None:
        self.told.append(("claimed", claim.job.id))

    def slot_came(self, account: str, lane: Lane, waited_s: float, late_s: float) -> None:
        self.told.append(("slot", account, lane, round(waited_s, 3), round(late_s, 3)))

    def slot_late(self, account: str) -> None:
        self.told.append(("late", account))

    def called(self, account: str, call: str, code: str, latency_s: float | None, request_id: str) -> None:
        self.told.append(("called", account, call, code, latency_s, request_id))

    def ended(self, job: WarRoomJob, outcome: str, code: str, attempt: int) -> None:
        self.told.append(("ended", job.id, outcome, code, attempt))

    def recovered(self, account: str, reason: Reason, count: int) -> None:
        self.told.append(("recovered", account, reason.value, count))


@dataclass
class Sleeper:
    """A clock that only sleeping moves; it oversleeps as the test says."""

    oversleeps_s: list[float]
    now_s: float = 100.0

    def __call__(self, seconds: float) -> bool:
        self.now_s += seconds + self.oversleeps_s.pop(0)
        return False


def slots_of(heard: Heard, sleeper: Sleeper, *waits_s: float) -> Slots:
    bucket = FakeBucket([Reserved(wait_s, f"r{wait_s}", NOW) for wait_s in waits_s])
    return Slots(bucket, spread_s=0.25, sleep=sleeper, clock=lambda: sleeper.now_s, account="acc", telemetry=heard)


def test_a_slot_says_how_long_it_took_and_how_late_the_worker_was() -> None:
    heard = Heard()
    slots_of(heard, Sleeper([0.02]), 0.5).take(Lane.URGENT)
    assert heard.told == [("slot", "acc", Lane.URGENT, 0.52, 0.02)]


def test_a_slot_that_is_given_back_late_is_told_and_the_wait_goes_on() -> None:
    heard = Heard()
    slots_of(heard, Sleeper([0.2, 0.0]), 0.5, 0.1).take(Lane.BULK)
    assert heard.told == [("late", "acc"), ("slot", "acc", Lane.BULK, 0.8, 0.0)]


def nudge(heard: Heard, *script: tuple[str, object]) -> None:
    api = WatchedApi(FakeApi(*script), "acc", heard)
    OpenWarRoom(FakeLedger(clock=Clock()), FakeSlots(), api, worker="w1", jitter=lambda: 0.5, telemetry=heard)(JOB)


def test_a_job_is_claimed_called_and_ended() -> None:
    heard = Heard()
    nudge(heard, ("create", A_ROOM))
    assert heard.told == [
        ("claimed", JOB.id),
        ("called", "acc", "create", "OK", 0.5, "req-create"),
        ("ended", JOB.id, "opened", "OK", 1),
    ]


@pytest.mark.parametrize(
    ("error", "outcome"), [(TIMEOUT, "retrying"), (REFUSED, "failed"), (SLOWLY, "back_in_line")], ids=str
)
def test_an_end_says_its_code(error: FlashdutyError, outcome: str) -> None:
    heard = Heard()
    nudge(heard, ("create", error))
    assert heard.told[-1] == ("ended", JOB.id, outcome, error.code, 1)


def test_who_only_waits_has_no_code() -> None:
    heard = Heard()
    nudge(heard, ("create", NoMoreSlots("held up")))
    assert heard.told[-1] == ("ended", JOB.id, "back_in_line", "", 1)


def test_recovery_tells_each_reason_for_itself() -> None:
    heard, clock = Heard(), Clock()
    ledger = FakeLedger(clock=clock)
    api = FakeApi(("create", TIMEOUT))
    OpenWarRoom(ledger, FakeSlots(), api, worker="w1", jitter=lambda: 0.5)(JOB)
    held = a_job(2)
    ledger.enqueue([held])
    ledger.claim(held, "w2")
    ledger.goodbye("w2")
    clock.forward(3600)
    assert recover(ledger, telemetry=heard) == 2  # type: ignore[arg-type]  # its twin
    assert heard.told == [("recovered", "acc", "due", 1), ("recovered", "acc", "dead", 1)]
