"""A refused job says which field each of its sentences is about, and says the same as ever."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers.json_object import json_object
from producers.parsing import FIELDS, Defaults, parse_job, parse_text_job
from worker.errors import InvalidJob

DEFAULTS = Defaults(integration_ids={"default": 7}, known_accounts=frozenset({"default", "bare"}))
ID = "69da451ef77b1b51f40e83ee"


def problems(fields: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    with pytest.raises(InvalidJob) as caught:
        parse_job(fields, DEFAULTS)
    return caught.value.problems


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "incident_id"),
        ({"incident_id": "x"}, "incident_id"),
        ({"incident_id": ID, "integration_id": 0}, "integration_id"),
        ({"incident_id": ID, "account": "bare"}, "integration_id"),
        ({"incident_id": ID, "account": "nobody"}, "account"),
        ({"incident_id": ID, "member_ids": [1, 2, "x"]}, "member_ids[2]"),
        ({"incident_id": ID, "urgent": "yes"}, "urgent"),
        ({"incident_id": ID, "batch": "a b"}, "batch"),
        ({"incident_id": ID, "lane": "urgent"}, "lane"),
    ],
)
def test_every_sentence_has_its_field(fields: dict[str, Any], field: str) -> None:
    ((named, sentence),) = problems(fields)
    assert named == field
    assert sentence.strip("'").startswith(field)


def test_cells_of_text_have_their_fields_too() -> None:
    with pytest.raises(InvalidJob) as caught:
        parse_text_job({"incident_id": ID, "integration_id": "seven", "urgent": "maybe"}, DEFAULTS)
    assert [field for field, _ in caught.value.problems] == ["integration_id", "urgent"]


def test_problems_are_few_and_short_whatever_comes() -> None:
    found = problems({"x" * 100_000 + str(number): 1 for number in range(1000)})
    assert len(found) == 8
    assert all(len(field) <= 40 for field, _ in found)


Values = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30) | st.lists(st.integers())


@given(st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=10), Values, max_size=6))
def test_the_text_is_the_sentences(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob) as caught:
        parse_job(fields | {"urgent": "perhaps"}, DEFAULTS)
    assert str(caught.value) == "; ".join(sentence for _, sentence in caught.value.problems)


@pytest.mark.parametrize(("text", "value"), [("7.0", 7), ("7e0", 7), ("7.5", 7.5), ("1e300", 1e300), ("-0.0", 0)])
def test_a_whole_number_is_one_however_it_is_written(text: str, value: float) -> None:
    read = json_object(f'{{"a": {text}}}')["a"]
    assert read == value
    assert isinstance(read, int) == (value in {7, 0})


def test_where_json_breaks_is_said_with_its_line() -> None:
    with pytest.raises(InvalidJob, match=r"line 2, column 6\); the body is one object"):
        json_object('{\n "a" 1}')
