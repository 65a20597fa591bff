"""The integration of a job that names none: the settings' own, else the only one, asked for once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from producers.im_integration import Lookup, only_one, which
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
    remembered: int | None = None
    asked: int = 0
    said: list[str] = field(default_factory=list)
    integrations: object = None

    @property
    def api(self) -> Desk:
        return self

    def recall(self) -> int | None:
        return self.remembered

    def keep(self, integration_id: int | None) -> None:
        self.remembered = integration_id

    def ask(self, _call: object) -> tuple[Integration, ...]:
        self.asked += 1
        if isinstance(self.lists, tuple):
            return self.lists
        raise self.lists

    def close(self) -> None:
        """Has nothing to close."""

    def lookup(self, settled: dict[str, int] | None = None) -> Lookup:
        account = Account(name="a", plan=plan_of("1/second"), app_key_env="THE_KEY")
        same: Any = lambda _account: self  # noqa: E731 - two seams, one stand-in
        return Lookup(settled or {}, {"a": account}, same, same, self.said.append)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", "k")


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


def test_what_somebody_asked_lately_needs_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THE_KEY")
    assert Desk(remembered=7).lookup().get("a") == 7


def test_without_a_key_it_says_what_a_key_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THE_KEY")
    here = Desk()
    assert here.lookup().get("a") is None
    assert here.said == ["account a: with its app key here, its only IM integration would be found"]
    assert here.asked == 0


@pytest.mark.parametrize(
    ("lists", "said"),
    [
        ((FEISHU, SLACK), "account a: 2 have war rooms enabled: 7 (Ops, feishu), 8 (Chat, slack)"),
        ((OFF,), "account a: no IM integration of this account has war rooms enabled: enable one in"),
        (OutcomeUnknown("cut", code="Timeout"), "account a: could not ask for its IM integration: Timeout: cut"),
    ],
)
def test_where_none_goes_without_saying_it_says_why_and_asks_no_more(lists: Any, said: str) -> None:  # noqa: ANN401
    here = Desk(lists)
    found = here.lookup()
    assert [found.get("a"), found.get("a")] == [None, None]
    assert here.asked == 1
    assert here.said[0].startswith(said)
    assert here.remembered is None


def test_an_integration_without_a_number_or_switched_off_opens_no_room() -> None:
    assert only_one([Integration(0, "", "", ""), OFF]) is None
    assert only_one([Integration(3, "", "", "")]) == 3
    assert "\x1b" not in which([Integration(3, "\x1b[31m", "x", ""), SLACK])
