"""Asking the API from a producer: each call has its slot, and only what the API says of itself is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from producers.paced import MOST_PAUSE_S, PAUSES_S, Paced, nap
from worker.errors import (
    AccessDenied,
    AccountRefused,
    FlashdutyError,
    NoMoreSlots,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    RequestRefused,
)
from worker.flashduty import Flashduty, Reply
from worker.health import Health, Level, Trouble
from worker.jobs import Lane
from worker.slots import Slot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DOWN = Trouble(Level.DOWN, 0.0, 1, "Timeout", "no answer", "", "")
SUSPENDED = Trouble(Level.SUSPENDED, 0.0, 1, "Unauthorized", "the key is not valid", "see to the key", "req-1")


@dataclass
class Desk:
    """Slots that are always free, unless `held` says how often they are not; all that is told is kept."""

    held: int = 0
    why: Trouble | None = None
    taken: list[Lane] = field(default_factory=list)
    reports: list[tuple[FlashdutyError | None, bool]] = field(default_factory=list)
    given_back: int = 0
    paused: list[float | None] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def take(self, lane: Lane) -> Slot:
        if self.held:
            self.held -= 1
            raise NoMoreSlots("the account is paused for another 40 s")
        self.taken.append(lane)
        return Slot("r", 0.0)

    def pause(self, _slot: Slot, retry_after_s: float | None) -> float:
        self.paused.append(retry_after_s)
        return retry_after_s or 1.0

    def give_back(self, _slot: Slot) -> None:
        self.given_back += 1

    def report(self, _slot: Slot, error: FlashdutyError | None = None, *, done: bool = True) -> Health:
        self.reports.append((error, done))
        return Health()

    def trouble(self) -> Trouble | None:
        return self.why

    def paced(self, **options: Any) -> Paced:  # noqa: ANN401
        api = Flashduty(base_url="http://127.0.0.1:1", app_key=lambda: "k")
        return Paced(api, self, self, say=self.said.append, sleep=self.slept.append, **options)


def answers(*outcomes: FlashdutyError | int) -> Callable[[], Reply[int]]:
    coming: Iterator[FlashdutyError | int] = iter(outcomes)

    def call() -> Reply[int]:
        outcome = next(coming)
        if isinstance(outcome, FlashdutyError):
            raise outcome
        return Reply(outcome, "req", 0.1)

    return call


UNWELL = OutcomeUnknown("no", code="InternalError", status=500)
CUT = OutcomeUnknown("cut", code="ConnectionCut")
UNREACHABLE = NotSent("refused", code="NotConnected")
BAD_KEY = AccountRefused("not valid", code="Unauthorized", status=401)


def test_each_call_takes_a_bulk_slot_and_its_end_is_told_as_an_answer_and_no_more() -> None:
    here = Desk()
    assert here.paced().ask(answers(7)) == 7
    assert (here.taken, here.reports) == ([Lane.BULK], [(None, False)])


def test_a_429_pauses_the_account_for_everybody_and_the_call_is_made_again() -> None:
    here = Desk()
    paced = here.paced()
    assert paced.ask(answers(RateLimited("slow", code="x", status=429, retry_after_s=9), 7)) == 7
    assert (here.paused, here.taken, paced.calls) == ([9], [Lane.BULK] * 2, 2)
    assert here.said == ["the API said 429: the account is paused for 9 s, for everybody"]


def test_a_call_without_an_answer_is_made_again_and_given_up_after_six() -> None:
    here = Desk()
    assert here.paced().ask(answers(UNWELL, CUT, UNREACHABLE, 7)) == 7
    assert here.slept == [*PAUSES_S[:3]]
    tries = len(PAUSES_S) + 1
    with pytest.raises(OutcomeUnknown):
        here.paced().ask(answers(*[UNWELL] * tries, 7))


def test_what_the_api_says_of_itself_is_told_but_not_what_may_be_this_machines_own() -> None:
    here = Desk()
    here.paced().ask(answers(UNWELL, CUT, UNREACHABLE, 7))
    assert here.reports == [(UNWELL, True), (None, False)]
    assert here.given_back == 1, "a call that the API has not seen spends nothing"


@pytest.mark.parametrize("error", [BAD_KEY, AccessDenied("no", code="AccessDenied", status=403)])
def test_a_wrong_key_here_does_not_stop_the_workers(error: FlashdutyError) -> None:
    here = Desk()
    with pytest.raises(type(error)):
        here.paced().ask(answers(error))
    assert (here.reports, here.slept) == ([], [])


@pytest.mark.parametrize("error", [BAD_KEY, CUT, UNREACHABLE])
def test_where_the_account_is_paused_the_call_was_its_probe_and_its_end_counts(error: FlashdutyError) -> None:
    here = Desk(why=DOWN)
    with pytest.raises(type(error)):
        here.paced(patient=False).ask(answers(error))
    assert here.reports == [(error, True)]


def test_a_refusal_is_raised_and_says_nothing_of_whether_rooms_open() -> None:
    here = Desk()
    with pytest.raises(RequestRefused):
        here.paced().ask(answers(RequestRefused("no", code="InvalidParameter", status=400)))
    assert here.reports == [(None, False)]


def test_a_long_pause_is_waited_for_and_said_once() -> None:
    here = Desk(held=3, why=DOWN)
    assert here.paced().ask(answers(7)) == 7
    assert here.said == ["the account is paused for another 40 s: no answer"]
    assert len(here.slept) == 3


def test_nobody_waits_for_a_person_to_mend_the_account() -> None:
    here = Desk(held=1, why=SUSPENDED)
    with pytest.raises(AccountRefused, match="suspended: the key is not valid; mend that"):
        here.paced().ask(answers(7))
    assert here.taken == []


def test_who_has_no_patience_is_told_at_once() -> None:
    here = Desk(held=1)
    with pytest.raises(RateLimited):
        here.paced(patient=False).ask(answers(7))
    with pytest.raises(OutcomeUnknown):
        here.paced(patient=False).ask(answers(UNWELL, 7))
    assert here.slept == []


def test_a_slow_account_is_asked_again_since_its_rates_may_have_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("producers.paced.time.sleep", slept.append)
    assert not nap(3600.0)
    assert not nap(0.1)
    assert slept == [MOST_PAUSE_S, 0.1]
