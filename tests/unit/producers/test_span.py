"""Spans of time as people write them, and their windows."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from producers.span import Span, length_s, moment_s
from worker.errors import SettingsError
from worker.flashduty.answers import MAX_WINDOW_S, IncidentQuery

NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("text", "ago_s"),
    [
        ("30s", 30),
        ("90m", 5400),
        ("24h", 86_400),
        ("3d", 259_200),
        ("2w", 1_209_600),
        ("1h30m", 5400),
        (" 1.5H ", 5400),
    ],
)
def test_a_duration_is_so_long_ago(text: str, ago_s: float) -> None:
    assert moment_s("--since", text, NOW) == NOW - ago_s


def test_an_instant_is_that_instant() -> None:
    eight = datetime(2026, 11, 25, 8, tzinfo=UTC).timestamp()
    assert moment_s("--since", "2026-11-25T08:00Z", NOW) == eight
    assert moment_s("--since", "2026-11-25 09:00+01:00", NOW) == eight
    assert moment_s("--since", "2026-11-25", NOW) == datetime(2026, 11, 25).astimezone().timestamp()


@pytest.mark.parametrize(
    "text", ["", "yesterday", "24", "h", "24x", "-3d", "2026-13-01", "0001-01-01", "1" * 400, "99999999w"]
)
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SettingsError, match=r"--since.*(like 2026|1970)") as refused:
        moment_s("--since", text, NOW)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("text", ["367d", "53w", "999999999w"])
def test_how_long_something_holds_is_a_year_at_most(text: str) -> None:
    with pytest.raises(SettingsError, match="--for must be a year at most"):
        length_s("--for", text)
    assert length_s("--for", "366d") == 366 * 86_400


def test_a_bare_number_gets_a_hint() -> None:
    with pytest.raises(SettingsError, match="did you mean 24h or 24d"):
        moment_s("--since", "24", NOW)


@pytest.mark.parametrize(("since", "until"), [("1h", "2h"), ("1h", "1h"), ("2030-01-01T00:00Z", None)])
def test_nothing_lies_between_a_later_and_an_earlier_time(since: str, until: str | None) -> None:
    with pytest.raises(SettingsError, match="must lie before"):
        Span.of(since, until, NOW)


def test_a_span_has_both_its_ends_in_it() -> None:
    assert Span.of("24h", None, NOW + 0.5) == Span(int(NOW) - 86_400, int(NOW) + 1)
    assert Span.of("24h", "23h", NOW) == Span(int(NOW) - 86_400, int(NOW) - 82_800)


@given(start=st.integers(0, 2**33), length=st.integers(1, 400 * 86_400))
@example(start=0, length=MAX_WINDOW_S)
@example(start=0, length=MAX_WINDOW_S + 1)
def test_the_windows_cover_the_span_and_the_api_takes_each(start: int, length: int) -> None:
    span = Span(start, start + length)
    windows = list(span.windows())
    assert (windows[0].start, windows[-1].end) == (span.start, span.end)
    assert all(one.end == two.start for one, two in pairwise(windows))
    for window in windows:
        IncidentQuery(start_time=window.start, end_time=window.end)
        assert next(span.after(window.start).windows()) == window, "going on begins with the same windows"


def test_it_ends_now_at_the_latest_so_that_no_call_asks_for_the_future() -> None:
    assert Span.of("24h", "2099-01-01", NOW) == Span.of("24h", None, NOW)
    with pytest.raises(SettingsError, match="must lie before now"):
        Span.of("2098-01-01", "2099-01-01", NOW)
