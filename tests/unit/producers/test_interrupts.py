"""SIGTERM and SIGHUP as interrupts; sent by this process to itself."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from producers.cli.exits import Exit
from producers.cli.interrupts import EXITS, EndAsked, as_interrupts, exit_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in EXITS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", EXITS)
def test_a_signal_interrupts_and_its_exit_code_is_128_and_its_number(number: signal.Signals) -> None:
    with pytest.raises(EndAsked) as asked, as_interrupts():
        signal.raise_signal(number)
    assert exit_of(asked.value) == 128 + number


def test_ctrl_c_is_what_it_was() -> None:
    assert exit_of(KeyboardInterrupt()) is Exit.INTERRUPTED == 128 + signal.SIGINT


def test_after_the_first_one_no_other_disturbs_the_end() -> None:
    with pytest.raises(EndAsked), as_interrupts():
        signal.raise_signal(signal.SIGHUP)
    for number in EXITS:
        signal.raise_signal(number)


def test_what_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with as_interrupts():
        signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_if_none_came_everything_is_as_before() -> None:
    before = {number: signal.getsignal(number) for number in EXITS}
    with as_interrupts():
        assert {number: signal.getsignal(number) for number in EXITS} != before
    assert {number: signal.getsignal(number) for number in EXITS} == before
