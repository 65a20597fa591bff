"""Incidents that a test adds, and the rules by which the list shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from sandbox import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sandbox import Sandbox

START = 1_790_000_000
DAY_S = 86_400
LIST = "/incident/list"


@pytest.fixture
def sandbox(start: Callable[..., Sandbox]) -> Sandbox:
    return start()


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=sandbox.url, params={"app_key": "sandbox-key"}) as client:
        yield client


def ask(client: httpx.Client, **body: object) -> dict[str, Any]:
    asked = {"start_time": START - 1, "end_time": START + DAY_S, **body}
    answer = client.post(LIST, json=asked)
    assert answer.status_code == 200, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def test_incidents_can_be_added_by_the_hundred(sandbox: Sandbox, client: httpx.Client) -> None:
    ids = sandbox.add_incidents(
        count=150, start_time_s=START, spacing_s=2, progress="Processing", severity="Info", channel_id=9
    )
    page = ask(client, limit=100, asc=True)
    rest = ask(client, limit=100, asc=True, search_after_ctx=page["search_after_ctx"])
    items = [*page["items"], *rest["items"]]
    assert [item["incident_id"] for item in items] == ids
    assert {(item["progress"], item["incident_severity"], item["channel_id"]) for item in items} == {
        ("Processing", "Info", 9)
    }
    assert [item["start_time"] for item in items[:3]] == [START, START + 2, START + 4]
    assert (page["has_next_page"], rest["has_next_page"], page["total"]) == (True, False, 150)


def test_the_count_ends_at_a_thousand_and_only_has_next_page_tells(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.add_incidents(count=1200, start_time_s=START)
    page = ask(client, limit=100)
    assert (page["total"], page["has_next_page"], len(page["items"])) == (1000, True, 100)


@pytest.mark.parametrize(
    "wrong",
    [
        {"end_time": START + 31 * DAY_S},
        {"end_time": START - 1},
        {"start_time": 0},
        {"limit": 101},
        {"limit": -1},
        {"search_after_ctx": "nonsense"},
        {"p": 1001, "limit": 10},
    ],
)
def test_what_the_api_does_not_list_is_a_400(client: httpx.Client, wrong: dict[str, object]) -> None:
    answer = client.post(LIST, json={"start_time": START - 1, "end_time": START + DAY_S, **wrong})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidParameter")


def test_no_limit_means_twenty(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.add_incidents(count=30, start_time_s=START)
    assert len(ask(client)["items"]) == len(ask(client, limit=0)["items"]) == 20


def test_listing_spends_from_the_limits(start: Callable[..., Sandbox]) -> None:
    sandbox = start(rates="2/minute")
    with httpx.Client(base_url=sandbox.url, params={"app_key": "sandbox-key"}) as client:
        bodies: tuple[dict[str, int], ...] = ({"start_time": START, "end_time": START + 1}, {}, {})
        paths = (LIST, "/datasource/im/war-room-enabled/list", LIST)
        answers = [client.post(path, json=body) for path, body in zip(paths, bodies, strict=True)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]


def test_added_incidents_are_gone_after_a_reset(sandbox: Sandbox, client: httpx.Client) -> None:
    assert httpx.post(f"{sandbox.url}/sandbox/incidents", json={"count": 2, "start_time_s": START}).status_code == 200
    assert len(ask(client)["items"]) == 2
    sandbox.reset()
    assert ask(client)["items"] == []


@pytest.mark.parametrize(
    "wrong", [{"count": -1}, {"count": "2"}, {"progress": "Open"}, {"severity": 1}, {"colour": "red"}, {"count": 10**7}]
)
def test_incidents_that_make_no_sense_are_refused(sandbox: Sandbox, wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        sandbox.add_incidents(**wrong)


def test_integrations_can_be_set_and_each_has_its_secrets(sandbox: Sandbox, client: httpx.Client) -> None:
    sandbox.set_integrations({"data_source_id": 7, "name": "Slack"}, {"data_source_id": 8})
    items = client.post("/datasource/im/war-room-enabled/list").json()["data"]["items"]
    assert [(item["integration_id"], item["name"]) for item in items] == [(7, "Slack"), (8, "Feishu Ops")]
    assert all("secret" in item["integration_key"] and "secret" in str(item["settings"]) for item in items)
    with pytest.raises(ConfigError):
        sandbox.set_integrations("no object")  # type: ignore[arg-type]
