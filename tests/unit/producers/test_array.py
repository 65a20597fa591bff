"""A JSON array is read like JSON Lines, wherever its bytes are cut."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from producers import array
from producers.backlog import BadLine, GoodLine, read_array
from producers.lines import UnreadableFile
from producers.parsing import Defaults

DEFAULTS = Defaults(integration_ids={"default": 7})
ID = "69da451ef77b1b51f40e83ee"

Values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


class Drip(io.BytesIO):
    """A stream that gives so many bytes at a time."""

    def __init__(self, data: bytes, size: int) -> None:
        super().__init__(data)
        self._size = size

    def read(self, _size: int | None = -1) -> bytes:
        return super().read(self._size)


def lines(text: str, size: int = 65536) -> list[str]:
    stream = io.BufferedReader(array.ArrayLines(Drip(text.encode(), size)))
    return stream.read().decode().splitlines()


@given(st.lists(Values, max_size=5), st.integers(1, 7), st.sampled_from([None, 1]))
def test_each_element_is_one_line_wherever_the_bytes_are_cut(values: list[Any], size: int, indent: int | None) -> None:
    found = [json.loads(line) for line in lines(json.dumps(values, indent=indent), size) if line.strip()]
    assert found == values


def test_elements_are_jobs_or_say_what_is_wrong() -> None:
    text = json.dumps([{"incident_id": ID}, {"incident_id": "x"}, 3, [[]], {"incident_id": ID, "urgent": True}])
    read = list(read_array(io.BytesIO(text.encode()), DEFAULTS))
    assert [type(line) for line in read] == [GoodLine, BadLine, BadLine, BadLine, GoodLine]
    assert [line.line for line in read] == [1, 2, 3, 4, 5]


def test_a_line_end_within_a_string_costs_one_element() -> None:
    read = list(read_array(io.BytesIO(b'[{"incident_id": "a\nb"}, {"incident_id": "%s"}]' % ID.encode()), DEFAULTS))
    assert [type(line) for line in read] == [BadLine, GoodLine]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cut off"),
        ("[", "cut off"),
        ('[{"a": "]"}', "cut off"),
        ("{}", "must be a JSON array"),
        ('"[]"', "must be a JSON array"),
        ("[] 1", "goes on behind the end"),
        ("[][]", "goes on behind the end"),
        ("[}", "a '}' too many"),
        ("[1,]", "behind element 1 take out the last ','"),
        ("[1, 2 ,\n ]", "behind element 2 take out the last ','"),
        ("[,1]", "element 1 is empty; take the ',' behind it out"),
        ('["a",[],,{}]', "element 3 is empty"),
        ("[,]", "element 1 is empty"),
    ],
)
def test_what_is_no_array_is_refused_as_a_whole(text: str, says: str) -> None:
    with pytest.raises(UnreadableFile, match=says):
        lines(text, 1)


def test_a_byte_order_mark_is_no_part_of_it() -> None:
    assert lines("\ufeff [1, 2]") == ["1", " 2"]
