"""The documented endpoints: each a function from the account and a request body to the envelope's `data`."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from sandbox import fields
from sandbox.errors import ApiError, ConfigError, invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sandbox.envelope import JsonObject
    from sandbox.incidents import Incidents
    from sandbox.rooms import Room, Rooms

INTEGRATION_ID: Final = 2490562293131
MAX_IDS: Final = 100


@dataclass(frozen=True, slots=True)
class Caller:
    """The account behind an app key: its name in the sandbox and its number in the API."""

    name: str
    number: int


@dataclass(frozen=True, slots=True)
class Backend:
    """What lies behind the gateway.

    Args:
        incidents: the incidents that exist.
        rooms: the rooms made so far.
        strict: whether create asks for an incident and an integration that exist.
        empty_after_loss: whether create answers `{}`, making nothing, if the incident's group is gone.
        integrations: the IM integrations with war rooms enabled, each by what is not as usual in it.
    """

    incidents: Incidents
    rooms: Rooms
    strict: bool = False
    empty_after_loss: bool = False
    integrations: list[JsonObject] = field(default_factory=lambda: [{}])

    def set_integrations(self, integrations: object) -> None:
        """Which IM integrations have war rooms enabled: objects with the API's names for what is not as usual.

        Raises:
            ConfigError: it is no list of objects.
        """
        if not isinstance(integrations, list) or not all(isinstance(one, dict) for one in integrations):
            raise ConfigError('integrations are a list of objects such as {"data_source_id": 7, "name": "Slack"}')
        self.integrations[:] = integrations


def create(backend: Backend, caller: Caller, body: JsonObject) -> object:
    """POST /incident/war-room/create: always a new room, even where one exists.

    Whether the real API makes a second room is not documented; the sandbox takes the case that hurts.
    """
    incident_id = fields.object_id(body, "incident_id")
    integration_id = fields.integer(body, "integration_id", least=1)
    members = fields.integers(body, "member_ids")
    observers = fields.flag(body, "add_observers")
    if backend.strict:
        _check_exists(backend, incident_id, integration_id)
    older = backend.rooms.of(caller.name, incident_id, integration_id)
    if backend.empty_after_loss and any(room.group_gone for room in older):
        return {}
    room = backend.rooms.open(caller.name, caller.number, incident_id, integration_id, int(time.time()))
    room.members.extend(members)
    room.observers = observers
    return room.live()


def _check_exists(backend: Backend, incident_id: str, integration_id: int) -> None:
    """Refuse what the console would not offer; which codes the real API uses is a guess."""
    incident = backend.incidents.find(incident_id)
    if incident is None:
        raise ApiError("ResourceNotFound")
    if incident.progress == "Closed":
        raise invalid("incident_id")
    if integration_id != INTEGRATION_ID:
        raise invalid("integration_id")


def list_rooms(backend: Backend, caller: Caller, body: JsonObject) -> object:
    """POST /incident/war-room/list: one incident's rooms; those deleted through the API are left out."""
    incident_id = fields.object_id(body, "incident_id")
    # The filter is optional, and generated clients send 0 for a number that is not set.
    integration_id = fields.integer(body, "integration_id", default=0) or None
    return {"items": [room.item() for room in backend.rooms.of(caller.name, incident_id, integration_id)]}


def _room(backend: Backend, caller: Caller, body: JsonObject) -> Room:
    integration_id = fields.integer(body, "integration_id", least=1)
    room = backend.rooms.in_chat(caller.name, fields.text(body, "chat_id", required=True))
    if room is None or room.integration_id != integration_id:
        raise ApiError("ResourceNotFound")
    return room


def detail(backend: Backend, caller: Caller, body: JsonObject) -> object:
    """POST /incident/war-room/detail: the live group, `{}` if it is gone."""
    return _room(backend, caller, body).live()


def delete(backend: Backend, caller: Caller, body: JsonObject) -> object:
    """POST /incident/war-room/delete: every room of the incident in this integration."""
    incident_id = fields.object_id(body, "incident_id")
    integration_id = fields.integer(body, "integration_id", least=1)
    rooms = backend.rooms.of(caller.name, incident_id, integration_id)
    if not rooms:
        raise ApiError("ResourceNotFound")
    for room in rooms:
        room.deleted = True
    return {}


def add_member(backend: Backend, caller: Caller, body: JsonObject) -> object:
    """POST /incident/war-room/add-member: answers the string `ok`."""
    members = fields.integers(body, "member_ids", required=True)
    room = _room(backend, caller, body)
    if not room.live():
        raise ApiError("ResourceNotFound")
    room.members.extend(member for member in members if member not in room.members)
    return "ok"


def default_observers(_backend: Backend, caller: Caller, body: JsonObject) -> object:
    """POST /incident/war-room/default-observers: people with e-mail and phone, which nobody should log."""
    fields.object_id(body, "incident_id")
    people = ((20001, "Ada Example"), (20002, "Bo Example"))
    return {"observers": [_observer(caller, number, name) for number, name in people]}


def _observer(caller: Caller, number: int, name: str) -> JsonObject:
    return {
        "account_id": caller.number,
        "person_id": number,
        "person_name": name,
        "avatar": "",
        "email": f"{number}@example.com",
        "phone": f"+00000{number}",
        "locale": "en-US",
        "time_zone": "UTC",
        "as": "member",
        "status": "enabled",
    }


def im_integrations(backend: Backend, caller: Caller, _body: JsonObject) -> object:
    """POST /datasource/im/war-room-enabled/list: as a rule one IM integration, each with its secret push key."""
    numbers = [own.get("data_source_id", INTEGRATION_ID) for own in backend.integrations]
    return {"items": [_integration(caller, n) | own for n, own in zip(numbers, backend.integrations, strict=True)]}


def _integration(caller: Caller, number: object) -> JsonObject:
    return {
        "data_source_id": number,
        "integration_id": number,
        "account_id": caller.number,
        "team_id": 0,
        "plugin_id": 101,
        "name": "Feishu Ops",
        "status": "enabled",
        "category": "im",
        "plugin_type": "feishu",
        "plugin_type_name": "Feishu",
        "description": "Feishu war-room integration",
        "integration_key": "secret-push-key-of-the-sandbox",
        "ref_id": "",
        "settings": {"war_room_enabled": True, "app_secret": "secret-setting-of-the-sandbox"},
        "no_editable": False,
        "creator_id": 20001,
        "updated_by": 20001,
        "created_at": 1716962400,
        "updated_at": 1716962700,
        "last_time": 1716963000,
        "exclusive_data_source_id": 0,
    }


def list_incidents(backend: Backend, caller: Caller, body: JsonObject) -> object:
    """POST /incident/list."""
    return backend.incidents.page(body, caller.number)


def incident_info(backend: Backend, caller: Caller, body: JsonObject) -> object:
    """POST /incident/info."""
    incident = backend.incidents.find(fields.object_id(body, "incident_id"))
    if incident is None:
        raise ApiError("ResourceNotFound")
    return incident.info(caller.number)


def incidents_by_ids(backend: Backend, caller: Caller, body: JsonObject) -> object:
    """POST /incident/list-by-ids: unknown ids are left out; at most 100, as elsewhere in the API."""
    ids = fields.texts(body, "incident_ids")
    if not 1 <= len(ids) <= MAX_IDS or any(not re.fullmatch("[0-9a-fA-F]{24}", one) for one in ids):
        raise invalid("incident_ids")
    found = [incident for one in ids if (incident := backend.incidents.find(one)) is not None]
    items = [incident.info(caller.number) for incident in found]
    return {"items": items, "total": len(items), "has_next_page": False}


CREATE: Final = "/incident/war-room/create"
ENDPOINTS: Final[Mapping[str, Callable[[Backend, Caller, JsonObject], object]]] = {
    CREATE: create,
    "/incident/war-room/list": list_rooms,
    "/incident/war-room/detail": detail,
    "/incident/war-room/delete": delete,
    "/incident/war-room/add-member": add_member,
    "/incident/war-room/default-observers": default_observers,
    "/datasource/im/war-room-enabled/list": im_integrations,
    "/incident/list": list_incidents,
    "/incident/info": incident_info,
    "/incident/list-by-ids": incidents_by_ids,
}
