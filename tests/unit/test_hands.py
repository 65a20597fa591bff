"""What a worker has in its hands, and what it still knows of what it has ended."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.fakes import A_ROOM, a_job
from worker.hands import REMEMBER_S, Ended, Hands, Held
from worker.jobs import JobState
from worker.records import Claim

if TYPE_CHECKING:
    from collections.abc import Callable


def a_claim(number: int = 1, attempt: int = 1) -> Claim:
    return Claim(a_job(number), f"w1/{number}", attempt, look_first=False)


@dataclass
class Desk:
    now_s: float = 100.0
    hands: Hands = field(init=False)

    def __post_init__(self) -> None:
        self.hands = Hands(clock=lambda: self.now_s)

    def held(self) -> list[Held]:
        return self.hands.all()[0]

    def ended(self) -> list[Ended]:
        return self.hands.all()[1]

    def open(self, claim: Claim) -> None:
        """As the ledger does when a job ends with a room."""
        self.hands.has_room(claim, JobState.OPENED, A_ROOM, "req")
        self.hands.ending(claim)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_empty_hands_hold_nothing(desk: Desk) -> None:
    assert desk.hands.all() == ([], [])


def test_what_is_taken_is_held_until_it_is_let_go(desk: Desk) -> None:
    desk.hands.take(a_claim(1))
    desk.hands.take(a_claim(2))
    assert desk.held() == [Held(a_claim(1)), Held(a_claim(2))]
    desk.hands.let_go(a_claim(1))
    desk.hands.let_go(a_claim(1))
    assert desk.held() == [Held(a_claim(2))]


def test_what_was_asked_for_and_given_is_held_as_it_was_given(desk: Desk) -> None:
    desk.hands.take(a_claim())
    desk.hands.take(a_claim(attempt=3))
    assert desk.held() == [Held(a_claim(attempt=3))]


@pytest.mark.parametrize("sent", [True, False])
def test_an_attempt_that_begins_says_whether_its_call_goes_out(desk: Desk, sent: bool) -> None:  # noqa: FBT001
    desk.hands.take(a_claim())
    desk.hands.sent(a_claim(), sent=sent)
    assert desk.held() == [Held(a_claim(), began=True, sent=sent)]


def test_an_end_on_its_way_is_still_in_hand(desk: Desk) -> None:
    desk.hands.take(a_claim())
    desk.hands.sent(a_claim(), sent=True)
    desk.hands.ending(a_claim())
    assert desk.held() == [Held(a_claim(), began=True, sent=True, ending=True)]


@pytest.mark.parametrize(
    "change",
    [
        lambda hands: hands.sent(a_claim(), sent=True),
        lambda hands: hands.ending(a_claim()),
        lambda hands: hands.let_go(a_claim()),
    ],
    ids=["sent", "ending", "let go"],
)
def test_what_is_not_in_hand_does_not_get_there_by_a_change(desk: Desk, change: Callable[[Hands], None]) -> None:
    change(desk.hands)
    assert desk.held() == []


def test_a_room_is_remembered_after_its_job_was_let_go(desk: Desk) -> None:
    desk.hands.take(a_claim())
    desk.open(a_claim())
    desk.hands.let_go(a_claim())
    assert desk.hands.all() == ([], [Ended(a_claim(), JobState.OPENED, A_ROOM, "req", 100.0)])


def test_rooms_are_remembered_as_long_as_redis_may_forget_them_and_no_longer(desk: Desk) -> None:
    desk.open(a_claim(1))
    desk.now_s += 1
    desk.open(a_claim(2))
    desk.now_s += REMEMBER_S - 1
    assert [ended.claim for ended in desk.ended()] == [a_claim(1), a_claim(2)]
    desk.now_s += 0.5
    assert [ended.claim for ended in desk.ended()] == [a_claim(2)]
    desk.now_s += 1
    assert desk.ended() == []


def test_a_room_that_redis_was_never_told_of_is_remembered_until_it_was(desk: Desk) -> None:
    """Redis is away: the end is being written, and tried again, for as long as it takes."""
    desk.hands.take(a_claim())
    desk.open(a_claim())
    desk.now_s += 100 * REMEMBER_S
    assert [ended.claim for ended in desk.ended()] == [a_claim()]
    desk.hands.let_go(a_claim())
    assert desk.ended() == []


def test_rooms_that_nobody_asks_for_are_forgotten_too(desk: Desk) -> None:
    for n in range(1, 1001):
        desk.now_s += 1
        desk.open(a_claim(n))
    assert len(desk.hands._ended) == REMEMBER_S + 1


def test_many_threads_take_and_let_go(desk: Desk) -> None:
    def work(first: int) -> None:
        for n in range(first, first + 200):
            desk.hands.take(a_claim(n))
            desk.hands.sent(a_claim(n), sent=True)
            desk.hands.all()
            desk.open(a_claim(n))
            desk.hands.let_go(a_claim(n))

    threads = [threading.Thread(target=work, args=(1 + 200 * n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held, ended = desk.hands.all()
    assert held == []
    assert {one.claim.token for one in ended} == {f"w1/{n}" for n in range(1, 1601)}
