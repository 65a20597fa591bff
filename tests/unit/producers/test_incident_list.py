"""Flashduty's incident list as jobs: every incident once, and a place to go on from after every piece."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.bookmark import Asked, Bookmark
from producers.incident_list import LOOKS, Count, IncidentList
from producers.span import Span
from worker.errors import FlashdutyError, OutcomeUnknown, RequestRefused
from worker.flashduty import Incident, IncidentPage, ListedRoom, Reply
from worker.flashduty.answers import MAX_WINDOW_S
from worker.jobs import Lane, WarRoom

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.flashduty import IncidentQuery

ASKED = Asked(
    since="3d", until=None, severity=("Critical",), progress=("Triggered",), channel_ids=(7,), integration_id=5,
    without_room=False,
)  # fmt: skip
START = 1_000_000


@dataclass
class Api:
    """Incidents that start at these moments; its cursors are numbers of incidents."""

    starts: list[int]
    rooms: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    closed: set[int] = field(default_factory=set)
    page: int = 2
    expired: bool = False
    stuck: bool = False
    asked: list[IncidentQuery] = field(default_factory=list)
    looked: list[tuple[str, int]] = field(default_factory=list)
    calls: int = 0

    @property
    def api(self) -> Api:
        return self

    def ask(self, call: Callable[[], Reply[Any]]) -> Any:  # noqa: ANN401
        self.calls += 1
        return call().value

    def incidents(self, query: IncidentQuery) -> Reply[IncidentPage]:
        self.asked.append(query)
        if self.expired and query.search_after_ctx:
            self.expired = False
            raise RequestRefused("no", code="InvalidParameter", status=400)
        found = [n for n, start in enumerate(self.starts) if query.start_time <= start <= query.end_time]
        offset = int(query.search_after_ctx or 0)
        rest = [n for n in found[offset:] if n not in self.closed]
        shown = rest[: min(self.page, query.limit)]
        more = self.stuck or len(shown) < len(rest)
        after = "1" if self.stuck else str(found.index(shown[-1]) + 1) if shown else ""
        items = tuple(Incident(f"{n:024x}", "", "", "Triggered", "Critical", self.starts[n], 1) for n in shown)
        return Reply(IncidentPage(items, more, after if more else "", min(len(found), 1000)), "", 0.0)

    def list_rooms(self, incident_id: str, integration_id: int) -> Reply[tuple[ListedRoom, ...]]:
        self.looked.append((incident_id, integration_id))
        rooms = (ListedRoom(f"oc_{incident_id}", integration_id, incident_id, "enabled", 1),)
        return Reply(rooms if incident_id in self.rooms | self.gone else (), "", 0.0)

    def detail(self, _integration_id: int, chat_id: str) -> Reply[WarRoom | None]:
        return Reply(None if chat_id.removeprefix("oc_") in self.gone else WarRoom(chat_id=chat_id), "", 0.0)


def reading(api: Api, asked: Asked = ASKED, lane: Lane = Lane.BULK, *, look: bool = True) -> IncidentList:
    return IncidentList(api, asked, "default", lane, look=look)  # type: ignore[arg-type] # the part of it that is used


def beginning(length_s: int = 1000, asked: Asked = ASKED) -> Bookmark:
    return Bookmark(asked=asked, start=START, end=START + length_s, window=START)


def ids(api: Api, place: Bookmark) -> list[int]:
    return [int(job.incident_id, 16) for piece in reading(api).pieces(place) for job in piece.jobs]


def test_incidents_become_jobs_of_the_callers_integration_and_the_filters_are_asked_for() -> None:
    api = Api([START])
    (page,) = reading(api, lane=Lane.URGENT).pieces(beginning())
    (job,) = page.jobs
    assert (job.account, job.integration_id, job.lane, page.place) == ("default", 5, Lane.URGENT, None)
    (query,) = api.asked
    assert (query.severity, query.progress, query.channel_ids) == (("Critical",), ("Triggered",), (7,))


def test_the_cursor_is_followed_through_every_window() -> None:
    api = Api(
        [START, START + 1, START + 2, START + MAX_WINDOW_S + 5, START + MAX_WINDOW_S + 6, START + 2 * MAX_WINDOW_S + 1]
    )
    assert ids(api, beginning(2 * MAX_WINDOW_S + 10)) == [0, 1, 2, 3, 4, 5]
    assert api.calls == 4, "two pages, one, one"


@given(
    gaps=st.lists(st.integers(0, 20 * 86_400), max_size=12),
    page=st.integers(1, 4),
    stop=st.integers(0, 12),
)
def test_wherever_it_is_interrupted_it_goes_on_and_loses_nothing(gaps: list[int], page: int, stop: int) -> None:
    starts = [START + sum(gaps[: n + 1]) for n in range(len(gaps))]
    api = Api(starts, page=page)
    begin = beginning(sum(gaps) + 1)
    seen: list[int] = []
    place: Bookmark | None = begin
    for number, one in enumerate(reading(api).pieces(begin)):
        if number == stop:
            break
        seen += [int(job.incident_id, 16) for job in one.jobs]
        place = one.place
    if place is not None:
        seen += ids(api, place)
    assert sorted(set(seen)) == list(range(len(starts)))
    twice = len(seen) - len(set(seen))
    assert twice <= sum((start - START) % MAX_WINDOW_S == 0 for start in starts), "only on the border of two windows"


def test_the_bookmark_counts_what_was_read() -> None:
    api = Api([START, START + 1, START + 2], rooms={f"{1:024x}"})
    asked = replace(ASKED, without_room=True)
    first, second = reading(api, asked).pieces(beginning(asked=asked))
    assert first.place is not None
    assert (first.place.read, first.place.has_room, first.place.cursor) == (2, 1, "2")
    assert (second.place, second.read) == (None, 1)


def test_incidents_with_a_room_are_left_out_only_if_asked_for() -> None:
    api = Api([START, START + 1], rooms={f"{1:024x}"})
    asked = replace(ASKED, without_room=True)
    (page,) = reading(api, asked).pieces(beginning(asked=asked))
    assert ([job.incident_id for job in page.jobs], page.has_room) == ([f"{0:024x}"], 1)
    assert api.looked == [(f"{0:024x}", 5), (f"{1:024x}", 5)]
    (page,) = reading(api, asked, look=False).pieces(beginning(asked=asked))
    assert (len(page.jobs), api.calls) == (2, 1 + 2 + 1 + 1), "a list, two looks, one room; a list"


def test_a_room_whose_group_is_gone_counts_as_none() -> None:
    api = Api([START, START + 1, START + 2], page=3, rooms={f"{1:024x}"}, gone={f"{2:024x}"})
    asked = replace(ASKED, without_room=True)
    (piece,) = reading(api, asked).pieces(beginning(asked=asked))
    assert ([job.incident_id for job in piece.jobs], piece.has_room) == ([f"{0:024x}", f"{2:024x}"], 1)
    assert piece.gone == {f"{2:024x}"}
    assert api.calls == 1 + 3 + 2, "a list, three looks, two rooms"


def test_a_room_that_the_api_refuses_to_show_counts_as_one() -> None:
    class Shy(Api):
        def detail(self, _integration_id: int, _chat_id: str) -> Reply[WarRoom | None]:
            raise RequestRefused("no", code="ResourceNotFound", status=404)

    asked = replace(ASKED, without_room=True)
    (piece,) = reading(Shy([START], rooms={f"{0:024x}"}), asked).pieces(beginning(asked=asked))
    assert (piece.jobs, piece.has_room) == ([], 1)


def test_where_each_incident_is_looked_at_a_page_is_handed_on_in_pieces() -> None:
    count = 2 * LOOKS + 3
    starts = [START + n for n in range(count)]
    looking = replace(ASKED, without_room=True)
    places = [piece.place for piece in reading(Api(starts, page=100), looking).pieces(beginning(asked=looking))]
    assert [place.read if place else None for place in places] == [LOOKS, 2 * LOOKS, None]
    (all_at_once,) = reading(Api(starts, page=100)).pieces(beginning())
    assert all_at_once.read == count


@given(stop=st.integers(1, 12), closed=st.sets(st.integers(0, 59)), page=st.integers(LOOKS, 40))
def test_interrupted_within_a_page_it_looks_at_none_again_and_loses_none(
    stop: int, closed: set[int], page: int
) -> None:
    """Though incidents were closed since then, so that the others moved up."""
    api = Api([START + n for n in range(60)], page=page)
    looking = replace(ASKED, without_room=True)
    before: list[str] = []
    place: Bookmark | None = None
    for _, piece in zip(range(stop), reading(api, looking).pieces(beginning(asked=looking)), strict=False):
        before += [job.incident_id for job in piece.jobs]
        place = piece.place
    api.closed, api.looked = closed, []
    after = [job.incident_id for piece in reading(api, looking).pieces(place) for job in piece.jobs] if place else []
    assert not set(before) & set(after)
    assert set(before) | set(after) >= {f"{n:024x}" for n in set(range(60)) - closed}
    assert len(api.looked) == len(after)


def test_an_incident_without_a_usable_id_is_said_and_stops_nobody() -> None:
    class Strange(Api):
        def incidents(self, query: IncidentQuery) -> Reply[IncidentPage]:
            page = super().incidents(query).value
            odd = replace(page.items[0], incident_id="\x1b[31m")
            return Reply(replace(page, items=(odd, *page.items)), "", 0.0)

    (page,) = reading(Strange([START])).pieces(beginning())
    assert (len(page.jobs), page.read) == (1, 2)
    assert "24 hexadecimal digits" in page.unusable[0]
    assert "\x1b" not in page.unusable[0]


def test_a_cursor_that_lived_too_short_begins_its_window_again() -> None:
    api = Api([START, START + 1, START + 2], expired=True)
    assert ids(api, replace(beginning(), cursor="2")) == [0, 1, 2]


def test_a_refusal_in_the_middle_is_no_reason_to_begin_again() -> None:
    api = Api([START, START + 1, START + 2], expired=True)
    with pytest.raises(RequestRefused):
        ids(api, beginning())


def test_a_list_that_goes_in_circles_is_an_error() -> None:
    with pytest.raises(OutcomeUnknown, match="again and again"):
        ids(Api([START], stuck=True), beginning())


def test_the_apis_count_is_asked_for_window_by_window_and_says_where_it_ends() -> None:
    api = Api([START] * 3 + [START + MAX_WINDOW_S + 1])
    assert reading(api).count(Span(START, START + MAX_WINDOW_S + 2)) == Count(4, more=False)
    assert [query.limit for query in api.asked] == [1, 1]
    assert reading(Api([START] * 1200)).count(Span(START, START + 1)) == Count(1000, more=True)


def test_an_error_of_the_api_is_the_callers_to_see() -> None:
    class Broken(Api):
        def incidents(self, _query: IncidentQuery) -> Reply[IncidentPage]:
            raise OutcomeUnknown("no", code="Timeout")

    with pytest.raises(FlashdutyError):
        ids(Broken([START]), beginning())
