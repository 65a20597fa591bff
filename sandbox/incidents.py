"""The account's incidents, made from a seed or told by a test, and the rules by which /incident/list shows them."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from dataclasses import fields as fields_of
from random import Random
from typing import TYPE_CHECKING, Final

from sandbox import fields
from sandbox.errors import ApiError, ConfigError, invalid

if TYPE_CHECKING:
    from sandbox.envelope import JsonObject

PROGRESS: Final = ("Triggered", "Processing", "Closed")
SEVERITIES: Final = ("Critical", "Warning", "Info")
CHANNELS: Final = (0, 1001, 1002)  # 0 is the API's way to say: no channel
SPACING_S: Final = 60
MAX_WINDOW_S: Final = 31 * 24 * 3600
MAX_OFFSET: Final = 10_000
MAX_TOTAL: Final = 1000
MOST_AT_ONCE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident; times in unix seconds."""

    incident_id: str
    title: str
    progress: str
    severity: str
    channel_id: int
    start_time_s: int

    def info(self, account_id: int) -> JsonObject:
        """The API's `IncidentInfo`, as far as this project needs it."""
        closed_s = self.start_time_s + 30 if self.progress == "Closed" else 0
        return {
            "incident_id": self.incident_id,
            "account_id": account_id,
            "channel_id": self.channel_id,
            "channel_name": f"channel {self.channel_id}" if self.channel_id else "",
            # The alert source's integration, not the IM's: the two are easily mistaken for each other.
            "integration_id": 77,
            "integration_ids": [77],
            "num": self.incident_id[-6:].upper(),
            "title": self.title,
            "progress": self.progress,
            "incident_status": self.severity,
            "incident_severity": self.severity,
            "start_time": self.start_time_s,
            "end_time": closed_s,
            "ack_time": 0 if self.progress == "Triggered" else self.start_time_s + 10,
            "close_time": closed_s,
            "created_at": self.start_time_s,
            "updated_at": self.start_time_s,
            "responders": [{"person_id": 20001, "assigned_at": self.start_time_s, "acknowledged_at": 0}],
            "alert_cnt": 1,
            "images": None,
            "manual_overrides": None,
            "labels": {},
            "fields": {},
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbreak:
    """Incidents that are alike, as a test asks for them; they start `spacing_s` apart, the first at `start_time_s`.

    Raises:
        ConfigError: a value is wrong.
    """

    count: int = 1
    start_time_s: int = 0
    spacing_s: int = 0
    progress: str = "Triggered"
    severity: str = "Critical"
    channel_id: int = 1001

    def __post_init__(self) -> None:
        numbers = (self.count, self.start_time_s, self.spacing_s, self.channel_id)
        if not all(type(number) is int and number >= 0 for number in numbers) or self.count > MOST_AT_ONCE:
            raise ConfigError(f"count (up to {MOST_AT_ONCE}), start_time_s, spacing_s and channel_id are whole numbers")
        if self.progress not in PROGRESS or self.severity not in SEVERITIES:
            raise ConfigError(f"progress is one of {', '.join(PROGRESS)}, severity one of {', '.join(SEVERITIES)}")

    @classmethod
    def of(cls, value: object) -> Outbreak:
        """The outbreak that a JSON object describes, with the names of the fields.

        Raises:
            ConfigError: it is none.
        """
        known = {one.name for one in fields_of(cls)}
        if not isinstance(value, dict) or not value.keys() <= known:
            raise ConfigError(f"incidents are an object with some of {', '.join(sorted(known))}")
        return cls(**value)


class Incidents:
    """The incidents, the newest first: at the start `count` of them, one a minute back from `now_s`."""

    def __init__(self, count: int, seed: int, now_s: int) -> None:
        self._random = Random(seed)
        self._newest_first = [self._make(n, self._random, now_s) for n in range(count)]
        self._by_id = {incident.incident_id: incident for incident in self._newest_first}

    @staticmethod
    def _make(n: int, random: Random, now_s: int) -> Incident:
        return Incident(
            incident_id=f"{random.getrandbits(64):016x}{n:08x}",
            title=f"Incident {n + 1}",
            progress=PROGRESS[n % 3],
            severity=SEVERITIES[n // 3 % 3],
            channel_id=CHANNELS[n // 9 % 3],
            start_time_s=now_s - n * SPACING_S,
        )

    def add(self, outbreak: Outbreak) -> list[str]:
        """More incidents; their ids, in the order of their start."""
        added = [
            Incident(
                incident_id=f"{self._random.getrandbits(64):016x}{len(self._by_id) + n:08x}",
                title=f"Incident {len(self._by_id) + n + 1}",
                progress=outbreak.progress,
                severity=outbreak.severity,
                channel_id=outbreak.channel_id,
                start_time_s=outbreak.start_time_s + n * outbreak.spacing_s,
            )
            for n in range(outbreak.count)
        ]
        self._by_id |= {incident.incident_id: incident for incident in added}
        self._newest_first = sorted(self._by_id.values(), key=lambda one: one.start_time_s, reverse=True)
        return [incident.incident_id for incident in added]

    def find(self, incident_id: str) -> Incident | None:
        """The incident with this id."""
        return self._by_id.get(incident_id.lower())

    def page(self, body: JsonObject, account_id: int) -> JsonObject:
        """Answer /incident/list. Filters on teams and people, `query` and the flags are not simulated.

        Raises:
            ApiError: InvalidParameter: window over 31 days, p x limit over 10,000, a bad cursor or type.
        """
        limit = fields.integer(body, "limit", default=20, most=100) or 20
        page = fields.integer(body, "p", default=1) or 1
        cursor = fields.text(body, "search_after_ctx")
        if not cursor and page * limit > MAX_OFFSET:
            raise ApiError("InvalidParameter", f"p * limit must not exceed {MAX_OFFSET}; use search_after_ctx.")
        offset = _offset(cursor) if cursor else (page - 1) * limit
        found = self._matching(body)
        if fields.flag(body, "asc"):
            found.reverse()
        shown = found[offset : offset + limit]
        more = offset + limit < len(found)
        answer: JsonObject = {
            "items": [incident.info(account_id) for incident in shown],
            "total": min(len(found), MAX_TOTAL),
            "has_next_page": more,
        }
        return answer | {"search_after_ctx": _cursor(offset + limit)} if more else answer

    def _matching(self, body: JsonObject) -> list[Incident]:
        start_s = fields.integer(body, "start_time", least=1)
        end_s = fields.integer(body, "end_time", least=1)
        if not start_s < end_s <= start_s + MAX_WINDOW_S:
            raise invalid("end_time")
        progress = fields.choices(body, "progress", frozenset(PROGRESS))
        severity = fields.choices(body, "incident_severity", frozenset(SEVERITIES))
        channels = fields.integers(body, "channel_ids")
        ids = frozenset(one.lower() for one in fields.texts(body, "incident_ids"))
        nums = frozenset(one.upper() for one in fields.texts(body, "nums"))
        return [
            incident
            for incident in self._newest_first
            if start_s <= incident.start_time_s <= end_s
            and (not progress or incident.progress in progress)
            and (not severity or incident.severity in severity)
            and (not channels or incident.channel_id in channels)
            and (not ids or incident.incident_id in ids)
            and (not nums or incident.incident_id[-6:].upper() in nums)
        ]


def _cursor(offset: int) -> str:
    return base64.urlsafe_b64encode(f"after:{offset}".encode()).decode()


def _offset(cursor: str) -> int:
    try:
        word, _, number = base64.urlsafe_b64decode(cursor.encode()).decode().partition(":")
        offset = int(number) if word == "after" else -1
    except (ValueError, binascii.Error):
        offset = -1
    if offset < 0:
        raise invalid("search_after_ctx")
    return offset
