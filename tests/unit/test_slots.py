"""Waiting for a slot: one sleep, and the slot goes back if it cannot be used in time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import pytest

from tests.fakes import NOW, FakeBucket
from worker.errors import NoMoreSlots
from worker.jobs import Lane
from worker.slots import LONGEST_HOLD_S, Lines, NotYet, Reserved, Slot, Slots

if TYPE_CHECKING:
    from collections.abc import Callable

SPREAD_S: Final = 0.25


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
            self.bucket, spread_s=SPREAD_S, sleep=self._sleep, learn=self.learned.append, clock=lambda: self.now_s
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
def test_a_pause_closes_both_lines(asked_s: float | None) -> None:
    here = Desk(pause_left_s=9.0)
    assert here.slots.pause(asked_s) == 9.0
    assert (here.bucket.penalties, here.learned) == ([asked_s], [Lines(9.0, 9.0, 9.0)])


def test_a_slot_may_be_used_until_half_the_spread_has_passed() -> None:
    here = Desk((reserved(0.1),))
    slot = here.slots.take(Lane.BULK)
    here.now_s = 100.1 + SPREAD_S / 2
    assert here.slots.in_time(slot)
    here.now_s += 0.001
    assert not here.slots.in_time(slot)


def test_the_bucket_has_been_asked_before_any_waiting() -> None:
    here = Desk((NotYet(5.0, NOW), reserved(0.1)))
    slept: list[list[float]] = []
    here.slots.take(Lane.BULK, lambda: slept.append(list(here.slept)))
    assert slept[0] == []


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
