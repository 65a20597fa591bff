"""How far a backlog was read, kept in Redis under the batch's name."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest

from producers.bookmark import KEPT_S, Asked, Bookmark, Bookmarks

if TYPE_CHECKING:
    from worker.redis_store import RedisStore

KEY = "warrooms:{acc}:backlog:night"
ASKED = Asked(
    since="3d", until=None, severity=("Critical",), progress=(), channel_ids=(0, 7), integration_id=5, without_room=True
)
PLACE = Bookmark(asked=ASKED, start=1, end=9, window=3, cursor="c", read=4, window_read=2, has_room=1, seen=("a", "b"))


def test_a_bookmark_is_found_again_for_a_week_and_only_under_its_name(store: RedisStore) -> None:
    bookmarks = Bookmarks(store, "acc")
    assert bookmarks.find("night") is None
    bookmarks.keep("night", PLACE)
    assert bookmarks.find("night") == PLACE
    assert bookmarks.find("day") is Bookmarks(store, "other").find("night") is None
    assert KEPT_S - 60 < store.client.ttl(KEY) <= KEPT_S
    bookmarks.remove("night")
    assert bookmarks.find("night") is None


@pytest.mark.parametrize("kept", ["", "no json", "[]", "{}", '{"asked": {}}', '{"asked": 7}'])
def test_one_of_another_version_means_reading_from_the_start(store: RedisStore, kept: str) -> None:
    store.client.set(KEY, kept, ex=60)
    assert Bookmarks(store, "acc").find("night") is None


def test_one_that_knows_nothing_of_pieces_is_at_the_start_of_its_page(store: RedisStore) -> None:
    older = asdict(replace(PLACE, seen=()))
    del older["seen"]
    store.client.set(KEY, json.dumps(older), ex=60)
    assert Bookmarks(store, "acc").find("night") == replace(PLACE, seen=())
