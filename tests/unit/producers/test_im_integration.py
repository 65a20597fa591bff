"""The integration of a job that names none: the settings' own, else the only one, asked for once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from producers.im_integration import FOUND_S, NONE_S, UNKNOWN_S, Lookup
from worker.errors import OutcomeUnknown
from worker.flashduty import Integration
from worker.rate_limit import plan_of
from worker.settings import Account

if TYPE_CHECKING:
    from worker.errors import FlashdutyError

FEISHU = Integration(7, "Ops", "feishu", "enabled")
SLACK = Integration(8, "Chat", "slack", "enabled")
OFF = Integration(9, "Old", "dingtalk", "disabled")


@dataclass
class Desk:
    """The memory of every account and its API in one: what it lists, or how it fails."""

    lists: tuple[Integration, ...] | FlashdutyError = (FEISHU,)
    remembered: int | str | None = None
    asked: int = 0
    key: bool = True
    now_s: float = 0.0
    said: list[str] = field(default_factory=list)
    integrations: object = None

    @property
    def api(self) -> Desk:
        return self

    def recall(self) -> int | str | None:
        return self.remembered

    def keep(self, found: int | str) -> None:
        self.remembered = found

    def ask(self, _call: object) -> tuple[Integration, ...]:
        self.asked += 1
        if isinstance(self.lists, tuple):
            return self.lists
        raise self.lists

    def close(self) -> None:
        """Has nothing to close."""

    def lookup(self, settled: dict[str, int] | None = None) -> Lookup:
        account = Account(name="a", plan=plan_of("1/second"), app_key_env="NO_KEY_IS_READ")
        memory: Any = lambda _account: self  # noqa: E731 - two seams, one stand-in
        paced: Any = lambda _account: self if self.key else None  # noqa: E731
        return Lookup(settled or {}, {"a": account}, memory, paced, self.said.append, lambda: self.now_s)


def test_what_the_settings_say_asks_nobody() -> None:
    here = Desk()
    assert here.lookup({"a": 5}).get("a") == 5
    assert here.asked == 0


def test_the_only_one_is_asked_for_once_and_remembered() -> None:
    here = Desk((FEISHU, OFF))
    found = here.lookup()
    assert (len(found), list(found)) == (0, [])
    assert [found.get("a"), found.get("a")] == [7, 7]
    assert (here.asked, here.remembered, list(found)) == (1, 7, ["a"])


def test_what_a_worker_has_found_needs_no_key() -> None:
    assert Desk(remembered=7, key=False).lookup().get("a") == 7


def test_why_a_worker_found_none_is_said_without_a_key_and_asked_again_with_one() -> None:
    keyless = Desk(remembered="2 have war rooms enabled", key=False)
    found = keyless.lookup()
    assert found.get("a") is None
    assert found.reasons == {"a": "2 have war rooms enabled"}
    assert Desk(remembered="2 have war rooms enabled").lookup().get("a") == 7


def test_without_a_key_it_says_who_would_find_it_and_looks_again_soon() -> None:
    here = Desk(key=False)
    found = here.lookup()
    assert found.get("a") is None
    said = "its only IM integration is found by a worker that runs, or with its app key here"
    assert (here.said, found.reasons, here.asked) == ([f"account a: {said}"], {"a": said}, 0)
    here.remembered = 7
    assert found.get("a") is None
    here.now_s = UNKNOWN_S
    assert (found.get("a"), found.reasons) == (7, {})


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ((FEISHU, SLACK), "account a: 2 have war rooms enabled: 7 (Ops, feishu), 8 (Chat, slack)"),
        ((OFF,), "account a: no IM integration of this account has war rooms enabled: enable one in"),
        (OutcomeUnknown("cut", code="Timeout"), "account a: could not ask for its IM integration: Timeout: cut"),
    ],
)
def test_where_none_goes_without_saying_it_says_why_and_asks_no_more_for_a_while(lists: Any, said: str) -> None:  # noqa: ANN401
    here = Desk(lists)
    found = here.lookup()
    assert [found.get("a"), found.get("a")] == [None, None]
    assert here.asked == 1
    assert here.said[0].startswith(said)
    assert here.said[0] == f"account a: {found.reasons['a']}"
    assert not isinstance(here.remembered, int)
    here.lists, here.now_s = (FEISHU,), NONE_S
    assert found.get("a") == 7


def test_what_was_found_is_looked_up_again_after_some_minutes() -> None:
    here = Desk()
    found = here.lookup()
    assert found.get("a") == 7
    here.remembered = 8
    assert found.get("a") == 7
    here.now_s = FOUND_S
    assert (found.get("a"), here.asked) == (8, 1)


def test_what_was_found_before_counts_where_nobody_can_tell() -> None:
    here = Desk(remembered=7)
    found = here.lookup()
    assert found.get("a") == 7
    here.remembered, here.lists, here.now_s = None, OutcomeUnknown("cut", code="Timeout"), FOUND_S
    assert (found.get("a"), here.asked) == (7, 1)
    here.key, here.now_s = False, 2 * FOUND_S
    assert (found.get("a"), here.said) == (7, [])
    here.remembered, here.now_s = "2 have war rooms enabled", 3 * FOUND_S
    assert found.get("a") is None
