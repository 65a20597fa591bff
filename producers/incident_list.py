"""Flashduty's own incident list -> jobs, piece by piece in constant memory, each with the place where it goes on.

A piece is a page of the list; where each incident costs a call of its own, it is a few of a page's incidents.

An incident's own integration is the source of its alerts; the IM integration that opens rooms is another number, and
is always the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from producers.span import Span
from worker.errors import InvalidJob, OutcomeUnknown, RequestRefused
from worker.flashduty import IncidentQuery
from worker.flashduty.answers import MAX_PAGE, MAX_TOTAL
from worker.jobs import Lane, WarRoomJob

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from producers.bookmark import Asked, Bookmark
    from producers.paced import Paced
    from worker.flashduty import Incident, IncidentPage, ListedRoom

LOOKS: Final = 10
"""Incidents that are looked at before they are handed on; whoever is interrupted loses no more looks."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What some incidents, at most a page of them, gave.

    Args:
        jobs: the jobs.
        place: where to go on behind them; None behind the last of all.
        read: how many incidents they are.
        rooms: those of them that were left out because they have a room.
        gone: ids of those among the jobs that have a room on the list, but none in the IM any more.
        unusable: those whose id is none, a sentence each.
    """

    jobs: list[WarRoomJob]
    place: Bookmark | None
    read: int
    rooms: list[WarRoomJob] = field(default_factory=list)
    gone: set[str] = field(default_factory=set)
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
        look: whether `asked.without_room` is obeyed: one call for each incident, and one for each room on the list
            until one is there; a group that was deleted in the IM stays on the list.
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

    def pieces(self, place: Bookmark) -> Iterator[Piece]:
        """Everything from the place on.

        Raises:
            FlashdutyError: the API refuses, or does not answer.
            QueueUnavailable: no slot without Redis.
        """
        windows = list(Span(place.start, place.end).after(place.window).windows())
        resumed = True
        for window in windows:
            more = True
            while more:
                place, listed = self._read(window, place, resumed=resumed)
                more, resumed = listed.has_next_page, False
                *some, rest = self._cut([one for one in listed.items if one.incident_id not in place.seen])
                for incidents in some:
                    piece = self._piece(incidents)
                    place = _behind(place, piece, seen=(*place.seen, *(one.incident_id for one in incidents)))
                    yield replace(piece, place=place)
                piece = self._piece(rest)
                place = _behind(place, piece, cursor=listed.search_after_ctx)
                if not more:
                    place = replace(place, window=window.end, window_read=0)
                yield replace(piece, place=place if more or window is not windows[-1] else None)

    def _read(self, window: Span, place: Bookmark, *, resumed: bool) -> tuple[Bookmark, IncidentPage]:
        """A page, and its place.

        How long a cursor lives is not documented: if ours is refused, its window begins again.
        """
        query = replace(self._query(window), search_after_ctx=place.cursor)
        try:
            listed = self._list(query)
        except RequestRefused:
            if not (resumed and place.cursor):
                raise
            place, listed = replace(place, cursor="", window_read=0), self._list(self._query(window))
        if listed.has_next_page and listed.search_after_ctx == place.cursor:
            raise OutcomeUnknown("the API lists the same page again and again", code="NotJson")
        return place, listed

    def _cut(self, incidents: Sequence[Incident]) -> list[Sequence[Incident]]:
        """A page's incidents in pieces, at least one."""
        size = LOOKS if self._look else MAX_PAGE
        return [incidents[at : at + size] for at in range(0, len(incidents), size)] or [()]

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

    def _piece(self, incidents: Sequence[Incident]) -> Piece:
        piece = Piece([], None, len(incidents))
        for incident in incidents:
            try:
                job = self._job(incident)
            except InvalidJob as error:
                piece.unusable.append(str(error))
                continue
            if self._look:
                self._look_at(job, piece)
            else:
                piece.jobs.append(job)
        return piece

    def _job(self, incident: Incident) -> WarRoomJob:
        return WarRoomJob.of(
            account=self._account,
            incident_id=incident.incident_id,
            integration_id=self._asked.integration_id,
            lane=self._lane,
        )

    def _look_at(self, job: WarRoomJob, piece: Piece) -> None:
        """Puts the job where it belongs."""
        listed = self._paced.ask(lambda: self._paced.api.list_rooms(job.incident_id, job.integration_id))
        if any(self._is_there(room) for room in listed):
            piece.rooms.append(job)
            return
        piece.jobs.append(job)
        if listed:
            piece.gone.add(job.incident_id)

    def _is_there(self, room: ListedRoom) -> bool:
        try:
            found = self._paced.ask(lambda: self._paced.api.detail(room.integration_id, room.chat_id))
        except RequestRefused:  # then the list's word stands: a second room is worse than one too few
            return True
        return found is not None


def _behind(place: Bookmark, piece: Piece, *, cursor: str | None = None, seen: tuple[str, ...] = ()) -> Bookmark:
    """The place behind a piece: on the page of the cursor, in the middle of it if some of it was seen."""
    return replace(
        place,
        cursor=place.cursor if cursor is None else cursor,
        seen=seen,
        read=place.read + piece.read,
        window_read=place.window_read + piece.read,
        has_room=place.has_room + piece.has_room,
    )
