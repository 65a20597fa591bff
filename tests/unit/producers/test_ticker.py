from __future__ import annotations

import io

import pytest

from producers.cli.ticker import Ticker


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def told(stream: io.StringIO, *moments_s: float) -> str:
    clock = Clock()
    with Ticker(stream, clock) as ticker:
        for moment_s in moments_s:
            clock.now_s = 100.0 + moment_s
            ticker.show(f"{moment_s:g}")
    return stream.getvalue()


def test_what_is_done_in_a_moment_shows_nothing() -> None:
    assert told(Terminal(), 0, 0.5, 0.9) == ""


def test_what_takes_longer_is_counted_now_and_then_on_one_line_that_is_gone_at_the_end() -> None:
    assert told(Terminal(), 0.9, 1, 1.1, 1.19, 1.25, 1.3, 2) == "\r1 \r1.25 \r2 \r\x1b[K"


def test_elsewhere_than_on_a_terminal_nothing_is_shown() -> None:
    assert told(io.StringIO(), 1, 2, 3) == ""


def test_the_line_is_gone_after_ctrl_c_too() -> None:
    stream = Terminal()
    with pytest.raises(KeyboardInterrupt):
        interrupted(stream)
    assert stream.getvalue() == "\r5 \r\x1b[K"


def interrupted(stream: io.StringIO) -> None:
    clock = Clock()
    with Ticker(stream, clock) as ticker:
        clock.now_s += 5
        ticker.show("5")
        raise KeyboardInterrupt


class Closed(Terminal):
    def write(self, _text: str) -> int:
        raise OSError(5, "Input/output error")


def test_a_terminal_that_was_closed_stops_nothing() -> None:
    assert told(Closed(), 2, 3) == ""
