"""A thousand malformed files from a generator: each bad line a clear refusal, no good line lost, the command stands."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any, Final

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from producers.backlog import BadLine, GoodLine, read_jobs
from producers.cli import main
from producers.parsing import Defaults

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

DEFAULTS: Final = Defaults(integration_ids={"default": 5}, known_accounts=frozenset({"default"}))
CLEAR: Final = 10
"""Characters that a reason has at the least."""

IDS: Final = st.from_regex(r"[0-9a-f]{24}", fullmatch=True)
NO_IDS: Final = st.from_regex(r"[0-9a-f]{1,23}|[0-9a-f]{25,40}|[g-z]{24}", fullmatch=True)
VALUES: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)
NO_JOBS: Final = st.one_of(
    st.fixed_dictionaries({"incident_id": NO_IDS}),
    st.fixed_dictionaries({"incident_id": VALUES.filter(lambda value: not isinstance(value, str))}),
    st.fixed_dictionaries({"integration_id": st.integers(1, 9)}),
    *(
        st.fixed_dictionaries({"incident_id": IDS, name: wrong})
        for name, wrong in {
            "integration_id": st.sampled_from([0, -1, 2**63, 5.5, "7", True, [7]]),
            "member_ids": st.sampled_from([7, "7", [0], ["7"], [True], {}]),
            "add_observers": st.sampled_from([0, "yes", []]),
            "account": st.sampled_from(["nobody", "", 7, "a.b"]),
            "batch": st.sampled_from(["", "a b", 7, "x" * 101]),
            "urgent": st.sampled_from([1, "true", {}]),
            "colour": VALUES,
        }.items()
    ),
)
NO_OBJECTS: Final = VALUES.filter(lambda value: not isinstance(value, dict)).map(json.dumps)
TORN: Final = IDS.map(lambda one: json.dumps({"incident_id": one})).flatmap(
    lambda text: st.integers(1, len(text) - 1).map(lambda at: text[:at])
)
BAD_JSON_LINES: Final = st.one_of(
    NO_JOBS.map(json.dumps),
    NO_OBJECTS,
    TORN,
    st.just('{"incident_id": NaN}'),
    st.just('{"a": ' * 3000),
    st.integers(4400, 5000).map(lambda digits: '{"integration_id": ' + "9" * digits + "}"),
)


def lines(good: st.SearchStrategy[str], bad: st.SearchStrategy[str]) -> st.SearchStrategy[list[tuple[bool, str]]]:
    """Lines, each with whether it is good; the first one is, so that the file's form is known."""
    one = st.tuples(st.just(True), good) | st.tuples(st.just(False), bad)
    return st.tuples(st.tuples(st.just(True), good), st.lists(one, max_size=8)).map(lambda all_: [all_[0], *all_[1]])


def judged(text: str) -> tuple[list[int], list[BadLine]]:
    """The lines that gave jobs, and those that did not."""
    found = list(read_jobs(io.BytesIO(text.encode()), DEFAULTS))
    return [each.line for each in found if isinstance(each, GoodLine)], [
        each for each in found if isinstance(each, BadLine)
    ]


def assert_each_is_judged(file: list[tuple[bool, str]], text: str, first_line: int) -> None:
    good, bad = judged(text)
    assert good == [n for n, (is_good, _) in enumerate(file, first_line) if is_good], "no good line is lost"
    assert [each.line for each in bad] == [n for n, (is_good, _) in enumerate(file, first_line) if not is_good]
    for each in bad:
        assert len(each.reason) >= CLEAR
        assert each.reason.isprintable(), "nothing in a file can take the terminal over"


@settings(max_examples=350, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lines(IDS.map(lambda one: json.dumps({"incident_id": one})), BAD_JSON_LINES))
def test_json_lines(file: list[tuple[bool, str]]) -> None:
    assert_each_is_judged(file, "".join(f"{text}\n" for _, text in file), 1)


@settings(max_examples=350, deadline=None)
@given(lines(IDS, NO_IDS))
def test_lists_of_ids(file: list[tuple[bool, str]]) -> None:
    assert_each_is_judged(file, "".join(f"{text}\n" for _, text in file), 1)


CELLS: Final = st.text(st.characters(exclude_categories=["C"], exclude_characters="\r\n\x85\u2028\u2029"), max_size=9)
BAD_ROWS: Final = st.one_of(
    st.tuples(NO_IDS, st.just("5"), st.just("")),
    st.tuples(IDS, st.sampled_from(["0", "-1", "5.5", "1_000", "\uff19", "9" * 20, "x"]), st.just("")),
    st.tuples(IDS, st.just("5"), st.sampled_from(["maybe", "2", "ja"])),
    st.lists(CELLS, min_size=4, max_size=6).map(tuple),
    st.tuples(IDS, st.just("5")),
).map(list)


def row(cells: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


@settings(max_examples=350, deadline=None)
@given(lines(IDS.map(lambda one: row([one, "5", "true"])), BAD_ROWS.map(row)))
def test_csv(file: list[tuple[bool, str]]) -> None:
    header = "incident_id,integration_id,urgent\n"
    assert_each_is_judged(file, header + "".join(f"{text}\n" for _, text in file), 2)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=80)
    | st.lists(BAD_JSON_LINES, max_size=3).map(lambda bad: "\n".join(bad).encode())
    | st.tuples(IDS, st.binary(max_size=40)).map(lambda parts: parts[0].encode() + b"\n" + parts[1])
)
@example(b"")
@example(b"\xff\xfe")
@example(b"\n\n")
def test_the_command_answers_any_bytes_with_an_exit_code_and_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    monkeypatch.setenv("FLASHDUTY_INTEGRATION_ID", "5")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    file = tmp_path / "jobs"
    file.write_bytes(content)
    code = main(["bulk", str(file), "--dry-run"])
    said = capsys.readouterr()
    assert code in {0, 2}
    assert "our own fault" not in said.err
    assert (code == 0) is (said.err == ""), "what is refused is said"
