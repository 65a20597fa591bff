"""Waiting for a slot: one sleep, and the slot goes back if it cannot be used in time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

from tests.fakes import NOW, FakeBucket
from worker.errors import (
    AccessDenied,
    AccountRefused,
    FlashdutyError,
    NoMoreSlots,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    RequestRefused,
    RoomGone,
)
from worker.flashduty.app_key import AppKey
from worker.flashduty.envelope import Answer, unfold
from worker.health import Health, Level, Sign
from worker.jobs import Lane
from worker.slots import FENCE_S, LONGEST_HOLD_S, Asking, First, Lines, NotYet, Reserved, Slot, Slots

if TYPE_CHECKING:
    from collections.abc import Callable

SPREAD_S: Final = 0.25
SLOT: Final = Slot("r1", 0.0, came_at=90.0)
"""A slot that came 10 s ago."""
OLD: Final = Reserved(0.0, "old", NOW)


@dataclass
class Desk:
    """Slots on a scripted bucket and a clock that only sleeping and the bucket's own time move."""

    replies: tuple[Reserved | NotYet, ...] = ()
    oversleeps_s: float = 0.0
    stops_at_sleep: int = 0
    pause_left_s: float = 0.0
    now_s: float = 100.0
    slept: list[float] = field(default_factory=list)
    learned: list[Lines] = field(default_factory=list)
    bucket: FakeBucket = field(init=False)
    slots: Slots = field(init=False)

    def __post_init__(self) -> None:
        self.bucket = FakeBucket(self.replies, self.pause_left_s)
        self.slots = Slots(
            self.bucket,
            spread_s=SPREAD_S,
            sleep=self._sleep,
            learn=self.learned.append,
            clock=lambda: self.now_s,
            account="a",
        )

    def _sleep(self, seconds: float) -> bool:
        self.slept.append(seconds)
        self.now_s += seconds + self.oversleeps_s
        self.oversleeps_s = 0.0
        return len(self.slept) == self.stops_at_sleep


def reserved(wait_s: float, receipt: str = "r1") -> Reserved:
    return Reserved(wait_s, receipt, NOW)


def test_a_slot_that_is_free_now_needs_no_sleep() -> None:
    here = Desk((reserved(0.0),))
    assert here.slots.take(Lane.URGENT) == Slot("r1", 0.0)
    assert (here.slept, here.bucket.asked) == ([], [(Lane.URGENT, False)])


def test_a_reserved_slot_is_slept_for_once() -> None:
    here = Desk((reserved(0.1),))
    assert here.slots.take(Lane.BULK).waited_s == pytest.approx(0.1)
    assert (here.slept, here.bucket.refunded) == ([0.1], [])


def test_who_must_come_back_comes_with_a_ticket() -> None:
    here = Desk((NotYet(3.0, NOW), NotYet(1.0, NOW), reserved(0.1)))
    slot = here.slots.take(Lane.BULK)
    assert slot.waited_s == pytest.approx(4.1)
    assert here.slept == [3.0, 1.0, 0.1]
    assert here.bucket.asked == [(Lane.BULK, False), (Lane.BULK, True), (Lane.BULK, True)]


def test_a_worker_that_woke_too_late_gives_the_slot_back_and_asks_again_with_a_ticket() -> None:
    here = Desk((reserved(0.1, "late"), reserved(0.0, "next")), oversleeps_s=SPREAD_S / 2 + 0.001)
    assert here.slots.take(Lane.BULK).receipt == "next"
    assert (here.bucket.refunded, here.bucket.asked[1]) == (["late"], (Lane.BULK, True))


def test_a_worker_that_woke_a_little_late_uses_the_slot() -> None:
    here = Desk((reserved(0.1),), oversleeps_s=SPREAD_S / 2 - 0.001)
    assert here.slots.take(Lane.BULK).receipt == "r1"
    assert here.bucket.refunded == []


def test_a_slow_answer_of_redis_counts_as_lateness() -> None:
    here = Desk((reserved(0.0, "late"), reserved(0.0, "next")))
    here.bucket.acquire = _slowly(here, here.bucket.acquire)  # type: ignore[method-assign]
    assert here.slots.take(Lane.BULK).receipt == "next"
    assert here.bucket.refunded == ["late"]


def _slowly(here: Desk, acquire: Callable[..., Reserved | NotYet]) -> Callable[..., Reserved | NotYet]:
    delays = iter([SPREAD_S, 0.0])

    def slow(lane: Lane, *, ticket: bool = False) -> Reserved | NotYet:
        here.now_s += next(delays)
        return acquire(lane, ticket=ticket)

    return slow


def test_stopping_in_front_of_a_reserved_slot_gives_it_back() -> None:
    here = Desk((reserved(0.1),), stops_at_sleep=1)
    with pytest.raises(NoMoreSlots, match="stopping"):
        here.slots.take(Lane.BULK)
    assert here.bucket.refunded == ["r1"]


def test_stopping_in_the_line_gives_nothing_back() -> None:
    here = Desk((NotYet(1.0, NOW),), stops_at_sleep=1)
    with pytest.raises(NoMoreSlots, match="stopping"):
        here.slots.take(Lane.BULK)
    assert here.bucket.refunded == []


def test_a_long_pause_hands_the_job_back_without_sleeping() -> None:
    left_s = LONGEST_HOLD_S + 0.1
    here = Desk((NotYet(left_s, Lines(left_s, left_s, left_s)),))
    with pytest.raises(NoMoreSlots, match="paused for another 10 s"):
        here.slots.take(Lane.BULK)
    assert here.slept == []


def test_a_short_pause_is_waited_for() -> None:
    here = Desk((NotYet(LONGEST_HOLD_S, Lines(10.0, 10.0, LONGEST_HOLD_S)), reserved(0.0)))
    assert here.slots.take(Lane.BULK).waited_s == LONGEST_HOLD_S


def test_a_slow_account_is_waited_for_however_slow_it_is() -> None:
    here = Desk((NotYet(720.0, Lines(720.0, 1440.0, 0.0)), reserved(0.1)))
    assert here.slots.take(Lane.BULK).waited_s == pytest.approx(720.1)
    assert here.bucket.asked == [(Lane.BULK, False), (Lane.BULK, True)]


def test_every_reply_tells_the_lines_even_one_that_hands_the_job_back() -> None:
    lines = [Lines(1.0, 2.0, 0.0), Lines(0.5, 1.5, 0.0), Lines(30.0, 40.0, 30.0)]
    here = Desk((NotYet(1.0, lines[0]), Reserved(0.1, "r1", lines[1]), NotYet(40.0, lines[2])))
    here.slots.take(Lane.BULK)
    with pytest.raises(NoMoreSlots):
        here.slots.take(Lane.BULK)
    assert here.learned == lines


def test_a_slot_that_was_not_used_is_given_back() -> None:
    here = Desk((reserved(0.0),))
    here.slots.give_back(here.slots.take(Lane.BULK))
    assert here.bucket.refunded == ["r1"]


@pytest.mark.parametrize("asked_s", [None, 7.0])
def test_a_pause_closes_both_lines_and_says_whose_call_was_answered_so(asked_s: float | None) -> None:
    here = Desk(pause_left_s=9.0)
    assert here.slots.pause(SLOT, asked_s) == 9.0
    assert (here.bucket.penalties, here.learned) == ([(asked_s, SLOT.receipt)], [Lines(9.0, 9.0, 9.0)])


def test_an_answer_that_is_there_already_is_the_first_and_counts_from_when_it_was_asked_for() -> None:
    here = Desk((reserved(0.2),))
    asked: list[bool] = []

    def ask(ticket: bool) -> Reserved | NotYet:  # noqa: FBT001
        asked.append(ticket)
        return here.bucket.acquire(Lane.BULK, ticket=ticket)

    first = First(here.slots.now() - 1.0, NotYet(0.5, NOW))
    slot = here.slots.take(Lane.BULK, Asking(ask, first))
    assert (asked, here.slept) == ([True], [0.5, 0.2])
    assert slot.waited_s == pytest.approx(1.7)


def test_a_first_answer_that_grew_old_on_its_way_gives_its_slot_back() -> None:
    here = Desk((reserved(0.0),))
    asking = Asking(lambda ticket: here.bucket.acquire(Lane.BULK, ticket=ticket), First(here.slots.now() - 1.0, OLD))
    here.slots.take(Lane.BULK, asking)
    assert here.bucket.refunded == [OLD.receipt]


def test_the_bucket_has_been_asked_before_any_waiting() -> None:
    here = Desk((NotYet(5.0, NOW), reserved(0.1)))
    slept: list[list[float]] = []
    here.slots.take(Lane.BULK, asked=lambda: slept.append(list(here.slept)))
    assert slept[0] == []


def test_a_call_must_have_left_five_seconds_after_its_slot_came() -> None:
    here = Desk((reserved(0.1),))
    assert here.slots.take(Lane.BULK).fence_at == pytest.approx(100.1 + FENCE_S)


def test_a_machine_that_never_wakes_in_time_slows_down_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    here = Desk(tuple(reserved(0.1, f"r{n}") for n in range(5)))
    sleep = here._sleep

    def oversleep(seconds: float) -> bool:
        here.oversleeps_s = SPREAD_S if len(here.bucket.refunded) < 4 else 0.0
        return sleep(seconds)

    here.slots = Slots(here.bucket, spread_s=SPREAD_S, sleep=oversleep, clock=lambda: here.now_s)
    assert here.slots.take(Lane.BULK).receipt == "r4"
    assert here.slept == [0.1, 0.1, 0.1, SPREAD_S / 2, 0.1, SPREAD_S / 2, 0.1]
    assert caplog.text.count("WARROOMS_SPREAD_S") == 1


# --- the account's health -----------------------------------------------------------------------------------------

UNSURE: Final = OutcomeUnknown("no answer", code="Timeout")
NO_KEY: Final = AccountRefused("who are you?", code="Unauthorized", status=401, hint="check the key")
DENIED: Final = AccessDenied("not yours", code="AccessDenied", status=403)
REFUSED: Final = RequestRefused("no such incident", code="ResourceNotFound", status=400)
GONE: Final = RoomGone("no room", code="RoomGone")
TOO_FAST: Final = RateLimited("slowly", code="RequestTooFrequently", status=429)

SHAKEN: Final = Health(Level.SHAKEN)
DOWN: Final = Health(Level.DOWN, 1.0, common=True, changed=True)
STILL_DOWN: Final = Health(Level.DOWN, 2.0, common=True)
SUSPENDED: Final = Health(Level.SUSPENDED, 55.0, common=True, changed=True)
BACK: Final = Health(Level.WELL, changed=True)


def told(*healths: Health, level: Level = Level.WELL) -> Desk:
    """A desk whose last question was answered by an account of that level, and what reports will be answered."""
    here = Desk((Reserved(0.0, "r1", NOW, level),))
    here.slots.take(Lane.BULK)
    here.learned.clear()
    here.bucket.healths.extend(healths)
    return here


@pytest.mark.parametrize("error", [None, REFUSED, GONE])
@pytest.mark.parametrize("done", [True, False])
def test_good_ends_are_not_told_while_the_account_is_well(error: FlashdutyError | None, done: bool) -> None:  # noqa: FBT001
    here = told()
    assert here.slots.report(SLOT, error, done=done) == Health()
    assert here.bucket.reports == []


@pytest.mark.parametrize("level", [Level.SHAKEN, Level.DOWN, Level.SUSPENDED])
@pytest.mark.parametrize(
    ("error", "done", "sign"),
    [(None, True, Sign.WELL), (None, False, Sign.ANSWERED), (REFUSED, True, Sign.WELL), (GONE, True, Sign.WELL)],
)
def test_good_ends_are_told_while_the_account_is_not_well(
    level: Level,
    error: FlashdutyError | None,
    done: bool,  # noqa: FBT001
    sign: Sign,
) -> None:
    here = told(SHAKEN, level=level)
    assert here.slots.report(SLOT, error, done=done) == SHAKEN
    assert here.bucket.reports == [(sign, 10.0, error)]


@pytest.mark.parametrize(
    ("error", "sign"),
    [
        (UNSURE, Sign.UNWELL),
        (NotSent("no route", code="NotConnected"), Sign.UNWELL),
        (DENIED, Sign.DENIED),
        (NO_KEY, Sign.REFUSED),
    ],
)
def test_bad_ends_are_always_told_with_how_long_ago_the_call_went_out(error: FlashdutyError, sign: Sign) -> None:
    here = told(STILL_DOWN)
    assert here.slots.report(SLOT, error) == STILL_DOWN
    assert here.bucket.reports == [(sign, 10.0, error)]


@pytest.mark.parametrize("level", list(Level))
def test_a_429_tells_nothing(level: Level) -> None:
    here = told(level=level)
    assert here.slots.report(SLOT, TOO_FAST) == Health()
    assert (here.bucket.reports, here.learned) == ([], [])


def test_good_ends_are_told_from_the_first_bad_one_until_the_account_is_well() -> None:
    here = told(SHAKEN, SHAKEN, Health())
    here.slots.report(SLOT, None)
    here.slots.report(SLOT, UNSURE)
    here.slots.report(SLOT, None)
    here.slots.report(SLOT, None)
    here.slots.report(SLOT, None)
    assert [sign for sign, _, _ in here.bucket.reports] == [Sign.UNWELL, Sign.WELL, Sign.WELL]


def test_a_process_learns_from_the_replies_to_others_that_the_account_is_not_well() -> None:
    here = Desk((NotYet(1.0, NOW, Level.SHAKEN), reserved(0.0)))
    here.bucket.healths.append(Health())
    here.slots = Slots(here.bucket, spread_s=SPREAD_S, sleep=lambda _s: True, clock=lambda: here.now_s)
    with pytest.raises(NoMoreSlots):
        here.slots.take(Lane.BULK)
    here.slots.report(SLOT, None)
    assert len(here.bucket.reports) == 1
    here.slots.take(Lane.BULK)
    here.slots.report(SLOT, None)
    assert len(here.bucket.reports) == 1, "and that it is well again"


def test_a_slot_nobody_timed_went_out_just_now() -> None:
    here = told(STILL_DOWN)
    here.slots.report(Slot("r1", 0.0), UNSURE)
    assert here.bucket.reports == [(Sign.UNWELL, 0.0, UNSURE)]


@pytest.mark.parametrize(
    ("health", "learned"),
    [
        (DOWN, [Lines(1.0, 1.0, 1.0)]),
        (STILL_DOWN, [Lines(2.0, 2.0, 2.0)]),
        (SUSPENDED, [Lines(55.0, 55.0, 55.0)]),
        (BACK, [Lines(0.0, 0.0, 0.0)]),
        (SHAKEN, []),
        (Health(), []),
    ],
)
def test_the_gate_learns_when_the_account_is_paused_and_when_it_is_called_again(
    health: Health, learned: list[Lines]
) -> None:
    here = told(health)
    here.slots.report(SLOT, UNSURE)
    assert here.learned == learned


def test_an_outage_is_said_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    here = told(SHAKEN, DOWN, STILL_DOWN, STILL_DOWN, BACK)
    for error in (UNSURE, UNSURE, UNSURE, UNSURE, None):
        here.slots.report(SLOT, error)
    said = [(record.levelname, record.message) for record in caplog.records]
    assert said == [
        (
            "ERROR",
            "account a finds the API down, its jobs wait and spend no attempts, probes go on: Timeout: no answer",
        ),
        ("WARNING", "account a is called again: a probe succeeded"),
    ]


def test_a_suspension_is_said_once_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    here = told(SUSPENDED, Health(Level.SUSPENDED, 55.0, common=True))
    here.slots.report(SLOT, NO_KEY)
    here.slots.report(SLOT, NO_KEY)
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert record.message.startswith("account a is suspended, its jobs wait")
    assert "Unauthorized (HTTP 401): who are you?; check the key" in record.message


def test_a_suspension_without_a_hint_ends_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    here = told(SUSPENDED)
    here.slots.report(SLOT, DENIED)
    assert caplog.messages[0].endswith("AccessDenied (HTTP 403): not yours")


def test_what_an_answer_echoes_of_the_app_key_is_neither_said_nor_told(caplog: pytest.LogCaptureFixture) -> None:
    here = told(SUSPENDED)
    body = b'{"error": {"code": "Unauthorized", "message": "nobody knows app_key=k-123-secret"}}'
    error = unfold(Answer(401, {}, body), AppKey("k-123-secret"))
    assert isinstance(error, FlashdutyError)
    here.slots.report(SLOT, error)
    assert "nobody knows" in caplog.text
    assert "k-123-secret" not in caplog.text + repr(vars(error)) + str(here.bucket.reports)


@pytest.mark.parametrize("error", [REFUSED, GONE, DENIED])
def test_a_probe_that_ends_with_a_job_of_its_own_trouble_ends_the_outage_too(
    error: FlashdutyError, caplog: pytest.LogCaptureFixture
) -> None:
    here = told(BACK if error is not DENIED else Health(Level.SHAKEN, changed=True), level=Level.DOWN)
    here.slots.report(SLOT, error)
    assert caplog.messages == ["account a is called again: a probe succeeded"]
