"""The war rooms of the sandbox. Nothing here prevents a second room: a duplicate must be visible."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.envelope import JsonObject


@dataclass(slots=True)
class Room:
    """One war room and its group in the IM.

    Args:
        account: the account's name.
        account_id: the account's number, as the API shows it.
        incident_id: 24 hexadecimal digits, lower case.
        integration_id: the IM integration.
        chat_id: the group's id in the IM.
        created_at_s: unix seconds.
        members: member ids, in order of joining.
        observers: whether former responders were asked for.
        deleted: the room was deleted through the API.
        group_gone: the group was deleted in the IM; the API does not know.
    """

    account: str
    account_id: int
    incident_id: str
    integration_id: int
    chat_id: str
    created_at_s: int
    members: list[int] = field(default_factory=list)
    observers: bool = False
    deleted: bool = False
    group_gone: bool = False

    def live(self) -> JsonObject:
        """The API's `WarRoom`, read from the IM: `{}` once the group is gone."""
        if self.deleted or self.group_gone:
            return {}
        name = f"Incident #{self.incident_id[-6:].upper()} war room"
        return {"chat_id": self.chat_id, "chat_name": name, "share_link": ""}

    def item(self) -> JsonObject:
        """The API's `WarRoomItem`, read from the record."""
        return {
            "account_id": self.account_id,
            "integration_id": self.integration_id,
            "created_by": 20001,
            "chat_id": self.chat_id,
            "incident_id": self.incident_id,
            "status": "enabled",
            "created_at": self.created_at_s,
            "plugin_type": "feishu",
        }

    def truth(self) -> JsonObject:
        """Everything, for `GET /sandbox/rooms`."""
        return self.item() | {
            "account": self.account,
            "member_ids": list(self.members),
            "add_observers": self.observers,
            "deleted": self.deleted,
            "group_gone": self.group_gone,
        }


class Rooms:
    """All rooms ever made, by account and incident and by chat."""

    def __init__(self) -> None:
        self._by_incident: dict[tuple[str, str], list[Room]] = {}
        self._by_chat: dict[str, Room] = {}

    def open(self, account: str, account_id: int, incident_id: str, integration_id: int, created_at_s: int) -> Room:
        """Make a room, whether or not the incident has one."""
        chat_id = f"oc_{len(self._by_chat) + 1:032x}"
        room = Room(account, account_id, incident_id.lower(), integration_id, chat_id, created_at_s)
        self._by_incident.setdefault((account, room.incident_id), []).append(room)
        self._by_chat[chat_id] = room
        return room

    def of(self, account: str, incident_id: str, integration_id: int | None = None) -> list[Room]:
        """The incident's rooms that were not deleted, oldest first."""
        rooms = self._by_incident.get((account, incident_id.lower()), [])
        return [r for r in rooms if not r.deleted and integration_id in (None, r.integration_id)]

    def in_chat(self, account: str, chat_id: str) -> Room | None:
        """The account's room with this chat, deleted or not."""
        room = self._by_chat.get(chat_id)
        return room if room is not None and room.account == account else None

    def lose_groups(self, *, incident_id: str = "", chat_id: str = "") -> int:
        """Delete groups on the IM's side, behind the API's back; returns how many."""
        lost = [room for room in self.all(incident_id) if not chat_id or room.chat_id == chat_id]
        for room in lost:
            room.group_gone = True
        return len(lost)

    def all(self, incident_id: str = "") -> list[Room]:
        """Every room ever made, of one incident if named, oldest first."""
        wanted = incident_id.lower()
        return [room for room in self._by_chat.values() if wanted in ("", room.incident_id)]

    def census(self) -> JsonObject:
        """How many rooms there are per incident; rooms deleted since then still count as made."""
        sizes = Counter(len(rooms) for rooms in self._by_incident.values())
        return {
            "rooms": len(self._by_chat),
            "incidents_with_rooms": len(self._by_incident),
            "duplicates": len(self._by_chat) - len(self._by_incident),
            "max_rooms_per_incident": max(sizes, default=0),
            "rooms_per_incident": {str(size): count for size, count in sorted(sizes.items())},
        }
