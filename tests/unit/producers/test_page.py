"""The status page as HTML and the board on a terminal, drawn from awkward data."""

from __future__ import annotations

import io
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from rich.console import Console

from producers.board import Board
from producers.cli.top import Fitted, Whole
from producers.crew import Crew
from producers.halts import Halt
from producers.http.boards import Eyes
from producers.http.page import ASSETS, asset, asset_at, board_of, clock, render, zone
from producers.http.sessions import Session
from producers.http.tokens import USUAL, Caller
from tests.glances import a_batch, a_glance, letters
from tests.records import NOW_S, UNAUTHORIZED, dead
from worker.newest import Newest
from worker.records import Standing

EVIL = '<script>alert("1")</script>\x1b[31m\u202e&amp;'
SESSION = Session("id", Caller("ops", USUAL, None))


class Tree(HTMLParser):
    """What the browser would make of it: tags that are open, ids, scripts and text."""

    VOID = frozenset({"meta", "link", "input", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.seen: list[str] = []
        self.text = ""
        self.meters = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        names = dict(attrs)
        assert "style" not in names
        self.meters += names.get("role") == "meter"
        assert not [name for name in names if name.startswith("on")]
        if names.get("id"):
            self.ids.append(str(names["id"]))
        if tag not in self.VOID and not self.get_starttag_text().endswith("/>"):  # type: ignore[union-attr]
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def tree(board: Board, *, operates: bool = True) -> Tree:
    page = Tree()
    drawn = board_of(board, Eyes(None, operates))
    page.feed(render("status.html", session=SESSION, said=EVIL, board=drawn))
    page.close()
    assert page.open == []
    assert len(page.ids) == len(set(page.ids)), page.ids
    return page


def evil_board() -> Board:
    record = dead(EVIL, message=EVIL * 20, hint=EVIL, batches=("night", EVIL))
    newest = Newest({"night": a_batch(failed=1), EVIL: a_batch(queued=2)}, [record], 1)
    trouble = replace(UNAUTHORIZED, message=EVIL, hint=EVIL)
    return Board.of([a_glance(newest=newest, halt=Halt("default", trouble, 1.0), crew=Crew({EVIL: 20.0}))], 50)


def many_accounts(count: int) -> Board:
    newest = Newest({"night": a_batch(queued=5, failed=2)}, letters("Timeout", "NoLicense"), 10_000)
    return Board.of([a_glance(f"team-{at}", newest=newest, standing=Standing(1, 5, 0, 1.0)) for at in range(count)], 50)


def test_what_others_wrote_is_text_and_never_markup() -> None:
    page = tree(evil_board())
    assert page.seen.count("script") == 1  # our own, from a file
    assert '<script>alert("1")</script>\\x1b[31m\\u202e&amp;' in page.text
    assert "\x1b" not in page.text
    assert "\u202e" not in page.text


def test_a_reason_of_any_length_makes_no_long_page() -> None:
    newest = Newest({}, [dead(message="x" * 100_000)], 1)
    assert len(render("board.html", board=Board.of([a_glance(newest=newest)], 50), operates=True)) < 10_000


@pytest.mark.parametrize("count", [0, 1, 2, 20])
@pytest.mark.parametrize("operates", [True, False])
def test_every_number_of_accounts_makes_a_sound_page(count: int, *, operates: bool) -> None:
    page = tree(many_accounts(count), operates=operates)
    assert page.meters == 2 * count
    assert ("Replay" in page.text) is (operates and count > 0)
    assert page.seen.count("caption") == page.seen.count("table")


def test_an_account_with_nothing_says_so() -> None:
    text = " ".join(tree(Board.of([a_glance()], 50)).text.split())
    for said in ("idle", "no job waits", "No dead letters.", "No batch is known.", "no call in the last ten minutes"):
        assert said in text


def test_what_to_do_is_said_once_for_a_reason() -> None:
    failed = [*letters("NoLicense", "NoLicense", "Expired", hint="buy one"), *letters("Timeout", hint="wait"), dead()]
    text = " ".join(tree(Board.of([a_glance(newest=Newest({}, failed, 5))], 50)).text.split())
    assert text.count("To do for") == 2
    assert "To do for NoLicense, Expired:buy one To do for Timeout:wait" in text


def test_a_file_beside_the_page_has_its_content_in_its_name() -> None:
    for name, media_type in ASSETS.items():
        found = asset_at(asset(name))
        assert found is not None
        assert found.headers["content-type"] == media_type
        assert "immutable" in found.headers["cache-control"]
    for strange in ("/assets/style.css", "/assets/../page.py", "/assets/layout.html"):
        assert asset_at(strange) is None


def test_times_of_another_day_have_their_day() -> None:
    assert len(clock(NOW_S, NOW_S)) == len("12:34:56")
    assert clock(NOW_S - 3 * 86_400, NOW_S)[2] == "-"
    assert zone(NOW_S).startswith("UTC")


# --- on a terminal ------------------------------------------------------------------------------------------------


def drawn(board: Board, width: int, height: int | None = None, trouble: str = "") -> list[str]:
    out = io.StringIO()
    console = Console(
        file=out, width=width, height=height or 200, color_system=None, markup=False, emoji=False, highlight=False
    )
    console.print(Whole(board) if height is None else Fitted(board, trouble))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("board", [evil_board(), many_accounts(0), many_accounts(1), many_accounts(20)])
def test_no_line_is_wider_than_the_terminal_and_none_takes_it_over(board: Board, width: int) -> None:
    lines = drawn(board, width)
    assert all(len(line) <= width for line in lines)
    assert [line for line in lines if line != line.rstrip()] == []
    assert not [one for line in lines for one in line if not one.isprintable()]


def test_forty_columns_wrap_the_gauges_and_indent_what_they_wrap() -> None:
    lines = drawn(many_accounts(1), 40)
    assert "  0 of 1,000 in the last minute, 1 token" in lines
    wide = Board.of([a_glance(slots_us=(int(NOW_S * 1e6),) * 1000, rates="1000/minute;100000/day")], 50)
    assert "  100,000 a 1 d" in "\n".join(drawn(wide, 40))
    begins = lines.index(next(line for line in lines if line.startswith("    - ")))
    letter = lines[begins : begins + 3]
    assert " ".join(line.strip() for line in letter).endswith("69da451ef77b1b51f40e83ee Timeout: no answer")
    assert all(line.startswith("      ") for line in letter[1:])


def test_eighty_columns_show_it_all() -> None:
    text = "\n".join(drawn(many_accounts(2), 80))
    for said in ("2 accounts", "draining", "night", "4 of 14", "of 1,000 in the last minute", "Timeout: no answer"):
        assert said in text


@pytest.mark.parametrize("height", [2, 10, 24])
def test_the_board_is_cut_to_the_screen_and_says_so(height: int) -> None:
    lines = drawn(many_accounts(20), 80, height)
    assert len(lines) == height
    assert "more lines: warrooms top --account NAME, or a taller window" in lines[-1]


def test_one_account_is_told_to_make_the_window_taller_and_no_more() -> None:
    whole = drawn(Board.of([a_glance()], 50), 80, 40)
    assert whole[-1] == "Ctrl-C ends"
    assert drawn(Board.of([a_glance()], 50), 80, len(whole) - 1)[-1] == "1 more line: a taller window"


@pytest.mark.parametrize(("width", "height"), [(20, 2), (20, 10), (40, 24), (80, 24)])
def test_above_all_it_says_that_redis_is_away_and_why(width: int, height: int) -> None:
    trouble = "not updated since 12:00:00: cannot reach Redis at 127.0.0.1:6379/0 (no answer in time)"
    lines = drawn(many_accounts(20), width, height, trouble)
    assert len(lines) == height
    assert lines[0].startswith("not updated since")
    if height > 2:
        assert trouble.replace(" ", "") in "".join(lines).replace(" ", "")
