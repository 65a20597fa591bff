"""What each method asks and keeps, over a transport that is a function."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import httpx
import pytest

from worker.errors import OutcomeUnknown, RoomGone, SettingsError
from worker.flashduty import Flashduty, Incident, IncidentPage, IncidentQuery, Integration, ListedRoom
from worker.jobs import WarRoom, WarRoomJob

if TYPE_CHECKING:
    from collections.abc import Callable

INCIDENT = "69da451ef77b1b51f40e83ee"
OTHER = "0" * 24
IM = 2490562293131
JOB = WarRoomJob(incident_id=INCIDENT, integration_id=IM)
ROOM = {"chat_id": "oc_a", "chat_name": "Incident #0E83EE", "share_link": ""}
DAY = 86400


class Api:
    """Answers every call with the same data and remembers what it was asked."""

    def __init__(self, data: object = None, **envelope: object) -> None:
        self.answer = {"request_id": "RID", "data": data} | envelope
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return httpx.Response(200, json=self.answer)

    @property
    def body(self) -> object:
        return json.loads(self.asked[-1].content)


def client(api: Callable[[httpx.Request], httpx.Response], base_url: str = "https://api.test") -> Flashduty:
    return Flashduty(base_url=base_url, app_key=lambda: "k-123", transport=lambda: httpx.MockTransport(api))


@pytest.mark.parametrize(
    ("job", "body"),
    [
        (JOB, {"incident_id": INCIDENT, "integration_id": IM}),
        (
            WarRoomJob(incident_id=INCIDENT, integration_id=IM, member_ids=(3, 1)),
            {"incident_id": INCIDENT, "integration_id": IM, "member_ids": [3, 1]},
        ),
        (
            WarRoomJob(incident_id=INCIDENT, integration_id=IM, add_observers=True),
            {"incident_id": INCIDENT, "integration_id": IM, "add_observers": True},
        ),
    ],
)
def test_create_asks_for_members_and_observers_only_when_wanted(job: WarRoomJob, body: dict[str, object]) -> None:
    api = Api(ROOM)
    client(api).create(job)
    assert api.body == body


def test_create_returns_the_room_its_request_id_and_its_latency() -> None:
    reply = client(Api(ROOM)).create(JOB)
    assert reply.value == WarRoom(chat_id="oc_a", chat_name="Incident #0E83EE", share_link="")
    assert reply.request_id == "RID"
    assert 0 <= reply.latency_s < 10


def test_a_call_is_a_json_post_in_english_under_our_name_with_the_key_in_the_query() -> None:
    api = Api(ROOM)
    client(api).create(JOB)
    (request,) = api.asked
    assert request.method == "POST"
    assert str(request.url) == "https://api.test/incident/war-room/create?app_key=k-123"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["accept-language"] == "en"
    assert request.headers["user-agent"].startswith("warrooms/")


@pytest.mark.parametrize("base_url", ["https://proxy.test/duty", "https://proxy.test/duty/"])
def test_the_prefix_of_the_base_url_is_kept(base_url: str) -> None:
    api = Api(ROOM)
    client(api, base_url).create(JOB)
    assert api.asked[0].url.path == "/duty/incident/war-room/create"


@pytest.mark.parametrize("data", [{}, None, {"chat_id": ""}, {"chat_id": None}, {"chat_name": "x"}])
def test_success_without_a_room_is_room_gone(data: object) -> None:
    with pytest.raises(RoomGone) as caught:
        client(Api(data)).create(JOB)
    assert caught.value.request_id == "RID"
    assert "deleted in the IM" in caught.value.hint


def test_success_without_data_is_room_gone() -> None:
    with pytest.raises(RoomGone):
        client(lambda _: httpx.Response(200, json={"request_id": "RID"})).create(JOB)


@pytest.mark.parametrize("data", [[], [ROOM], "ok", 1, True, {"chat_id": 7}, {"chat_id": "x", "chat_name": []}])
def test_success_with_data_of_another_shape_leaves_the_outcome_unknown(data: object) -> None:
    with pytest.raises(OutcomeUnknown) as caught:
        client(Api(data)).create(JOB)
    assert (caught.value.code, caught.value.status, caught.value.request_id) == ("NotJson", 200, "RID")


def listed(chat_id: str, **fields: object) -> dict[str, object]:
    return {"chat_id": chat_id, "incident_id": INCIDENT, "integration_id": IM, "created_at": 5} | fields


def test_listed_rooms_are_ours_and_come_oldest_first() -> None:
    api = Api(
        {
            "items": [
                listed("young", created_at=9, status="enabled", plugin_type="feishu", account_id=1, new=[1]),
                listed("other incident", incident_id=OTHER),
                listed("other integration", integration_id=1),
                listed(""),
                listed("ageless", created_at=None),
                listed("old", created_at=1, incident_id=INCIDENT.upper(), integration_id=str(IM)),
                {"chat_id": "bare"},
            ]
        }
    )
    reply = client(api).list_rooms(INCIDENT, IM)
    assert api.body == {"incident_id": INCIDENT, "integration_id": IM}
    assert [room.chat_id for room in reply.value] == ["old", "young", "ageless", "bare"]
    assert reply.value[1] == ListedRoom("young", IM, INCIDENT, "enabled", 9)


@pytest.mark.parametrize("data", [None, {}, {"items": None}, {"items": []}])
def test_an_empty_list_has_no_rooms(data: object) -> None:
    assert client(Api(data)).list_rooms(INCIDENT, IM).value == ()


@pytest.mark.parametrize(
    "data",
    [
        [],
        {"items": {}},
        {"items": ["oc"]},
        {"items": [listed("x", created_at="now")]},
        {"items": [{"chat_id": 1}]},
    ],
)
def test_a_list_we_cannot_read_is_never_taken_for_no_rooms(data: object) -> None:
    with pytest.raises(OutcomeUnknown):
        client(Api(data)).list_rooms(INCIDENT, IM)


def test_detail_describes_the_room() -> None:
    api = Api(ROOM)
    room = client(api).detail(IM, "oc_a").value
    assert room == WarRoom(chat_id="oc_a", chat_name="Incident #0E83EE")
    assert api.body == {"integration_id": IM, "chat_id": "oc_a"}


@pytest.mark.parametrize("data", [None, {}])
def test_detail_of_a_deleted_group_is_none(data: object) -> None:
    assert client(Api(data)).detail(IM, "oc_a").value is None


def test_integrations_keep_four_fields_and_no_secret() -> None:
    item = {
        "name": "Feishu Ops",
        "plugin_type": "feishu",
        "status": "enabled",
        "integration_key": "push-secret",
    }
    item2 = {"data_source_id": 7, "settings": {"token": "settings-secret"}}
    reply = client(Api({"items": [item | {"integration_id": 362}, item2]})).integrations()
    assert reply.value == (Integration(362, "Feishu Ops", "feishu", "enabled"), Integration(7, "", "", ""))
    assert "secret" not in repr(reply)


QUERY = IncidentQuery(start_time=1000, end_time=2000)
INCIDENT_ITEM = {
    "incident_id": INCIDENT,
    "num": "0E83EE",
    "title": "db down",
    "progress": "Triggered",
    "incident_severity": "Critical",
    "start_time": 1500,
    "responders": [{"person_id": 1}],
    "images": None,
}


def test_incidents_are_read_a_page_at_a_time() -> None:
    api = Api({"items": [INCIDENT_ITEM], "total": 1000, "has_next_page": True, "search_after_ctx": "c1"})
    page = client(api).incidents(QUERY).value
    incident = Incident(INCIDENT, "0E83EE", "db down", "Triggered", "Critical", 1500, 1)
    assert page == IncidentPage((incident,), has_next_page=True, search_after_ctx="c1", total=1000)
    assert api.body == {"start_time": 1000, "end_time": 2000, "limit": 100, "asc": True}
    client(api).incidents(QUERY.after(page))
    assert api.body == {
        "start_time": 1000,
        "end_time": 2000,
        "limit": 100,
        "asc": True,
        "search_after_ctx": "c1",
    }


def test_the_filters_of_a_query_are_sent_as_the_api_wants_them() -> None:
    api = Api({"items": None})
    query = IncidentQuery(
        start_time=0,
        end_time=1,
        limit=1,
        asc=False,
        progress=("Triggered", "Processing"),
        severity=("Critical",),
        channel_ids=(0, 4),
        team_ids=(9,),
    )
    assert client(api).incidents(query).value == IncidentPage((), has_next_page=False, search_after_ctx="")
    assert api.body == {
        "start_time": 0,
        "end_time": 1,
        "limit": 1,
        "asc": False,
        "progress": "Triggered,Processing",
        "incident_severity": "Critical",
        "channel_ids": [0, 4],
        "team_ids": [9],
    }


@pytest.mark.parametrize("data", [{"items": [], "has_next_page": True}, {"items": [{"title": "no id"}]}])
def test_a_page_that_would_lose_incidents_is_an_error(data: object) -> None:
    with pytest.raises(OutcomeUnknown):
        client(Api(data)).incidents(QUERY)


@pytest.mark.parametrize(
    ("start", "end", "limit", "says"),
    [
        (5, 5, 1, "after the start"),
        (5, 4, 1, "after the start"),
        (-1, 4, 1, "after the start"),
        (0, 31 * DAY + 1, 1, "31 days"),
        (0, DAY, 0, "1 to 100"),
        (0, DAY, 101, "1 to 100"),
    ],
)
def test_a_query_that_the_api_refuses_cannot_be_built(start: int, end: int, limit: int, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        IncidentQuery(start_time=start, end_time=end, limit=limit)


def test_a_query_may_span_exactly_31_days() -> None:
    assert IncidentQuery(start_time=0, end_time=31 * DAY, limit=100).end_time == 31 * DAY


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "api.test",
        "ftp://api.test",
        "https://",
        "https://user:hunter2@api.test",
        "https://api.test?app_key=hunter2",
        "https://api.test/x?",
        "https://api.test/#hunter2",
        "https://api.test/a b",
        " https://api.test",
        "https://api.test\n",
        "https://api.test:99999",
        "https://api.test:0",
        "https://api.test:x",
        "https://a_\x00b",
    ],
)
def test_a_base_url_that_is_none_is_refused_without_showing_it(base_url: str) -> None:
    with pytest.raises(SettingsError, match="FLASHDUTY_BASE_URL must be") as caught:
        client(Api(), base_url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("base_url", ["http://localhost:8080", "https://[::1]:1/x", "https://api.test/duty/v1/"])
def test_a_base_url_may_have_a_port_and_a_prefix(base_url: str) -> None:
    assert client(Api(ROOM), base_url).create(JOB).value.chat_id == "oc_a"


class Closing(httpx.MockTransport):
    closed = 0

    def close(self) -> None:
        type(self).closed += 1


def test_each_thread_has_one_client_of_its_own_and_close_closes_all() -> None:
    made: list[Closing] = []
    both = threading.Barrier(2)

    def make() -> httpx.BaseTransport:
        made.append(Closing(Api(ROOM)))
        return made[-1]

    duty = Flashduty(base_url="https://api.test", app_key=lambda: "k", transport=make)

    def call_twice() -> None:
        duty.create(JOB)
        both.wait()
        duty.create(JOB)

    threads = [threading.Thread(target=call_twice) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 2
    duty.create(JOB)  # the first call of a new thread closes what dead threads left
    assert (len(made), Closing.closed) == (3, 2)
    duty.close()
    assert Closing.closed == 3
    duty.create(JOB)
    assert len(made) == 4


def test_the_key_is_asked_for_at_each_call() -> None:
    api, keys = Api(ROOM), iter(["first", "second"])
    duty = Flashduty(
        base_url="https://api.test", app_key=lambda: next(keys), transport=lambda: httpx.MockTransport(api)
    )
    duty.create(JOB)
    duty.create(JOB)
    assert [request.url.params["app_key"] for request in api.asked] == ["first", "second"]
