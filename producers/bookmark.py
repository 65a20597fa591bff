"""How far the reading of a backlog got, kept in Redis under the batch's name until it is done.

Reading again from the start would double nothing either, and costs one call for each 100 incidents; but with
`--without-room` it costs one more for each incident, which at 1,000 a minute is worth a bookmark.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from worker.redis_store import RedisStore

KEPT_S: Final = 7 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a backlog is made of; another reading under the same name must ask the same.

    Args:
        since, until: as the person wrote them.
        severity, progress, channel_ids: the filters; empty ones let all pass.
        integration_id: where the rooms are to be opened.
        without_room: whether incidents that have a room are left out.
    """

    since: str
    until: str | None
    severity: tuple[str, ...]
    progress: tuple[str, ...]
    channel_ids: tuple[int, ...]
    integration_id: int
    without_room: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bookmark:
    """Where to go on reading.

    Args:
        asked: what was asked.
        start, end: the whole span, in seconds since the epoch: `24h` means the same day however late it goes on.
        window: the start of the window that is being read.
        cursor: of its next page; empty for its first.
        read: incidents that were read.
        window_read: those of them that lie in this window.
        has_room: those that were left out because they have a room.
        seen: the incidents of that page that were read, by id: their places may have changed when it is read again.
    """

    asked: Asked
    start: int
    end: int
    window: int
    cursor: str = field(default="", repr=False)
    read: int = 0
    window_read: int = 0
    has_room: int = 0
    seen: tuple[str, ...] = field(default=(), repr=False)


class Bookmarks:
    """The bookmarks of an account's backlogs.

    Every method raises QueueUnavailable if Redis does not answer or refuses.
    """

    def __init__(self, store: RedisStore, account: str) -> None:
        self._store = store
        self._account = account

    def find(self, batch: str) -> Bookmark | None:
        """The bookmark of a backlog that was not read to its end; None if there is none, or it is unreadable."""
        kept = self._store.held(lambda: self._store.client.get(self._key(batch)))
        try:
            return None if kept is None else _bookmark(json.loads(str(kept)))
        except (ValueError, TypeError, KeyError, AttributeError):  # of another version: reading again does no harm
            return None

    def keep(self, batch: str, bookmark: Bookmark) -> None:
        """Remembers it for a week."""
        text = json.dumps(asdict(bookmark))
        self._store.held(lambda: self._store.client.set(self._key(batch), text, ex=KEPT_S))

    def remove(self, batch: str) -> None:
        """The backlog was read to its end."""
        self._store.held(lambda: self._store.client.delete(self._key(batch)))

    def _key(self, batch: str) -> str:
        return f"warrooms:{{{self._account}}}:backlog:{batch}"


def _bookmark(kept: dict[str, Any]) -> Bookmark:
    asked = kept.pop("asked")
    asked |= {name: tuple(asked[name]) for name in ("severity", "progress", "channel_ids")}
    seen = tuple(kept.pop("seen", ()))
    return Bookmark(asked=Asked(**asked), seen=seen, **kept)
