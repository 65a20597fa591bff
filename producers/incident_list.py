"""Flashduty's own incident list -> jobs, page by page in constant memory, each with the place where it goes on.

An incident's own integration is the source of its alerts; the IM integration that opens rooms is another number, and
is always the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from producers.span import Span
from worker.errors import InvalidJob, OutcomeUnknown, RequestRefused
from worker.flashduty import IncidentQuery
from worker.flashduty.answers import MAX_PAGE, MAX_TOTAL
from worker.jobs import Lane, WarRoomJob

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producers.bookmark import Asked, Bookmark
    from producers.paced import Paced
    from worker.flashduty import Incident, IncidentPage


@dataclass(frozen=True, slots=True)
class Page:
    """What one page of incidents gave.

    Args:
        jobs: the jobs.
        place: where to go on behind them; None behind the last page.
        read: incidents on it.
        rooms: those of them that were left out because they have a room.
        unusable: those whose id is none, a sentence each.
    """

    jobs: list[WarRoomJob]
    place: Bookmark | None
    read: int
    rooms: list[WarRoomJob] = field(default_factory=list)
    unusable: list[str] = field(default_factory=list)

    @property
    def has_room(self) -> int:
        """How many incidents have their room already."""
        return len(self.rooms)


@dataclass(frozen=True, slots=True)
class Count:
    """How many incidents the API counts; `more` if it stopped counting, so that there are at least so many."""

    incidents: int
    more: bool


class IncidentList:
    """The incidents that were asked for, as jobs of one account and lane.

    Args:
        paced: the account's API.
        asked: which incidents, and where their rooms are to be.
        account: the account's name.
        lane: the jobs' lane.
        look: whether `asked.without_room` is obeyed: one call for each incident.
    """

    def __init__(self, paced: Paced, asked: Asked, account: str, lane: Lane, *, look: bool = True) -> None:
        self._paced = paced
        self._asked = asked
        self._account = account
        self._lane = lane
        self._look = look and asked.without_room

    def count(self, span: Span) -> Count:
        """How many there are, by one call for each window.

        Raises:
            FlashdutyError: the API refuses, or does not answer.
            QueueUnavailable: no slot without Redis.
        """
        totals = [self._list(self._query(window, limit=1)).total for window in span.windows()]
        return Count(sum(totals), more=any(total >= MAX_TOTAL for total in totals))

    def pages(self, place: Bookmark) -> Iterator[Page]:
        """Every page from the place on.

        Raises:
            FlashdutyError: the API refuses, or does not answer.
            QueueUnavailable: no slot without Redis.
        """
        windows = list(Span(place.start, place.end).after(place.window).windows())
        cursor, resumed = place.cursor, True
        for window in windows:
            more = True
            while more:
                listed = self._read(window, cursor, resumed=resumed)
                page = self._page(listed)
                cursor, more, resumed = listed.search_after_ctx, listed.has_next_page, False
                place = replace(
                    place,
                    window=window.start if more else window.end,
                    cursor=cursor,
                    read=place.read + page.read,
                    window_read=place.window_read + page.read if more else 0,
                    has_room=place.has_room + page.has_room,
                )
                yield replace(page, place=place if more or window is not windows[-1] else None)

    def _read(self, window: Span, cursor: str, *, resumed: bool) -> IncidentPage:
        """A page. How long a cursor lives is not documented: if ours is refused, its window begins again."""
        query = replace(self._query(window), search_after_ctx=cursor)
        try:
            listed = self._list(query)
        except RequestRefused:
            if not (resumed and cursor):
                raise
            cursor, listed = "", self._list(self._query(window))
        if listed.has_next_page and listed.search_after_ctx == cursor:
            raise OutcomeUnknown("the API lists the same page again and again", code="NotJson")
        return listed

    def _list(self, query: IncidentQuery) -> IncidentPage:
        return self._paced.ask(lambda: self._paced.api.incidents(query))

    def _query(self, window: Span, limit: int = MAX_PAGE) -> IncidentQuery:
        asked = self._asked
        return IncidentQuery(
            start_time=window.start,
            end_time=window.end,
            progress=asked.progress,
            severity=asked.severity,
            channel_ids=asked.channel_ids,
            limit=limit,
        )

    def _page(self, listed: IncidentPage) -> Page:
        page = Page([], None, len(listed.items))
        for incident in listed.items:
            try:
                job = self._job(incident)
            except InvalidJob as error:
                page.unusable.append(str(error))
                continue
            if self._look and self._has_room(job):
                page.rooms.append(job)
            else:
                page.jobs.append(job)
        return page

    def _job(self, incident: Incident) -> WarRoomJob:
        return WarRoomJob.of(
            account=self._account,
            incident_id=incident.incident_id,
            integration_id=self._asked.integration_id,
            lane=self._lane,
        )

    def _has_room(self, job: WarRoomJob) -> bool:
        listed = self._paced.ask(lambda: self._paced.api.list_rooms(job.incident_id, job.integration_id))
        return bool(listed)
