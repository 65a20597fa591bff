"""A worker looks the integration up that nobody has set: once, with a slot, and says why if there is none."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from worker.errors import (
    AccessDenied,
    AccountRefused,
    FlashdutyError,
    InvalidJob,
    NoMoreSlots,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    RequestRefused,
    SettingsError,
)
from worker.flashduty import Integration, Reply
from worker.health import Health
from worker.im_integration import NAMED, Usual, UsualIntegration, only_one, which
from worker.jobs import Lane
from worker.slots import Slot

FEISHU = Integration(7, "Ops", "feishu", "enabled")
SLACK = Integration(8, "Chat", "slack", "enabled")
OFF = Integration(9, "Old", "dingtalk", "disabled")


@dataclass
class Desk:
    """The memory, the slots and the API of one account in one: what it lists, or how it fails."""

    lists: tuple[Integration, ...] | FlashdutyError | SettingsError = (FEISHU,)
    remembered: int | str | None = None
    old: bool = True
    slots: bool = True
    did: list[object] = field(default_factory=list)

    def recall(self) -> int | str | None:
        return self.remembered

    def keep(self, found: int | str) -> None:
        self.remembered = found

    def is_old(self) -> bool:
        return self.old

    def take(self, lane: Lane) -> Slot:
        if not self.slots:
            raise NoMoreSlots("the account is paused")
        self.did.append(lane)
        return Slot("r", 0.0)

    def pause(self, _slot: Slot, retry_after_s: float | None) -> float:
        self.did.append(("pause", retry_after_s))
        return 1.0

    def report(self, _slot: Slot, error: FlashdutyError | None = None, *, done: bool = True) -> Health:
        self.did.append(error or ("done" if done else "answered"))
        return Health()

    def integrations(self) -> Reply[tuple[Integration, ...]]:
        if isinstance(self.lists, tuple):
            return Reply(self.lists, "req-1", 0.1)
        raise self.lists

    def usual(self, chosen: int | None = None) -> UsualIntegration:
        return UsualIntegration(chosen, self, self, self)


def test_what_the_settings_say_asks_nobody() -> None:
    here = Desk()
    usual = here.usual(5)
    usual.renew()
    assert (usual.find(), here.did) == (5, [])


def test_the_only_one_costs_one_slot_and_is_remembered() -> None:
    here = Desk((FEISHU, OFF))
    usual = here.usual()
    assert [usual.find(), usual.find()] == [7, 7]
    assert here.did == [Lane.BULK, "answered"]


def test_what_is_old_is_asked_for_again_before_anybody_needs_it() -> None:
    here = Desk((SLACK,), remembered=7)
    here.usual().renew()
    assert here.remembered == 8
    here.lists, here.old = (FEISHU,), False
    here.usual().renew()
    assert here.remembered == 8


@pytest.mark.parametrize(
    ("lists", "why"),
    [
        ((FEISHU, SLACK), "2 have war rooms enabled: 7 (Ops, feishu), 8 (Chat, slack)"),
        ((OFF,), which([OFF])),
        (RequestRefused("no", code="InvalidParameter"), "Flashduty does not say which there are: InvalidParameter: no"),
        (AccessDenied("no", code="AccessDenied"), "Flashduty does not say which there are: AccessDenied: no"),
        (AccountRefused("no", code="RouteNotFound"), "Flashduty does not say which there are: RouteNotFound: no"),
    ],
)  # fmt: skip
def test_where_there_is_none_the_job_is_refused_with_the_reason_and_nobody_asks_again(
    lists: tuple[Integration, ...] | FlashdutyError, why: str
) -> None:
    here = Desk(lists)
    for _ in range(2):
        with pytest.raises(InvalidJob) as refused:
            here.usual().find()
        assert str(refused.value) == f"integration_id: is missing; send it, or set FLASHDUTY_INTEGRATION_ID: {why}"
    assert here.did == [Lane.BULK, "answered"], "the account itself is well"


@pytest.mark.parametrize(
    "error",
    [
        OutcomeUnknown("cut", code="Timeout"),
        NotSent("no way", code="NotConnected"),
        AccountRefused("no", code="Unauthorized"),
    ],
)
def test_an_account_that_is_not_well_is_told_so_and_nothing_is_remembered(error: FlashdutyError) -> None:
    here = Desk(error)
    with pytest.raises(type(error)):
        here.usual().find()
    assert (here.did, here.remembered) == ([Lane.BULK, error], None)


def test_a_429_pauses_the_account() -> None:
    here = Desk(RateLimited("later", code="RequestTooFrequently", retry_after_s=3.0))
    with pytest.raises(RateLimited):
        here.usual().find()
    assert (here.did, here.remembered) == ([Lane.BULK, ("pause", 3.0)], None)


def test_a_key_that_is_gone_suspends_as_with_any_call() -> None:
    here = Desk(SettingsError("the file of the key is gone"))
    with pytest.raises(AccountRefused, match="NoAppKey"):
        here.usual().find()
    assert isinstance(here.did[-1], AccountRefused)


def test_without_a_slot_it_is_not_known_yet() -> None:
    with pytest.raises(NoMoreSlots):
        Desk(slots=False).usual().find()


def test_the_accounts_are_those_of_the_worker() -> None:
    here = Usual({"a": Desk().usual(5), "b": Desk(slots=False).usual()})
    assert (list(here), len(here), "b" in here, "c" in here, here["a"]) == (["a", "b"], 2, True, False, 5)


def test_an_integration_without_a_number_or_switched_off_opens_no_room() -> None:
    assert only_one([Integration(0, "", "", ""), OFF]) is None
    assert only_one([Integration(3, "", "", "")]) == 3


def test_names_are_shown_so_that_they_write_to_no_terminal_and_not_without_end() -> None:
    assert "\x1b" not in which([Integration(3, "\x1b[31m", "x", ""), SLACK])
    many = which([Integration(number, "n", "slack", "") for number in range(1, 100)])
    assert many.endswith(f"{NAMED} (n, slack) and {99 - NAMED} more")
