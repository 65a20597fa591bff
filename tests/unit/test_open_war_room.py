"""The one use case: every branch as a sentence. Ledger, slots and API are fakes; the ledger's is a whole twin."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.fakes import A_ROOM, Clock, FakeApi, FakeLedger, FakeSlots, a_job
from worker.errors import (
    AccountRefused,
    FlashdutyError,
    NoMoreSlots,
    NotSent,
    OutcomeUnknown,
    QueueUnavailable,
    RateLimited,
    RequestRefused,
    RoomGone,
)
from worker.jobs import JobState, Lane, WarRoom
from worker.ledger import LEASE_MS
from worker.open_war_room import OpenWarRoom, Outcome, Report
from worker.records import Claim, Record
from worker.retry_policy import MAX_ATTEMPTS, TryAgainIn, decide

if TYPE_CHECKING:
    from collections.abc import Callable

JOB = a_job()
OTHER_ROOM = WarRoom(chat_id="oc_2")
TIMEOUT = OutcomeUnknown("no answer", code="Timeout", request_id="r9")
UNSENT = NotSent("no route", code="Connect")
REFUSED = RequestRefused("no such incident", code="ResourceNotFound", status=400, hint="it does not exist")
NO_KEY = AccountRefused("who are you?", code="Unauthorized", status=401)
TOO_FAST = RateLimited("slowly", code="RequestTooFrequently", status=429, retry_after_s=7.0)
GONE = RoomGone("the API reports success, but no room", code="RoomGone", hint="Was the group deleted?")
STOPPING = NoMoreSlots("this worker is stopping")


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
        new.ledger.retry(_claim(new), TIMEOUT, 0, look_first=True)
        new.ledger.take_due(1)
    return new


def _claim(desk: Desk) -> Claim:
    claim = desk.ledger.claim(JOB.id, "w0")
    assert isinstance(claim, Claim)
    return claim


def looks_next(desk: Desk) -> bool:
    if desk.record().state is JobState.RETRYING:
        desk.clock.forward(3600)
        desk.ledger.take_due(1)
    return _claim(desk).look_first


# --- the straight way ---------------------------------------------------------------------------------------------


def test_a_room_is_opened() -> None:
    here = desk(("create", A_ROOM))
    report = here.nudge()
    assert (report.outcome, report.attempt, report.waited_s, report.room) == (Outcome.OPENED, 1, 0.25, A_ROOM)
    record = here.record()
    assert (record.state, record.room, record.request_id) == (JobState.OPENED, A_ROOM, "req-create")
    assert (here.slots.taken, here.slots.given_back, here.asked) == ([Lane.BULK], [], 1)


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


# --- nothing to do ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [JobState.OPENED, JobState.FOUND, JobState.FAILED, JobState.RETRYING])
def test_a_duplicate_asks_for_no_slot(state: JobState) -> None:
    here = desk()
    claim = _claim(here)
    if state is JobState.FAILED:
        here.ledger.failed(claim, REFUSED, "no")
    elif state is JobState.RETRYING:
        here.ledger.retry(claim, TIMEOUT, 60, look_first=True)
    else:
        here.ledger.has_room(claim, state, A_ROOM, "")
    before = here.record()
    assert here.nudge().outcome is Outcome.NOTHING_TO_DO
    assert (here.record(), here.slots.taken, here.asked) == (before, [], 1)


def test_a_duplicate_of_a_job_that_another_worker_holds_gives_its_slot_back() -> None:
    here = desk()
    _claim(here)
    before = here.record()
    assert here.nudge().outcome is Outcome.NOTHING_TO_DO
    assert (here.record(), here.slots.given_back, here.asked) == (before, ["slot 1"], 1)


def test_a_job_that_another_worker_took_while_we_waited_gives_its_slot_back() -> None:
    here = desk()
    here.slots.expect(lambda: void(_claim(here)))
    assert here.nudge().outcome is Outcome.NOTHING_TO_DO
    assert here.slots.given_back == ["slot 1"]


def test_a_record_that_was_dropped_while_we_waited_is_nothing_to_do() -> None:
    here = desk()
    here.slots.expect(here.ledger._jobs.clear)
    assert here.nudge().outcome is Outcome.NOTHING_TO_DO
    assert here.slots.given_back == ["slot 1"]


# --- stopping -----------------------------------------------------------------------------------------------------


def test_stopping_while_it_waits_leaves_the_job_in_its_line() -> None:
    here = desk(slots=FakeSlots(STOPPING))
    assert here.nudge() == Report(Outcome.BACK_IN_LINE)
    assert (here.record().state, here.record().attempts, here.asked) == (JobState.QUEUED, 0, 1)


@pytest.mark.parametrize(
    ("script", "waits_before"),
    [
        ([("list", ("oc_1",))], 1),  # the detail's slot
        ([("list", ("oc_1",)), ("detail", None)], 2),  # the creation's slot
        ([("list", ())], 1),
    ],
)
def test_stopping_while_it_looks_spends_no_attempt(script: list[tuple[str, object]], waits_before: int) -> None:
    here = looking(*script, slots=FakeSlots(*[None] * waits_before, STOPPING))
    assert here.nudge().outcome is Outcome.BACK_IN_LINE
    assert (here.record().state, here.record().attempts) == (JobState.QUEUED, 1)
    assert looks_next(here)


def test_stopping_before_it_looks_for_a_deleted_group_spends_no_attempt() -> None:
    here = desk(("create", GONE), slots=FakeSlots(None, STOPPING))
    assert here.nudge().outcome is Outcome.BACK_IN_LINE
    assert (here.record().state, here.record().attempts) == (JobState.QUEUED, 0)


# --- 429 ----------------------------------------------------------------------------------------------------------


def test_a_429_pauses_the_account_and_costs_no_attempt() -> None:
    here = desk(("create", TOO_FAST))
    report = here.nudge()
    assert (report.outcome, report.error, report.delay_s) == (Outcome.BACK_IN_LINE, TOO_FAST, 7.0)
    assert here.slots.pauses == [7.0]
    assert (here.record().state, here.record().attempts) == (JobState.QUEUED, 0)
    assert not looks_next(here)


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
    assert here.slots.pauses == [7.0]
    assert (here.record().state, here.record().attempts) == (JobState.QUEUED, 1)
    assert looks_next(here)


# --- errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "looks"), [(UNSENT, False), (TIMEOUT, True)])
def test_an_error_that_may_pass_is_tried_again(error: FlashdutyError, looks: bool) -> None:  # noqa: FBT001
    here = desk(("create", error))
    report = here.nudge()
    assert (report.outcome, report.error) == (Outcome.RETRYING, error)
    assert TryAgainIn(report.delay_s, look_first=looks) == decide(1, error, jitter=0.5)
    record = here.record()
    assert (record.state, record.code, record.request_id) == (JobState.RETRYING, error.code, error.request_id)
    assert looks_next(here) is looks


@pytest.mark.parametrize("error", [REFUSED, NO_KEY])
def test_an_error_that_stays_is_a_dead_letter(error: FlashdutyError) -> None:
    here = desk(("create", error))
    assert here.nudge().outcome is Outcome.FAILED
    assert (here.record().state, here.record().code) == (JobState.FAILED, error.code)


def test_a_dead_letter_tells_what_a_person_can_do() -> None:
    here = desk(("create", REFUSED))
    here.nudge()
    assert here.record().message == "ResourceNotFound (HTTP 400): no such incident"
    assert here.record().hint == "it does not exist"


@pytest.mark.parametrize("error", [UNSENT, TIMEOUT])
def test_the_sixth_attempt_is_the_last(error: FlashdutyError) -> None:
    here = looking(("list", ()), ("create", error), attempts=MAX_ATTEMPTS - 1)
    report = here.nudge()
    assert (report.outcome, report.attempt) == (Outcome.FAILED, MAX_ATTEMPTS)
    assert "after 6 attempts" in here.record().message


def test_a_defect_of_ours_is_an_attempt_with_unknown_outcome(caplog: pytest.LogCaptureFixture) -> None:
    here = desk(("create", ZeroDivisionError("oops")))
    report = here.nudge()
    assert (report.outcome, here.record().code) == (Outcome.RETRYING, "Defect")
    assert "ZeroDivisionError" in caplog.text
    assert looks_next(here)


def test_a_defect_does_not_go_on_for_ever() -> None:
    here = looking(("list", ZeroDivisionError("oops")), attempts=MAX_ATTEMPTS - 1)
    assert here.nudge().outcome is Outcome.FAILED


def test_without_redis_nothing_is_claimed() -> None:
    here = desk(slots=FakeSlots(QueueUnavailable("away")))
    with pytest.raises(QueueUnavailable):
        here.nudge()
    assert (here.record().state, here.asked) == (JobState.QUEUED, 1)


# --- looking first ------------------------------------------------------------------------------------------------


def test_a_room_that_is_there_already_is_found() -> None:
    here = looking(("list", ("oc_1",)), ("detail", A_ROOM))
    report = here.nudge()
    assert (report.outcome, report.attempt, report.room) == (Outcome.FOUND, 2, A_ROOM)
    record = here.record()
    assert (record.state, record.room, record.request_id) == (JobState.FOUND, A_ROOM, "req-detail")
    assert here.slots.taken == [Lane.BULK] * 2, "each call has a slot of its own"


def test_no_room_found_means_it_is_created_with_a_slot_of_its_own() -> None:
    here = looking(("list", ()), ("create", A_ROOM))
    assert here.nudge().outcome is Outcome.OPENED
    assert (here.api.calls, here.slots.taken) == (["list", "create"], [Lane.BULK] * 2)


def test_a_listed_group_that_was_deleted_does_not_count() -> None:
    here = looking(("list", ("oc_0", "oc_2")), ("detail", None), ("detail", OTHER_ROOM))
    assert here.nudge().room == OTHER_ROOM
    assert len(here.slots.taken) == 3


def test_if_all_listed_groups_were_deleted_one_is_created() -> None:
    here = looking(("list", ("oc_0", "oc_2")), ("detail", None), ("detail", None), ("create", A_ROOM))
    assert here.nudge().outcome is Outcome.OPENED
    assert len(here.slots.taken) == 4


def test_a_creation_after_a_look_is_marked_as_sent_before_it_goes_out() -> None:
    here = looking(("list", ()))
    here.api.expect(("create", lambda: _dies(here)))
    with pytest.raises(SystemExit):
        here.nudge()
    here.clock.forward(LEASE_MS / 1000)
    assert _claim(here).look_first


def _dies(here: Desk) -> WarRoom:
    assert here.ledger._jobs[JOB.id].sent
    raise SystemExit


@pytest.mark.parametrize("error", [TIMEOUT, UNSENT])
@pytest.mark.parametrize("calls", [[], [("list", ("oc_1",))]])
def test_an_error_during_the_look_is_tried_again_and_looks_first(
    calls: list[tuple[str, object]], error: FlashdutyError
) -> None:
    here = looking(*calls, ("detail" if calls else "list", error))
    assert here.nudge().outcome is Outcome.RETRYING
    assert (here.record().state, here.record().attempts) == (JobState.RETRYING, 2)
    assert looks_next(here)


# --- success without a room ---------------------------------------------------------------------------------------


def test_success_without_a_room_is_never_opened() -> None:
    here = desk(("create", GONE), ("list", ()))
    report = here.nudge()
    assert (report.outcome, report.error) == (Outcome.FAILED, GONE)
    record = here.record()
    assert (record.state, record.room, record.code) == (JobState.FAILED, None, "RoomGone")
    assert record.hint == "Was the group deleted?"
    assert len(here.slots.taken) == 2


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


@pytest.mark.parametrize("error", [TIMEOUT, UNSENT, REFUSED])
def test_if_the_look_for_a_deleted_group_fails_the_outcome_is_unknown(error: FlashdutyError) -> None:
    here = desk(("create", GONE), ("list", error))
    assert here.nudge().outcome is Outcome.RETRYING
    assert "looking for it failed" in here.record().message
    assert looks_next(here)


def test_a_429_in_the_look_for_a_deleted_group_costs_no_attempt() -> None:
    here = desk(("create", GONE), ("list", TOO_FAST))
    assert here.nudge().outcome is Outcome.BACK_IN_LINE
    assert (here.slots.pauses, here.record().attempts) == ([7.0], 0)


def test_a_defect_in_the_look_for_a_deleted_group_leaves_the_job_claimed_by_nobody() -> None:
    here = desk(("create", GONE), ("list", ZeroDivisionError("oops")))
    assert here.nudge().outcome is Outcome.RETRYING
    assert looks_next(here)


# --- a claim that was lost ----------------------------------------------------------------------------------------


def _takes_over(here: Desk, answer: object) -> Callable[[], object]:
    """While our call is under way our lease ends and another worker takes the job."""

    def call() -> object:
        here.clock.forward(LEASE_MS / 1000)
        _claim(here)
        return answer

    return call


@pytest.mark.parametrize("answer", [A_ROOM, TIMEOUT, REFUSED, TOO_FAST, ZeroDivisionError("oops"), GONE])
def test_a_lost_claim_changes_nothing_after_the_creation(answer: object) -> None:
    look = [("list", ("oc_1",)), ("detail", A_ROOM)] if answer is GONE else []
    here = desk()
    here.api.expect(("create", _takes_over(here, answer)), *look)
    report = here.nudge()
    record = here.record()
    assert (record.state, record.attempts, record.code, record.room) == (JobState.OPENING, 2, "", None)
    if answer is A_ROOM or answer is GONE:
        assert report.outcome is Outcome.NOTHING_TO_DO


@pytest.mark.parametrize("answer", [(), TIMEOUT, TOO_FAST])
def test_a_lost_claim_changes_nothing_during_the_look(answer: object) -> None:
    here = looking()
    here.api.expect(("list", _takes_over(here, answer)))
    before_code = here.record().code
    here.nudge()
    record = here.record()
    assert (record.state, record.attempts, record.code) == (JobState.OPENING, 3, before_code)
    assert here.api.calls == ["list"], "without its claim a worker creates nothing"


def test_a_claim_lost_before_the_creation_gives_its_slot_back() -> None:
    here = looking()
    here.api.expect(("list", _takes_over(here, ())))
    assert here.nudge().outcome is Outcome.NOTHING_TO_DO
    assert here.slots.given_back == ["slot 2"]


def test_a_claim_lost_while_it_finds_a_room_changes_nothing() -> None:
    here = looking(("list", ("oc_1",)))
    here.api.expect(("detail", _takes_over(here, A_ROOM)))
    assert here.nudge().outcome is Outcome.NOTHING_TO_DO
    assert here.record().state is JobState.OPENING


def void(_: object) -> None:
    """For a lambda that must return nothing."""


# --- slots that come too late, crash loops, hurry -----------------------------------------------------------------


def test_a_slot_that_is_too_old_after_the_claim_is_not_used() -> None:
    here = desk()
    here.slots.late = {"slot 1"}
    assert here.nudge().outcome is Outcome.BACK_IN_LINE
    assert here.slots.given_back == ["slot 1"]
    assert (here.record().state, here.record().attempts) == (JobState.QUEUED, 0)


def test_a_slot_that_is_too_old_after_the_look_is_not_used_and_the_next_attempt_looks_again() -> None:
    here = looking(("list", ()))
    here.slots.late = {"slot 2"}
    assert here.nudge().outcome is Outcome.BACK_IN_LINE
    assert here.slots.given_back == ["slot 2"]
    assert looks_next(here)


def test_a_job_whose_worker_ended_in_every_attempt_is_given_up() -> None:
    here = desk()
    for _ in range(MAX_ATTEMPTS):
        _claim(here)
        here.clock.forward(LEASE_MS / 1000)
    report = here.nudge()
    assert report.outcome is Outcome.FAILED
    assert here.record().code == "WorkerLost"
    assert here.slots.given_back == ["slot 1"]
    here.ledger.enqueue([JOB])
    assert looks_next(here), "one of those attempts may have opened it"


def test_a_429_while_looking_for_a_room_that_is_gone_looks_first_next_time() -> None:
    here = desk(("create", GONE), ("list", TOO_FAST))
    assert here.nudge().outcome is Outcome.BACK_IN_LINE
    assert here.slots.pauses == [7.0]
    assert looks_next(here)


def test_stopping_before_looking_for_a_room_that_is_gone_looks_first_next_time() -> None:
    here = desk(("create", GONE), slots=FakeSlots(None, STOPPING))
    assert here.nudge().outcome is Outcome.BACK_IN_LINE
    assert looks_next(here)


def test_a_foreign_message_that_is_urgent_hurries_a_job_that_waits_in_bulk() -> None:
    here = desk(("create", A_ROOM))
    OpenWarRoom(here.ledger, here.slots, here.api, worker="w1")(a_job(lane=Lane.URGENT))
    assert here.slots.taken == [Lane.URGENT]
    assert here.record().job.lane is Lane.URGENT
