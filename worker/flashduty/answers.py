"""The values the API gives us, each with only the fields we use, and how they are read from `data`.

Unknown fields are ignored and missing ones have a default. What cannot be understood is `WrongShape`, never
an empty list: "no room yet" would open a second one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from worker.errors import SettingsError
from worker.jobs import WarRoom

T = TypeVar("T")

MAX_WINDOW_S: Final = 31 * 24 * 3600
MAX_PAGE: Final = 100
MAX_TOTAL: Final = 1000
"""The API counts no further: at 1,000 there may be any number (its page on pagination)."""


class WrongShape(Exception):
    """`data` is not what the API documents."""


@dataclass(frozen=True, slots=True)
class Reply(Generic[T]):
    """A successful call: its value, the API's request id, and how long it took in seconds."""

    value: T
    request_id: str
    latency_s: float


@dataclass(frozen=True, slots=True)
class ListedRoom:
    """A room of `/incident/war-room/list`; `created_at` in Unix s, 0 unknown. Nobody documents `status`."""

    chat_id: str
    integration_id: int
    incident_id: str
    status: str
    created_at: int


@dataclass(frozen=True, slots=True)
class Integration:
    """An IM integration with war rooms enabled. The answer also holds its push key and settings: not kept."""

    id: int
    name: str
    plugin_type: str
    status: str


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident, as a backlog needs it; `start_time` in Unix s. A room needs at least one responder."""

    incident_id: str
    num: str
    title: str
    progress: str
    severity: str
    start_time: int
    responders: int


@dataclass(frozen=True, slots=True)
class IncidentPage:
    """A page of incidents.

    Args:
        items: the incidents.
        has_next_page: whether there is another page; the only thing that says so.
        search_after_ctx: the cursor of the next one, empty on the last.
        total: how many match, as the API counts; never above `MAX_TOTAL`, so a hint for people and nothing else.
    """

    items: tuple[Incident, ...]
    has_next_page: bool
    search_after_ctx: str
    total: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentQuery:
    """Which incidents started in [start_time, end_time] (Unix s), page by page. Empty filters let all pass.

    Args:
        progress: of Triggered, Processing, Closed.
        severity: of Critical, Warning, Info.

    Raises:
        SettingsError: the window is empty or over 31 days, or the limit not 1 to 100; the API refuses it.
    """

    start_time: int
    end_time: int
    progress: tuple[str, ...] = ()
    severity: tuple[str, ...] = ()
    channel_ids: tuple[int, ...] = ()
    team_ids: tuple[int, ...] = ()
    limit: int = MAX_PAGE
    asc: bool = True
    search_after_ctx: str = ""

    def __post_init__(self) -> None:
        if self.start_time < 0 or self.end_time <= self.start_time:
            raise SettingsError(f"incidents: the end ({self.end_time}) must lie after the start ({self.start_time})")
        if self.end_time - self.start_time > MAX_WINDOW_S:
            days = (self.end_time - self.start_time) / 86400
            raise SettingsError(f"incidents: the API lists at most 31 days at once, not {days:.1f}")
        if not 1 <= self.limit <= MAX_PAGE:
            raise SettingsError(f"incidents: a page holds 1 to {MAX_PAGE}, not {self.limit}")

    def after(self, page: IncidentPage) -> IncidentQuery:
        """The query of the page after this one."""
        return replace(self, search_after_ctx=page.search_after_ctx)

    def body(self) -> dict[str, object]:
        """The request, with the filters that are set."""
        filters = {
            "progress": ",".join(self.progress),
            "incident_severity": ",".join(self.severity),
            "channel_ids": list(self.channel_ids),
            "team_ids": list(self.team_ids),
            "search_after_ctx": self.search_after_ctx,
        }
        window = {
            "start_time": self.start_time,
            "end_time": self.end_time,
            "limit": self.limit,
            "asc": self.asc,
        }
        return window | {name: value for name, value in filters.items() if value}


def room(data: object) -> WarRoom | None:
    """The room of create and detail; None for `{}`, null, absent, or no `chat_id`: the group is gone."""
    fields = _object(data)
    chat_id = _text(fields, "chat_id")
    if not chat_id:
        return None
    return WarRoom(chat_id=chat_id, chat_name=_text(fields, "chat_name"), share_link=_text(fields, "share_link"))


def rooms(data: object, incident_id: str, integration_id: int) -> tuple[ListedRoom, ...]:
    """The rooms of this incident and integration, oldest first, those of unknown age last.

    A room that does not say whose it is counts: the request asked for no other.
    """
    listed = [_listed_room(item, incident_id, integration_id) for item in _items(data)]
    ours = [room for room in listed if _is_ours(room, incident_id, integration_id)]
    return tuple(sorted(ours, key=lambda room: (room.created_at <= 0, room.created_at)))


def integrations(data: object) -> tuple[Integration, ...]:
    """The IM integrations; `integration_id` is documented as an alias of `data_source_id`."""
    return tuple(
        Integration(
            id=_number(item, "integration_id") or _number(item, "data_source_id"),
            name=_text(item, "name"),
            plugin_type=_text(item, "plugin_type"),
            status=_text(item, "status"),
        )
        for item in _items(data)
    )


def incident_page(data: object) -> IncidentPage:
    """A page of incidents. Without its cursor a next page is wrong: the backlog would end early."""
    fields = _object(data)
    more, cursor = fields.get("has_next_page") is True, _text(fields, "search_after_ctx")
    if more and not cursor:
        raise WrongShape
    items = tuple(_incident(item) for item in _items(fields))
    total = _number(fields, "total")
    return IncidentPage(items, has_next_page=more, search_after_ctx=cursor if more else "", total=total)


def _is_ours(room: ListedRoom, incident_id: str, integration_id: int) -> bool:
    same = room.incident_id.lower() == incident_id.lower() and room.integration_id == integration_id
    return same and bool(room.chat_id)


def _listed_room(item: dict[str, object], incident_id: str, integration_id: int) -> ListedRoom:
    return ListedRoom(
        chat_id=_text(item, "chat_id"),
        integration_id=_number(item, "integration_id") or integration_id,
        incident_id=_text(item, "incident_id") or incident_id,
        status=_text(item, "status"),
        created_at=_number(item, "created_at"),
    )


def _incident(item: dict[str, object]) -> Incident:
    responders = item.get("responders")
    incident_id = _text(item, "incident_id")
    if not incident_id:
        raise WrongShape
    return Incident(
        incident_id=incident_id,
        num=_text(item, "num"),
        title=_text(item, "title"),
        progress=_text(item, "progress"),
        severity=_text(item, "incident_severity"),
        start_time=_number(item, "start_time"),
        responders=len(responders) if isinstance(responders, list) else 0,
    )


def _object(data: object) -> dict[str, object]:
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise WrongShape
    return data


def _items(data: object) -> list[dict[str, object]]:
    items = _object(data).get("items")
    if items is None:
        return []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise WrongShape
    return items


def _text(fields: dict[str, object], name: str) -> str:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise WrongShape
    return value or ""


def _number(fields: dict[str, object], name: str) -> int:
    value = fields.get(name)
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 19:  # noqa: PLR2004
        return int(value)
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value or 0
    raise WrongShape
