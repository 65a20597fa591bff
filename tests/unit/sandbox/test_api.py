from __future__ import annotations

import time
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from sandbox import Sandbox, SandboxConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CREATE = "/incident/war-room/create"
IM = 2490562293131
ID = "69da451ef77b1b51f40e83ee"
INCIDENTS = 130
CREATION = {"incident_id": ID, "integration_id": IM}


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    with Sandbox(SandboxConfig(rates="100000/second", incidents=INCIDENTS)) as sandbox:
        yield sandbox


@pytest.fixture
def client(shared: Sandbox) -> Iterator[httpx.Client]:
    shared.reset()
    with httpx.Client(base_url=shared.url, params={"app_key": "sandbox-key"}, trust_env=False) as one:
        yield one


def ask(client: httpx.Client, path: str, **body: object) -> Any:  # noqa: ANN401 # JSON of any shape
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def test_a_create_answers_the_documented_room_and_request_id(client: httpx.Client) -> None:
    answer = client.post(CREATE, json=CREATION)
    envelope = answer.json()
    assert answer.headers["Flashcat-Request-Id"] == envelope["request_id"]
    assert len(envelope["request_id"]) == 26
    assert envelope["data"] == {
        "chat_id": envelope["data"]["chat_id"],
        "chat_name": "Incident #0E83EE war room",
        "share_link": "",
    }


def test_a_second_create_makes_a_second_room_and_the_stats_say_so(shared: Sandbox, client: httpx.Client) -> None:
    chats = {ask(client, CREATE, **CREATION)["chat_id"] for _ in range(3)}
    ask(client, CREATE, **(CREATION | {"incident_id": "b" * 24}))
    items = ask(client, "/incident/war-room/list", incident_id=ID.upper())["items"]
    assert {item["chat_id"] for item in items} == chats
    assert len(chats) == 3
    stats = shared.stats()
    assert (stats["rooms"], stats["incidents_with_rooms"], stats["duplicates"]) == (4, 2, 2)
    assert (stats["max_rooms_per_incident"], stats["rooms_per_incident"]) == (3, {"1": 1, "3": 1})


def test_a_listed_room_has_the_eight_documented_fields(client: httpx.Client) -> None:
    ask(client, CREATE, **CREATION)
    (item,) = ask(client, "/incident/war-room/list", incident_id=ID, integration_id=IM)["items"]
    assert set(item) == {
        "account_id", "integration_id", "created_by", "chat_id",
        "incident_id", "status", "created_at", "plugin_type",
    }  # fmt: skip
    assert ask(client, "/incident/war-room/list", incident_id=ID, integration_id=5) == {"items": []}


def test_a_deleted_room_is_no_longer_listed_and_its_detail_is_empty(client: httpx.Client) -> None:
    room = ask(client, CREATE, **CREATION)
    where = {"integration_id": IM, "chat_id": room["chat_id"]}
    assert ask(client, "/incident/war-room/detail", **where) == room
    assert ask(client, "/incident/war-room/delete", **CREATION) == {}
    assert ask(client, "/incident/war-room/list", incident_id=ID) == {"items": []}
    assert ask(client, "/incident/war-room/detail", **where) == {}
    assert client.post("/incident/war-room/delete", json=CREATION).json()["error"]["code"] == "ResourceNotFound"


def test_a_group_lost_in_the_im_is_still_listed_but_has_no_detail(shared: Sandbox, client: httpx.Client) -> None:
    room = ask(client, CREATE, **CREATION)
    assert shared.lose_groups(chat_id=room["chat_id"]) == 1
    assert ask(client, "/incident/war-room/detail", integration_id=IM, chat_id=room["chat_id"]) == {}
    assert len(ask(client, "/incident/war-room/list", incident_id=ID)["items"]) == 1
    assert ask(client, CREATE, **CREATION)["chat_id"] != room["chat_id"]


def test_a_create_after_such_a_loss_answers_nothing_when_asked(start: Callable[..., Sandbox]) -> None:
    sandbox = start(empty_after_loss=True)
    with httpx.Client(base_url=sandbox.url, params={"app_key": "sandbox-key"}) as client:
        ask(client, CREATE, **CREATION)
        sandbox.lose_groups(incident_id=ID)
        assert ask(client, CREATE, **CREATION) == {}
    assert sandbox.stats()["rooms"] == 1


def test_members_can_be_added(shared: Sandbox, client: httpx.Client) -> None:
    room = ask(client, CREATE, **CREATION, member_ids=[1, 2], add_observers=True)
    where = {"integration_id": IM, "chat_id": room["chat_id"]}
    assert ask(client, "/incident/war-room/add-member", **where, member_ids=[2, 3]) == "ok"
    (truth,) = shared.rooms(ID)
    assert (truth["member_ids"], truth["add_observers"]) == ([1, 2, 3], True)


def test_observers_and_integrations_carry_what_nobody_should_log(client: httpx.Client) -> None:
    observers = ask(client, "/incident/war-room/default-observers", incident_id=ID)["observers"]
    assert all(person["email"] and person["phone"] for person in observers)
    (item,) = client.post("/datasource/im/war-room-enabled/list").json()["data"]["items"]
    assert item["integration_id"] == item["data_source_id"] == IM
    assert "secret" in item["integration_key"]


def window() -> dict[str, int]:
    now_s = int(time.time())
    return {"start_time": now_s - 86400, "end_time": now_s + 60}


def test_incidents_are_walked_with_the_cursor(client: httpx.Client) -> None:
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = ask(client, "/incident/list", **window(), **cursor, limit=50)
        seen += [item["incident_id"] for item in page["items"]]
        if not page["has_next_page"]:
            break
        cursor = {"search_after_ctx": page["search_after_ctx"]}
    assert len(set(seen)) == len(seen) == page["total"] == INCIDENTS
    assert "search_after_ctx" not in page


def test_incidents_are_paged_ordered_and_filtered(client: httpx.Client) -> None:
    second = ask(client, "/incident/list", **window(), p=2)["items"]
    assert second == ask(client, "/incident/list", **window(), limit=40)["items"][20:]
    oldest = ask(client, "/incident/list", **window(), asc=True, limit=1)["items"][0]
    assert oldest["title"] == f"Incident {INCIDENTS}"
    some = ask(
        client, "/incident/list", **window(), progress="Triggered,Processing",
        incident_severity="Critical", channel_ids=[0, 1001], limit=100,
    )["items"]  # fmt: skip
    assert {item["progress"] for item in some} == {"Triggered", "Processing"}
    assert {item["incident_severity"] for item in some} == {"Critical"}
    assert {item["channel_id"] for item in some} == {0, 1001}


def test_one_incident_and_several_can_be_read(client: httpx.Client) -> None:
    first, second = ask(client, "/incident/list", **window(), limit=2)["items"]
    assert ask(client, "/incident/info", incident_id=first["incident_id"]) == first
    ids = [first["incident_id"], second["incident_id"], "0" * 24]
    assert ask(client, "/incident/list-by-ids", incident_ids=ids)["items"] == [first, second]
    by_num = ask(client, "/incident/list", **window(), nums=[second["num"]], incident_ids=[ids[1]])
    assert by_num["items"] == [second]


def test_strict_incidents_must_exist_and_be_open(start: Callable[..., Sandbox]) -> None:
    sandbox = start(strict_incidents=True, incidents=3)
    with httpx.Client(base_url=sandbox.url, params={"app_key": "sandbox-key"}) as client:
        items = ask(client, "/incident/list", **window())["items"]
        codes = []
        for incident_id, im in [(ID, IM), *((item["incident_id"], IM) for item in items), (items[0]["incident_id"], 5)]:
            body = {"incident_id": incident_id, "integration_id": im}
            codes.append(client.post(CREATE, json=body).json().get("error", {}).get("code"))
    assert codes == ["ResourceNotFound", None, None, "InvalidParameter", "InvalidParameter"]


LIST = "/incident/list"
RANGE: dict[str, object] = {"start_time": 1_700_000_000, "end_time": 1_700_000_060}
INVALID: list[tuple[str, dict[str, object], str]] = [
    (CREATE, {"integration_id": IM}, "incident_id"),
    (CREATE, {"incident_id": "g" * 24, "integration_id": IM}, "incident_id"),
    (CREATE, {"incident_id": "a" * 23, "integration_id": IM}, "incident_id"),
    (CREATE, {"incident_id": 7, "integration_id": IM}, "incident_id"),
    (CREATE, {"incident_id": ID}, "integration_id"),
    (CREATE, {"incident_id": ID, "integration_id": str(IM)}, "integration_id"),
    (CREATE, {"incident_id": ID, "integration_id": 1.0}, "integration_id"),
    (CREATE, {"incident_id": ID, "integration_id": True}, "integration_id"),
    (CREATE, {"incident_id": ID, "integration_id": 2**63}, "integration_id"),
    (CREATE, CREATION | {"member_ids": "1"}, "member_ids"),
    (CREATE, CREATION | {"member_ids": [1, "2"]}, "member_ids"),
    (CREATE, CREATION | {"add_observers": "yes"}, "add_observers"),
    ("/incident/war-room/list", {}, "incident_id"),
    ("/incident/war-room/detail", {"chat_id": "x"}, "integration_id"),
    ("/incident/war-room/detail", {"integration_id": IM}, "chat_id"),
    ("/incident/war-room/delete", {"incident_id": ID}, "integration_id"),
    ("/incident/war-room/add-member", {"integration_id": IM, "chat_id": "x"}, "member_ids"),
    ("/incident/war-room/default-observers", {}, "incident_id"),
    ("/incident/info", {}, "incident_id"),
    ("/incident/list-by-ids", {"incident_ids": []}, "incident_ids"),
    ("/incident/list-by-ids", {"incident_ids": [ID] * 101}, "incident_ids"),
    ("/incident/list-by-ids", {"incident_ids": ["x"]}, "incident_ids"),
    (LIST, {}, "start_time"),
    (LIST, {"start_time": 1_700_000_000}, "end_time"),
    (LIST, {"start_time": 9, "end_time": 9}, "end_time"),
    (LIST, {"start_time": 1, "end_time": 2 + 31 * 86400}, "end_time"),
    (LIST, RANGE | {"limit": 101}, "limit"),
    (LIST, RANGE | {"p": 101, "limit": 100}, "p * limit"),
    (LIST, RANGE | {"p": -1}, "p"),
    (LIST, RANGE | {"progress": "Open"}, "progress"),
    (LIST, RANGE | {"incident_severity": "Bad"}, "incident_severity"),
    (LIST, RANGE | {"channel_ids": 1}, "channel_ids"),
    (LIST, RANGE | {"nums": [1]}, "nums"),
    (LIST, RANGE | {"search_after_ctx": "?"}, "search_after_ctx"),
    (LIST, RANGE | {"search_after_ctx": "aGVsbG8="}, "search_after_ctx"),
    (LIST, RANGE | {"search_after_ctx": b64encode(b"after:" + b"9" * 5000).decode()}, "search_after_ctx"),
]


@pytest.mark.parametrize(("path", "body", "name"), INVALID)
def test_an_invalid_parameter_is_named(client: httpx.Client, path: str, body: dict[str, object], name: str) -> None:
    answer = client.post(path, json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "InvalidParameter")
    assert name in error["message"]
    assert "data" not in answer.json()


def test_what_does_not_exist_is_a_400_with_its_own_code(client: httpx.Client) -> None:
    chat = {"integration_id": IM, "chat_id": "oc_none"}
    for path, body in (
        ("/incident/war-room/detail", chat),
        ("/incident/war-room/add-member", chat | {"member_ids": [1]}),
        ("/incident/info", {"incident_id": ID}),
    ):
        answer = client.post(path, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "ResourceNotFound")


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "content", "status", "code"),
    [
        ("POST", "/incident/war-room/open", JSON, b"{}", 404, "RouteNotFound"),
        ("GET", CREATE, JSON, b"", 405, "MethodNotAllowed"),
        ("PUT", CREATE, JSON, b"{}", 405, "MethodNotAllowed"),
        ("POST", CREATE, {"Content-Type": "text/plain"}, b"{}", 400, "InvalidContentType"),
        ("POST", CREATE, {}, b"{}", 400, "InvalidContentType"),
        ("POST", CREATE, JSON, b"{", 400, "InvalidParameter"),
        ("POST", CREATE, JSON, b"[]", 400, "InvalidParameter"),
        ("POST", CREATE, JSON, b"\xff", 400, "InvalidParameter"),
        ("POST", CREATE, JSON, b'"' + b"x" * 2**20 + b'"', 413, "EntityTooLarge"),
    ],
)
def test_a_wrong_request_gets_its_documented_code(
    client: httpx.Client, method: str, path: str, headers: dict[str, str], content: bytes, status: int, code: str
) -> None:
    answer = client.request(method, path, headers=headers, content=content)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.headers["Flashcat-Request-Id"] == answer.json()["request_id"]
    # and the connection is still good
    assert client.post(CREATE, json=CREATION).status_code == 200


@pytest.mark.parametrize("key", ["", "?app_key=", "?app_key=wrong"])
def test_a_missing_or_wrong_key_is_unauthorized(shared: Sandbox, key: str) -> None:
    answer = httpx.post(f"{shared.url}{CREATE}{key}", json=CREATION)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "Unauthorized")


def test_a_charset_beside_the_content_type_is_welcome(client: httpx.Client) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    assert client.post(CREATE, headers=headers, json=CREATION).status_code == 200
