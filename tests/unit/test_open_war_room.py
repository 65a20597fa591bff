"""The one use case: every branch as a sentence. Ledger, slots and API are fakes; the ledger's is a whole twin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

import pytest

from tests.fakes import A_ROOM, Clock, FakeApi, FakeLedger, FakeSlots, Told, a_job
from worker.errors import (
    AccessDenied,
    AccountRefused,
    FlashdutyError,
    NoMoreSlots,
    NotSent,
    OutcomeUnknown,
    QueueUnavailable,
    RateLimited,
    RequestRefused,
    RoomGone,
    SettingsError,
)
from worker.health import Health, Level
from worker.jobs import JobState, Lane, WarRoom
from worker.open_war_room import OpenWarRoom, Outcome, Report
from worker.records import Claim, Record
from worker.retry_policy import MAX_ATTEMPTS, MAX_DENIALS, PATIENCE_S, TryAgainIn, decide
from worker.slots import FENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable

JOB = a_job()
OTHER_ROOM = WarRoom(chat_id="oc_2")
TIMEOUT = OutcomeUnknown("no answer", code="Timeout", request_id="r9")
UNSENT = NotSent("no route", code="Connect")
REFUSED = RequestRefused("no such incident", code="ResourceNotFound", status=400, hint="it does not exist")
DENIED = AccessDenied("not yours", code="AccessDenied", status=403, hint="check its rights")
NO_KEY = AccountRefused("who are you?", code="Unauthorized", status=401)
TOO_FAST = RateLimited("slowly", code="RequestTooFrequently", status=429, retry_after_s=7.0)
GONE = RoomGone("the API reports success, but no room", code="RoomGone", hint="Was the group deleted?")
STOPPING = NoMoreSlots("this worker is stopping")
HELD_UP = NoMoreSlots("this process was held up between the slot and the call")
NO_KEY_FILE = SettingsError("FLASHDUTY_APP_KEY_FILE: no such file")

DOWN = Health(Level.DOWN, 8.0, common=True)
SUSPENDED = Health(Level.SUSPENDED, 55.0, common=True)


@dataclass
class Desk:
    """The use case among its fakes."""

    api: FakeApi
    slots: FakeSlots = field(default_factory=FakeSlots)
    clock: Clock = field(default_factory=Clock)
    asked: int = 0
    ledger: FakeLedger = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = FakeLedger(clock=self.clock)

    def nudge(self) -> Report:
        use_case = OpenWarRoom(self.ledger, self.slots, self.api, worker="w1", jitter=lambda: 0.5)
        report = use_case(JOB, self._ask)
        assert self.api.unused == 0, "a call was expected that never came"
        return report

    def record(self) -> Record:
        record = self.ledger.record(JOB.id)
        assert record is not None
        return record

    def claim(self, worker: str = "w0") -> Claim:
        claim = self.ledger.claim(JOB, worker)
        assert isinstance(claim, Claim)
        return claim

    def recover(self) -> None:
        """Recovery looks, an hour later: retries are due."""
        self.clock.forward(3600)
        assert self.ledger.requeue(self.ledger.strays(10)) == 1

    def dies(self, worker: str = "w1") -> None:
        """A worker is dead, and recovery has found out."""
        self.ledger.goodbye(worker)
        assert self.ledger.requeue(self.ledger.strays(10)) == 1

    def looks_next(self) -> bool:
        """Whether the next attempt will look first."""
        if self.record().state is JobState.RETRYING:
            self.recover()
        return self.claim().look_first

    def told(self) -> list[str]:
        """What was told about each slot's call, in order."""
        return [f"{told.slot}: {told.how}" for told in self.slots.told]

    def _ask(self) -> None:
        self.asked += 1


def desk(*script: tuple[str, object], slots: FakeSlots | None = None) -> Desk:
    """A desk with the job queued."""
    new = Desk(FakeApi(*script), slots or FakeSlots())
    new.ledger.enqueue([JOB])
    return new


def looking(*script: tuple[str, object], slots: FakeSlots | None = None, attempts: int = 1) -> Desk:
    """A desk with the job queued after attempts whose outcome nobody knows: the next one looks first."""
    new = desk(*script, slots=slots)
    for _ in range(attempts):
        claim = new.claim()
        assert new.ledger.begin(claim, sent=True)
        new.ledger.retry(claim, TIMEOUT, 0, look_first=True)
        new.recover()
    return new


# --- the straight way ---------------------------------------------------------------------------------------------


def test_a_room_is_opened() -> None:
    here = desk(("create", A_ROOM))
    report = here.nudge()
    assert (report.outcome, report.attempt, report.waited_s, report.room) == (Outcome.OPENED, 1, 0.25, A_ROOM)
    record = here.record()
    assert (record.state, record.room, record.request_id, record.attempts) == (JobState.OPENED, A_ROOM, "req-create", 1)
    assert (here.slots.taken, here.slots.given_back, here.asked) == ([Lane.BULK], [], 1)
    assert here.told() == ["slot 1: well"]


def test_a_foreign_message_gets_its_record() -> None:
    here = Desk(FakeApi(("create", A_ROOM)))
    assert here.nudge().outcome is Outcome.OPENED
    assert here.record().state is JobState.OPENED


def test_a_foreign_message_with_a_batch_counts_in_it() -> None:
    here = Desk(FakeApi(("create", A_ROOM)))
    OpenWarRoom(here.ledger, here.slots, here.api, worker="w1")(a_job(batch="b"))
    batch = here.ledger.batch("b")
    assert batch is not None
    assert batch.states[JobState.OPENED] == 1


def test_the_record_knows_the_lane_better_than_the_message() -> None:
    here = desk(("create", A_ROOM))
    here.ledger.enqueue([a_job(lane=Lane.URGENT)])
    here.nudge()
    assert here.slots.taken == [Lane.URGENT]


def test_a_foreign_message_that_is_urgent_hurries_a_job_that_waits_in_bulk() -> None:
    here = desk(("create", A_ROOM))
    OpenWarRoom(here.ledger, here.slots, here.api, worker="w1")(a_job(lane=Lane.URGENT))
    assert here.slots.taken == [Lane.URGENT]
    assert here.record().job.lane is Lane.URGENT


def test_the_request_must_leave_soon_after_its_slot_came() -> None:
    here = looking(("list", ()), ("create", A_ROOM))
    here.nudge()
    assert here.api.fences == [200.0 + FENCE_S], "of the second slot, which came at 200"


# --- claim, slot, begin, call: in this order ----------------------------------------------------------------------


def test_a_job_is_claimed_before_it_waits_for_its_slot_and_no_attempt_is_spent_by_waiting() -> None:
    here = desk(("create", A_ROOM))
    seen: list[tuple[JobState, str, int]] = []
    here.slots.expect(lambda: seen.append((here.record().state, here.record().worker, here.record().attempts)))
    here.nudge()
    assert seen == [(JobState.OPENING, "w1", 0)]


def _dies() -> NoReturn:
    raise SystemExit


def test_a_worker_that_dies_waiting_for_a_slot_has_sent_nothing_and_spent_nothing() -> None:
    here = desk(slots=FakeSlots(_dies))
    with pytest.raises(SystemExit):
        here.nudge()
    here.dies()
    assert here.record().attempts == 0
    assert not here.looks_next()


def test_a_worker_that_dies_in_the_creating_call_may_have_opened_the_room() -> None:
    here = desk(("create", _dies))
    with pytest.raises(SystemExit):
        here.nudge()
    assert here.record().attempts == 1, "written before the call"
    here.dies()
    assert here.looks_next()


def test_a_worker_that_dies_in_the_creating_call_after_a_look_may_have_opened_the_room() -> None:
    here = looking(("list", ()), ("create", _dies))
    with pytest.raises(SystemExit):
        here.nudge()
    here.dies()
    assert here.looks_next()


def test_a_worker_that_dies_looking_leaves_a_job_that_looks_first() -> None:
    here = looking(("list", _dies))
    with pytest.raises(SystemExit):
        here.nudge()
    here.dies()
    assert here.looks_next()


def test_a_job_whose_worker_ended_in_every_attempt_is_given_up() -> None:
    here = desk()
    for _ in range(MAX_ATTEMPTS):
        here.ledger.begin(here.claim(), sent=True)
        here.dies("w0")
    assert here.nudge().outcome is Outcome.FAILED
    assert here.record().code == "WorkerLost"
    assert (here.slots.taken, here.asked) == ([], 1)
    here.ledger.enqueue([JOB])
    assert here.looks_next(), "one of those attempts may have opened it"


def test_workers_that_ended_before_an_attempt_began_make_no_dead_letter() -> None:
    here = desk(("create", A_ROOM))
    for _ in range(2 * MAX_ATTEMPTS):
        here.claim()
        here.dies("w0")
    assert (here.nudge().outcome, here.record().attempts) == (Outcome.OPENED, 1)


# --- nothing to do ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state", [JobState.OPENED, JobState.FOUND, JobState.FAILED, JobState.RETRYING, JobState.OPENING, JobState.CANCELLED]
)
def test_a_duplicate_asks_for_no_slot(state: JobState) -> None:
    here = desk()
    if state is JobState.CANCELLED:
        here.ledger.cancel([JOB.id])
    else:
        _end(here, state)
    before = here.record()
    assert here.nudge().outcome is Outcome.NOTHING_TO_DO
    assert (here.record(), here.slots.taken, here.asked) == (before, [], 1)


def _end(here: Desk, state: JobState) -> None:
    claim = here.claim()
    if state is JobState.FAILED:
        here.ledger.failed(claim, REFUSED, "no")
    elif state is JobState.RETRYING:
        here.ledger.retry(claim, TIMEOUT, 60, look_first=True)
    elif state is not JobState.OPENING:
        here.ledger.has_room(claim, state, A_ROOM, "")


def test_a_job_that_is_cancelled_while_it_waits_for_its_slot_takes_none() -> None:
    here = desk()
    here.slots.expect(lambda: void(here.ledger.cancel([JOB.id])))
    assert here.nudge().outcome is Outcome.NOTHING_TO_DO
    assert (here.slots.taken, here.api.calls) == ([], [])
    assert here.record().state is JobState.CANCELLED


# --- stopping -----------------------------------------------------------------------------------------------------


def test_stopping_while_it_waits_leaves_the_job_in_its_line() -> None:
    here = desk(slots=FakeSlots(STOPPING))
    assert here.nudge().outcome is Outcome.BACK_IN_LINE
    assert (here.record().state, here.record().attempts, here.asked) == (JobState.QUEUED, 0, 1)
    assert here.ledger.lines[Lane.BULK] == [JOB.id]
    assert not here.looks_next()


@pytest.mark.parametrize(
    ("script", "waits_before"),
    [
        ([], 0),  # the list's slot
        ([("list", ("oc_1",))], 1),  # the detail's slot
        ([("list", ("oc_1",)), ("detail", None)], 2),  # the creation's slot
        ([("list", ())], 1),
    ],
)
def test_stopping_while_it_looks_spends_no_attempt(script: list[tuple[str, object]], waits_before: int) -> None:
    here = looking(*script, slots=FakeSlots(*[None] * waits_before, STOPPING))
    assert here.nudge().outcome is Outcome.BACK_IN_LINE
    assert (here.record().state, here.record().attempts) == (JobState.QUEUED, 1)
    assert here.looks_next()


def test_stopping_before_it_looks_for_a_deleted_group_spends_no_attempt_and_looks_first_next_time() -> None:
    here = desk(("create", GONE), slots=FakeSlots(None, STOPPING))
    assert here.nudge().outcome is Outcome.BACK_IN_LINE
    assert (here.record().state, here.record().attempts) == (JobState.QUEUED, 0)
    assert here.looks_next()


def test_without_redis_no_slot_is_used_and_the_job_waits_for_its_worker_to_be_found_dead() -> None:
    here = desk(slots=FakeSlots(QueueUnavailable("away")))
    with pytest.raises(QueueUnavailable):
        here.nudge()
    assert (here.record().state, here.asked, here.api.calls) == (JobState.OPENING, 1, [])
    here.dies()
    assert here.record().attempts == 0
    assert not here.looks_next()


# --- slots that come too late -------------------------------------------------------------------------------------


def test_a_call_that_was_held_up_was_not_sent_and_gives_its_slot_back() -> None:
    here = desk(("create", HELD_UP))
    assert here.nudge().outcome is Outcome.BACK_IN_LINE
    assert here.slots.given_back == ["slot 1"], "it may be the probe that everybody waits for"
    assert (here.record().state, here.record().attempts, here.told()) == (JobState.QUEUED, 0, [])
    assert not here.looks_next()


# --- 429 ----------------------------------------------------------------------------------------------------------


def test_a_429_pauses_the_account_and_costs_no_attempt() -> None:
    here = desk(("create", TOO_FAST))
    report = here.nudge()
    assert (report.outcome, report.error, report.delay_s) == (Outcome.BACK_IN_LINE, TOO_FAST, 7.0)
    assert here.slots.pauses == [("slot 1", 7.0)]
    assert (here.record().state, here.record().attempts) == (JobState.QUEUED, 0)
    assert not here.looks_next()


def test_a_hundred_429s_make_no_dead_letter() -> None:
    here = desk(*[("create", TOO_FAST)] * 100, ("create", A_ROOM))
    use_case = OpenWarRoom(here.ledger, here.slots, here.api, worker="w1")
    outcomes = [use_case(JOB).outcome for _ in range(101)]
    assert outcomes == [Outcome.BACK_IN_LINE] * 100 + [Outcome.OPENED]
    assert here.record().attempts == 1


@pytest.mark.parametrize(
    "script",
    [
        [("list", TOO_FAST)],
        [("list", ("oc_1",)), ("detail", TOO_FAST)],
        [("list", ()), ("create", TOO_FAST)],
    ],
)
def test_a_429_during_the_look_still_looks_first_the_next_time(script: list[tuple[str, object]]) -> None:
    here = looking(*script)
    assert here.nudge().outcome is Outcome.BACK_IN_LINE
    assert here.slots.pauses == [(f"slot {len(script)}", 7.0)], "the slot of the call that was answered so"
    assert (here.record().state, here.record().attempts) == (JobState.QUEUED, 1)
    assert here.looks_next()


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "looks"), [(UNSENT, False), (TIMEOUT, True), (DENIED, False)])
def test_an_error_that_may_pass_is_tried_again(error: FlashdutyError, looks: bool) -> None:  # noqa: FBT001
    here = desk(("create", error))
    step = decide(Claim(JOB, "", 1, look_first=False), error, Health(), 0.5)
    report = here.nudge()
    assert (report.outcome, report.error) == (Outcome.RETRYING, error)
    assert TryAgainIn(report.delay_s, look_first=looks) == step
    record = here.record()
    assert (record.state, record.code, record.request_id) == (JobState.RETRYING, error.code, error.request_id)
    assert (record.attempts, here.told()) == (1, [f"slot 1: {error.code}"])
    assert here.looks_next() is looks


def test_an_error_that_stays_is_a_dead_letter_that_tells_what_a_person_can_do() -> None:
    here = desk(("create", REFUSED))
    assert here.nudge().outcome is Outcome.FAILED
    record = here.record()
    assert (record.state, record.code) == (JobState.FAILED, "ResourceNotFound")
    assert record.message == "ResourceNotFound (HTTP 400): no such incident"
    assert record.hint == "it does not exist"


@pytest.mark.parametrize("error", [UNSENT, TIMEOUT])
def test_the_sixth_attempt_is_the_last(error: FlashdutyError) -> None:
    here = looking(("list", ()), ("create", error), attempts=MAX_ATTEMPTS - 1)
    report = here.nudge()
    assert (report.outcome, report.attempt) == (Outcome.FAILED, MAX_ATTEMPTS)
    assert "after 6 attempts" in here.record().message


def test_the_third_denial_of_a_job_alone_is_the_last() -> None:
    here = desk(*[("create", DENIED)] * MAX_DENIALS)
    use_case = OpenWarRoom(here.ledger, here.slots, here.api, worker="w1")
    outcomes = []
    for attempt in range(MAX_DENIALS):
        if attempt:
            here.recover()
        outcomes.append(use_case(JOB).outcome)
    assert outcomes == [Outcome.RETRYING, Outcome.RETRYING, Outcome.FAILED]
    assert here.record().hint == "check its rights"


def test_a_denial_after_attempts_that_failed_otherwise_is_the_first() -> None:
    here = desk(*[("create", UNSENT)] * MAX_DENIALS, ("create", DENIED))
    use_case = OpenWarRoom(here.ledger, here.slots, here.api, worker="w1")
    for _ in range(MAX_DENIALS):
        assert use_case(JOB).outcome is Outcome.RETRYING
        here.recover()
    assert use_case(JOB).outcome is Outcome.RETRYING


def test_a_defect_of_ours_is_an_attempt_with_unknown_outcome(caplog: pytest.LogCaptureFixture) -> None:
    here = desk(("create", ZeroDivisionError("oops")))
    report = here.nudge()
    assert (report.outcome, here.record().code) == (Outcome.RETRYING, "Defect")
    assert "ZeroDivisionError" in caplog.text
    assert here.looks_next()


def test_a_defect_does_not_go_on_for_ever() -> None:
    here = looking(("list", ZeroDivisionError("oops")), attempts=MAX_ATTEMPTS - 1)
    assert here.nudge().outcome is Outcome.FAILED


# --- the API is down ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "looks"), [(UNSENT, False), (TIMEOUT, True)])
@pytest.mark.parametrize("health", [DOWN, SUSPENDED])
def test_an_attempt_that_fails_in_an_outage_is_not_spent(
    error: FlashdutyError,
    looks: bool,  # noqa: FBT001
    health: Health,
) -> None:
    here = desk(("create", error), slots=FakeSlots(health=health))
    report = here.nudge()
    assert (report.outcome, report.delay_s) == (Outcome.RETRYING, health.pause_s + 1.0)
    assert (here.record().state, here.record().attempts) == (JobState.RETRYING, 0)
    assert here.looks_next() is looks


def test_a_hundred_failures_in_an_outage_make_no_dead_letter_and_the_room_is_found_or_opened_after_it() -> None:
    here = desk(("create", TIMEOUT), slots=FakeSlots(health=DOWN))
    here.nudge()
    for _ in range(20):
        here.recover()
        here.api.expect(("list", TIMEOUT))
        assert here.nudge().outcome is Outcome.RETRYING
    here.recover()
    here.api.expect(("list", ()), ("create", A_ROOM))
    assert here.nudge().outcome is Outcome.OPENED
    assert here.record().attempts == 1


def test_the_last_attempt_is_not_the_last_in_an_outage() -> None:
    here = looking(("list", TIMEOUT), attempts=MAX_ATTEMPTS - 1, slots=FakeSlots(health=DOWN))
    assert here.nudge().outcome is Outcome.RETRYING
    assert here.record().attempts == MAX_ATTEMPTS - 1
    assert here.looks_next()


def test_after_a_day_a_job_spends_its_attempts_in_an_outage_too() -> None:
    here = desk(("create", UNSENT), ("create", UNSENT), slots=FakeSlots(health=DOWN))
    use_case = OpenWarRoom(here.ledger, here.slots, here.api, worker="w1")
    use_case(JOB)
    here.clock.forward(PATIENCE_S)
    here.recover()
    assert use_case(JOB).outcome is Outcome.RETRYING
    assert here.record().attempts == 1


def test_a_paused_account_takes_the_job_back_into_its_line() -> None:
    here = desk(slots=FakeSlots(NoMoreSlots("the account is paused for another 45 s")))
    assert here.nudge().outcome is Outcome.BACK_IN_LINE
    assert (here.record().state, here.record().attempts, here.api.calls) == (JobState.QUEUED, 0, [])


# --- the account is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "code"), [(NO_KEY, "Unauthorized"), (NO_KEY_FILE, "NoAppKey")])
def test_a_job_that_finds_its_account_refused_goes_back_to_the_head_of_its_line_without_an_attempt_spent(
    error: Exception, code: str
) -> None:
    here = desk(("create", error), slots=FakeSlots(health=SUSPENDED))
    here.ledger.enqueue([a_job(1), a_job(2)])
    report = here.nudge()
    assert (report.outcome, report.delay_s) == (Outcome.BACK_IN_LINE, 55.0)
    assert report.error is not None
    assert report.error.code == code
    assert here.slots.told == [Told("slot 1", code)]
    assert (here.record().state, here.record().attempts) == (JobState.QUEUED, 0)
    assert here.ledger.lines[Lane.BULK][0] == JOB.id
    assert not here.looks_next()


def test_a_job_that_is_denied_while_its_account_is_suspended_leaves_the_next_probe_to_another() -> None:
    here = desk(("create", DENIED), slots=FakeSlots(health=SUSPENDED))
    here.ledger.enqueue([a_job(1), a_job(2)])
    report = here.nudge()
    assert report.outcome is Outcome.RETRYING
    assert report.delay_s > 55.0
    assert (here.record().state, here.record().attempts) == (JobState.RETRYING, 0)


def test_a_job_waits_for_its_account_however_long_that_takes() -> None:
    here = desk(*[("create", NO_KEY)] * 50, ("create", A_ROOM), slots=FakeSlots(health=SUSPENDED))
    use_case = OpenWarRoom(here.ledger, here.slots, here.api, worker="w1")
    outcomes = []
    for _ in range(51):
        outcomes.append(use_case(JOB).outcome)
        here.clock.forward(PATIENCE_S)
    assert outcomes == [Outcome.BACK_IN_LINE] * 50 + [Outcome.OPENED]
    assert here.record().attempts == 1


def test_an_app_key_that_is_gone_says_what_to_do_and_nothing_was_sent() -> None:
    here = looking(("list", NO_KEY_FILE), slots=FakeSlots(health=SUSPENDED))
    report = here.nudge()
    assert report.outcome is Outcome.BACK_IN_LINE
    assert report.error is not None
    assert "no such file" in str(report.error)
    assert "nothing has to be restarted" in report.error.hint
    assert here.looks_next(), "for the attempt before"


@pytest.mark.parametrize(
    "script",
    [
        [("list", NO_KEY)],
        [("list", ("oc_1",)), ("detail", NO_KEY)],
        [("list", ()), ("create", NO_KEY)],
    ],
)
def test_an_account_refused_during_the_look_still_looks_first_the_next_time(script: list[tuple[str, object]]) -> None:
    here = looking(*script, slots=FakeSlots(health=SUSPENDED))
    assert here.nudge().outcome is Outcome.BACK_IN_LINE
    assert here.told()[-1] == f"slot {len(script)}: Unauthorized"
    assert here.record().attempts == 1
    assert here.looks_next()


# --- looking first ------------------------------------------------------------------------------------------------


def test_a_room_that_is_there_already_is_found() -> None:
    here = looking(("list", ("oc_1",)), ("detail", A_ROOM))
    report = here.nudge()
    assert (report.outcome, report.attempt, report.room) == (Outcome.FOUND, 2, A_ROOM)
    record = here.record()
    assert (record.state, record.room, record.request_id) == (JobState.FOUND, A_ROOM, "req-detail")
    assert here.slots.taken == [Lane.BULK] * 2, "each call has a slot of its own"
    assert here.told() == ["slot 1: answered", "slot 2: well"]


def test_no_room_found_means_it_is_created_with_a_slot_of_its_own() -> None:
    here = looking(("list", ()), ("create", A_ROOM))
    assert here.nudge().outcome is Outcome.OPENED
    assert (here.api.calls, here.slots.taken) == (["list", "create"], [Lane.BULK] * 2)
    assert here.told() == ["slot 1: answered", "slot 2: well"]
    assert here.record().attempts == 2


def test_a_listed_group_that_was_deleted_does_not_count() -> None:
    here = looking(("list", ("oc_0", "oc_2")), ("detail", None), ("detail", OTHER_ROOM))
    assert here.nudge().room == OTHER_ROOM
    assert here.told() == ["slot 1: answered", "slot 2: answered", "slot 3: well"]


def test_if_all_listed_groups_were_deleted_one_is_created() -> None:
    here = looking(("list", ("oc_0", "oc_2")), ("detail", None), ("detail", None), ("create", A_ROOM))
    assert here.nudge().outcome is Outcome.OPENED
    assert here.told() == ["slot 1: answered", "slot 2: answered", "slot 3: answered", "slot 4: well"]


@pytest.mark.parametrize("error", [TIMEOUT, UNSENT, DENIED])
@pytest.mark.parametrize("calls", [[], [("list", ("oc_1",))]])
def test_an_error_during_the_look_is_tried_again_and_looks_first(
    calls: list[tuple[str, object]], error: FlashdutyError
) -> None:
    here = looking(*calls, ("detail" if calls else "list", error))
    assert here.nudge().outcome is Outcome.RETRYING
    assert (here.record().state, here.record().attempts) == (JobState.RETRYING, 2)
    assert here.looks_next()


# --- success without a room ---------------------------------------------------------------------------------------


def test_success_without_a_room_is_never_opened() -> None:
    here = desk(("create", GONE), ("list", ()))
    report = here.nudge()
    assert (report.outcome, report.error) == (Outcome.FAILED, GONE)
    record = here.record()
    assert (record.state, record.room, record.code) == (JobState.FAILED, None, "RoomGone")
    assert record.hint == "Was the group deleted?"
    assert here.told() == ["slot 1: RoomGone", "slot 2: answered"]


def test_success_without_a_room_whose_groups_are_all_deleted_is_a_dead_letter() -> None:
    here = desk(("create", GONE), ("list", ("oc_1",)), ("detail", None))
    assert here.nudge().outcome is Outcome.FAILED


def test_success_without_a_room_finds_the_one_that_lives() -> None:
    here = desk(("create", GONE), ("list", ("oc_1",)), ("detail", A_ROOM))
    assert here.nudge().outcome is Outcome.FOUND
    assert here.record().room == A_ROOM


def test_success_without_a_room_after_a_look_looks_once_more() -> None:
    here = looking(("list", ()), ("create", GONE), ("list", ("oc_1",)), ("detail", A_ROOM))
    assert here.nudge().outcome is Outcome.FOUND
    assert len(here.slots.taken) == 4


@pytest.mark.parametrize("error", [TIMEOUT, UNSENT, REFUSED, DENIED, NO_KEY])
def test_if_the_look_for_a_deleted_group_fails_the_outcome_is_unknown(error: FlashdutyError) -> None:
    here = desk(("create", GONE), ("list", error))
    assert here.nudge().outcome is Outcome.RETRYING
    assert "looking for it failed" in here.record().message
    assert here.record().attempts == 1
    assert here.looks_next()


@pytest.mark.parametrize("error", [TIMEOUT, NO_KEY, NO_KEY_FILE])
def test_if_the_look_for_a_deleted_group_fails_in_an_outage_no_attempt_is_spent(error: Exception) -> None:
    here = desk(("create", GONE), ("list", error), slots=FakeSlots(health=SUSPENDED))
    assert here.nudge().outcome is Outcome.RETRYING
    assert here.record().attempts == 0
    assert here.looks_next()


def test_a_429_in_the_look_for_a_deleted_group_costs_no_attempt_and_looks_first_next_time() -> None:
    here = desk(("create", GONE), ("list", TOO_FAST))
    assert here.nudge().outcome is Outcome.BACK_IN_LINE
    assert (here.slots.pauses, here.record().attempts) == ([("slot 2", 7.0)], 0)
    assert here.looks_next()


def test_a_defect_in_the_look_for_a_deleted_group_leaves_the_job_claimed_by_nobody() -> None:
    here = desk(("create", GONE), ("list", ZeroDivisionError("oops")))
    assert here.nudge().outcome is Outcome.RETRYING
    assert here.looks_next()


# --- a claim that was lost ----------------------------------------------------------------------------------------


def taken_over(here: Desk, answer: object = None) -> Callable[[], object]:
    """Meanwhile we count as dead, and another worker takes the job."""

    def call() -> object:
        here.dies("w1")
        here.claim("w2")
        return answer

    return call


@pytest.mark.parametrize(
    "answer", [A_ROOM, TIMEOUT, REFUSED, DENIED, NO_KEY, TOO_FAST, ZeroDivisionError("oops"), GONE]
)
def test_a_lost_claim_changes_nothing_after_the_creation(answer: object) -> None:
    look = [("list", ("oc_1",)), ("detail", A_ROOM)] if answer is GONE else []
    here = desk()
    here.api.expect(("create", taken_over(here, answer)), *look)
    report = here.nudge()
    record = here.record()
    assert (record.state, record.worker, record.code, record.room) == (JobState.OPENING, "w2", "", None)
    if answer is not TOO_FAST:
        assert report.outcome is Outcome.NOTHING_TO_DO


@pytest.mark.parametrize("answer", [(), TIMEOUT, TOO_FAST, NO_KEY])
def test_a_lost_claim_changes_nothing_during_the_look(answer: object) -> None:
    here = looking()
    here.api.expect(("list", taken_over(here, answer)))
    before_code = here.record().code
    here.nudge()
    record = here.record()
    assert (record.state, record.worker, record.code) == (JobState.OPENING, "w2", before_code)
    assert here.api.calls == ["list"], "without its claim a worker creates nothing"


def test_a_claim_lost_while_it_waited_takes_no_slot_and_calls_nothing() -> None:
    here = desk()
    here.slots.expect(lambda: void(taken_over(here)()))
    assert here.nudge().outcome is Outcome.NOTHING_TO_DO
    assert (here.slots.taken, here.api.calls) == ([], [])
    assert here.record().worker == "w2"


def test_a_claim_lost_before_the_creation_takes_no_slot_for_it() -> None:
    here = looking()
    here.api.expect(("list", taken_over(here, ())))
    assert here.nudge().outcome is Outcome.NOTHING_TO_DO
    assert here.slots.taken == [Lane.BULK], "to look"


def test_a_claim_lost_while_it_finds_a_room_changes_nothing() -> None:
    here = looking(("list", ("oc_1",)))
    here.api.expect(("detail", taken_over(here, A_ROOM)))
    assert here.nudge().outcome is Outcome.NOTHING_TO_DO
    assert here.record().state is JobState.OPENING


def void(_: object) -> None:
    """For a lambda that must return nothing."""
