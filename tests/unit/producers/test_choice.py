from __future__ import annotations

import pytest

from producers.bad_input import BadInput
from producers.choice import Choice, seconds
from tests.records import NOW_S, dead


def choice(
    *targets: str,
    batch: str | None = None,
    codes: tuple[str, ...] = (),
    older: str | None = None,
    newer: str | None = None,
    account: str | None = None,
) -> Choice:
    return Choice.of(targets, batch, codes, older, newer, account)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30s", 30),
        ("15m", 900),
        ("2h", 7200),
        ("3d", 259_200),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (" 2H ", 7200),
        ("0s", 0),
    ],
)
def test_a_duration_is_read_as_people_write_it(text: str, value: float) -> None:
    assert seconds("--older-than", text) == value


@pytest.mark.parametrize("text", ["", "h", "2", "2 h", "-2h", "2h!", "1w", "٣h", "9" * 5000 + "d", "1e9s", "2h x"])
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(BadInput, match="--older-than must be a duration like 30s, 15m, 2h or 3d") as refused:
        seconds("--older-than", text)
    assert len(str(refused.value)) < 200


def test_a_bare_number_is_asked_for_its_unit() -> None:
    with pytest.raises(BadInput, match="did you mean 90s or 90m"):
        seconds("--newer-than", "90")


def test_ages_that_exclude_each_other_are_refused() -> None:
    with pytest.raises(BadInput, match="nothing is older than '2h' and newer than '1h'"):
        choice(older="2h", newer="1h")
    assert choice(older="1h", newer="2h").takes(dead(ago_s=5400), NOW_S)


@pytest.mark.parametrize(
    ("one", "taken"),
    [
        (choice(), True),
        (choice(codes=("timeout",)), True),
        (choice(codes=("NotJson", "TIMEOUT")), True),
        (choice(codes=("NotJson",)), False),
        (choice(batch="b"), True),
        (choice(batch="c"), False),
        (choice(older="59s"), True),
        (choice(older="61s"), False),
        (choice(newer="61s"), True),
        (choice(newer="59s"), False),
        (choice(codes=("timeout",), batch="c"), False),
    ],
)
def test_every_filter_must_let_a_dead_letter_through(one: Choice, taken: bool) -> None:  # noqa: FBT001 - a table
    assert one.takes(dead("Timeout", ago_s=60, batches=("a", "b")), NOW_S) is taken


def test_a_dead_letter_without_a_code_is_called_none() -> None:
    assert choice(codes=("none",)).takes(dead(""), NOW_S)


@pytest.mark.parametrize(
    "one",
    [
        choice("x"),
        choice(batch="b"),
        choice(codes=("a",)),
        choice(older="0s"),
        choice(newer="1d"),
        choice(account="eu"),
    ],
)
def test_any_filter_names_something(one: Choice) -> None:
    assert one.names_something
    assert not choice().names_something


def test_codes_of_the_api_and_of_our_own_are_known_in_any_case() -> None:
    assert choice(codes=("INVALIDPARAMETER", "timeout", "none")).unfamiliar_codes == set()
    assert choice(codes=("Timeut", "timeout")).unfamiliar_codes == {"timeut"}


def test_a_code_is_said_as_it_was_typed() -> None:
    one = choice(codes=(" Nope", "NotJson"))
    assert one.unfamiliar_codes == {"nope"}
    assert one.as_typed("nope") == "Nope"


def test_a_job_that_is_named_twice_is_meant_once() -> None:
    assert choice("a", "b", "a").targets == ("a", "b")
