"""When a message wants to be served: what Celery gets to see of its ETA and its expiry, and what is refused."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from celery.utils.time import maybe_iso8601
from hypothesis import given
from hypothesis import strategies as st

from worker.due import FARTHEST, times_of

NOW = datetime(2026, 11, 26, 9, 30, tzinfo=UTC)
NO_TIME = "is no time; write it as 2026-11-26T09:30:00+00:00, or leave it out"


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ({}, {}),
        ({"eta": None, "expires": None}, {}),
        ({"eta": "", "expires": ""}, {}),
        ({"eta": "2026-11-26T09:30:01"}, {"eta": "2026-11-26T09:30:01+00:00"}),
        ({"eta": "2026-11-26T10:30:01.5+01:00"}, {"eta": "2026-11-26T09:30:01.500000+00:00"}),
        ({"eta": "2026-11-26T10:30:00Z"}, {"eta": "2026-11-26T10:30:00+00:00"}),
        ({"eta": "2026-11-26T09:30:00Z"}, {}),
        ({"eta": "0001-01-01"}, {}),
        ({"eta": "1969-12-31T23:59:59+14:00"}, {}),
        ({"expires": "9999-12-31T23:59:59"}, {"expires": "9999-12-31T23:59:59+00:00"}),
    ],
)
def test_a_time_that_still_means_something_is_kept_in_utc(headers: dict[str, Any], kept: dict[str, str]) -> None:
    assert times_of(headers, NOW) == kept


@pytest.mark.parametrize(
    ("headers", "sentence"),
    [
        ({"eta": "9999-12-31T23:59:59-14:00"}, f"eta: '9999-12-31T23:59:59-14:00' {NO_TIME}"),
        ({"eta": "0001-01-01T00:00:00+14:00"}, f"eta: '0001-01-01T00:00:00+14:00' {NO_TIME}"),
        ({"eta": "tomorrow\ud800"}, rf"eta: 'tomorrow\ud800' {NO_TIME}"),
        ({"eta": 1764149400}, f"eta: (int) {NO_TIME}"),
        ({"expires": ["x"]}, f"expires: (list) {NO_TIME}"),
        ({"expires": "x" * 99}, f"expires: '{'x' * 40}' {NO_TIME}"),
        (
            {"eta": "2026-11-26T10:30:01Z"},
            "eta: 2026-11-26T10:30:01+00:00 is more than 1 h ahead; send the message when it is due",
        ),
        (
            {"eta": "9999-12-31T23:59:59"},
            "eta: 9999-12-31T23:59:59+00:00 is more than 1 h ahead; send the message when it is due",
        ),
        (
            {"expires": "2026-11-26T09:30:00Z"},
            "expires: 2026-11-26T09:30:00+00:00 was over when a worker read it; send it again if it still counts",
        ),
    ],
)
def test_what_no_worker_could_keep_is_refused_with_a_sentence(headers: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        times_of(headers, NOW)


ZONES = st.timezones() | st.none()


@given(st.datetimes(timezones=ZONES), st.datetimes(timezones=ZONES))
def test_any_time_is_refused_or_one_that_celery_can_reckon_with(eta: datetime, expires: datetime) -> None:
    try:
        kept = times_of({"eta": eta.isoformat(), "expires": expires.isoformat()}, NOW)
    except ValueError:
        return
    for text in kept.values():
        assert maybe_iso8601(text).tzinfo is not None
    if "eta" in kept:
        assert NOW < datetime.fromisoformat(kept["eta"]) <= NOW + FARTHEST
