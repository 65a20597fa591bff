from __future__ import annotations

import csv
import gzip
import io
import json
import tracemalloc
import zipfile
from dataclasses import FrozenInstanceError
from itertools import chain, repeat
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from producers.backlog import BadLine, Form, GoodLine, read_jobs
from producers.lines import LINE_BYTES_MAX, UnreadableFile
from producers.parsing import FIELDS, Defaults
from worker.errors import InvalidJob
from worker.jobs import INT64_MAX, Lane, WarRoomJob

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer

DEFAULTS = Defaults(integration_ids={"default": 5})
A, B, C = (digit * 24 for digit in "abc")
MIB = 1024 * 1024

JOBS = st.lists(
    st.builds(
        WarRoomJob,
        account=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", fullmatch=True),
        incident_id=st.from_regex(r"[0-9a-f]{24}", fullmatch=True),
        integration_id=st.integers(1, INT64_MAX),
        member_ids=st.lists(st.integers(1, INT64_MAX), max_size=4, unique=True).map(tuple),
        add_observers=st.booleans(),
        lane=st.sampled_from(Lane),
        batch=st.none() | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True),
    ),
    min_size=1,
    max_size=6,
)


def read(data: bytes | str, form: Form | None = None) -> list[GoodLine | BadLine]:
    raw = data.encode() if isinstance(data, str) else data
    return list(read_jobs(io.BytesIO(raw), DEFAULTS, form=form))


def short(results: list[GoodLine | BadLine]) -> list[tuple[int, str]]:
    """The line and the incident's first digit, or `bad`."""
    return [(each.line, each.job.incident_id[0] if isinstance(each, GoodLine) else "bad") for each in results]


def reason(data: bytes | str, line: int, form: Form | None = None) -> str:
    (bad,) = [each for each in read(data, form) if isinstance(each, BadLine)]
    assert bad.line == line
    return bad.reason


def unreadable(data: bytes | str, form: Form | None = None) -> str:
    with pytest.raises(UnreadableFile) as caught:
        read(data, form)
    return str(caught.value)


def fields_of(job: WarRoomJob) -> dict[str, object]:
    fields = job.model_dump(exclude={"lane"})
    return fields | {"member_ids": list(job.member_ids), "urgent": job.lane is Lane.URGENT}


class Pieces(io.RawIOBase):
    """A file that stands nowhere: its bytes come piece by piece."""

    def __init__(self, *pieces: Iterable[bytes]) -> None:
        self._pieces = filter(None, chain(*pieces))  # no bytes would mean the end
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        piece = self._left or next(self._pieces, b"")
        view = memoryview(buffer)
        size = min(len(piece), len(view))
        view[:size] = piece[:size]
        self._left = piece[size:]
        return size


# What a good file gives


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([A, B], [(1, "a"), (2, "b")]),
        (["", "# from the pager", A, "  ", f"  {B} ", "#end", C.upper()], [(3, "a"), (5, "b"), (7, "c")]),
        ([f'{{"incident_id": "{A}"}}', "", f'{{"incident_id": "{B}"}}'], [(1, "a"), (3, "b")]),
        (["incident_id", A, "", B], [(2, "a"), (4, "b")]),
        (["", "# note", " incident_id , integration_id", f"{A}, 7"], [(4, "a")]),
        (["integration_id;incident_id", f"7;{A}", f";{B}"], [(2, "a"), (3, "b")]),
        (["incident_id\tmember_ids", f"{A}\t7;8", f"{B}\t7,8"], [(2, "a"), (3, "b")]),
        (['"incident_id","member_ids"', f'"{A}", "7,8"'], [(2, "a")]),
        (["incident_id,member_ids", f'{A},"7', "", '8"', f"{B},9"], [(2, "a"), (5, "b")]),
    ],
)
def test_each_form_is_told_by_its_first_line(
    lines: list[str], expected: list[tuple[int, str]], mark: str, end: str
) -> None:
    assert short(read(mark + end.join(lines))) == expected
    assert short(read(mark + end.join(lines) + end)) == expected


@given(JOBS)
def test_jobs_written_as_json_lines_are_read_back_equal(jobs: list[WarRoomJob]) -> None:
    text = "".join(json.dumps(fields_of(job)) + "\n" for job in jobs)

    assert read(text) == [GoodLine(line, job) for line, job in enumerate(jobs, 1)]


@given(JOBS, st.sampled_from([",", ";", "\t"]), st.sampled_from(["excel", "unix"]))
def test_jobs_written_as_csv_are_read_back_equal(jobs: list[WarRoomJob], delimiter: str, dialect: str) -> None:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, FIELDS, delimiter=delimiter, dialect=dialect)
    writer.writeheader()
    for job in jobs:
        writer.writerow(fields_of(job) | {"member_ids": ",".join(map(str, job.member_ids))})

    assert read(file.getvalue()) == [GoodLine(line, job) for line, job in enumerate(jobs, 2)]


def test_the_same_job_twice_is_passed_on_twice() -> None:
    assert short(read(f"{A}\n{A}\n")) == [(1, "a"), (2, "a")]


def test_jobs_come_before_the_file_is_read_to_its_end() -> None:
    stream = io.BufferedReader(Pieces(repeat(f"{A}\n".encode())))

    assert next(read_jobs(stream, DEFAULTS)) == GoodLine(1, WarRoomJob(incident_id=A, integration_id=5))


def test_results_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        read(A)[0].line = 2  # type: ignore[misc]


# One bad line


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "is not JSON: Expecting property name enclosed in double quotes (column 2)"),
        (f'{{"incident_id": "{A}"}},', "is not JSON: Extra data"),
        (f'"{A}"', f'must be an object like {{"incident_id": "…"}}, got \'{A}\''),
        ("[1]", 'must be an object like {"incident_id": "…"}, got a list'),
        (f'{{"incident_id": "{A}", "incident_id": "{B}"}}', "'incident_id' stands twice in the object"),
        (f'{{"incident_id": "{A}", "integration_id": NaN}}', "is not JSON: NaN is no JSON number"),
        (f'{{"incident_id": "{A}", "integration_id": -Infinity}}', "is not JSON: -Infinity is no JSON number"),
        (f'{{"incident_id": "{A}", "integration_id": 1e999}}', "integration_id must be a whole number, got inf"),
        (f'{{"incident_id": "{A}", "integration_id": {"9" * 5000}}}', "has a number with thousands of digits"),
        (f'{{"incident_id": "{A}", "integration_id": {"9" * 4000}}}', "integration_id must be from 1 to"),
        ('{"a":' * 100_000, "is nested too deep"),
        (f'{{"member_ids": {"[" * 400}{"]" * 400}}}', "incident_id is missing; member_ids[0] must be"),
        (f'{{"incident_id": "{A}", "integration_id": "5"}}', "integration_id must be a whole number, got '5'"),
        ("# a remark after the first record", "is not JSON"),
    ],
)
def test_a_bad_json_line_says_why_and_the_rest_goes_on(line: str, why: str) -> None:
    good = f'{{"incident_id": "{C}"}}'
    data = f"{good}\n{line}\n{good}\n"

    assert short(read(data)) == [(1, "c"), (2, "bad"), (3, "c")]
    assert reason(data, 2).startswith(why)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (f"{A},5,6", "has 3 cells, the header has 2"),
        (A, "has 1 cell, the header has 2"),
        (f"{A},5.0", "integration_id must be a whole number in at most 19 decimal digits, got '5.0'"),
        (",", "incident_id is missing"),
        (f'{A},"5"6', "is not CSV: ',' expected after '\"'; is a quote left open?"),
        (f"{A},\r5", "is not CSV: new-line character"),
        (f"{A},{'5' * 200_000}", "is not CSV: field larger than field limit (131072)"),
    ],
)
def test_a_bad_csv_row_says_why_and_the_rest_goes_on(row: str, why: str) -> None:
    data = f"incident_id,integration_id\n{C},5\n{row}\n{C},5\n"

    assert short(read(data)) == [(2, "c"), (3, "bad"), (4, "c")]
    assert reason(data, 3).startswith(why)


def test_a_csv_row_takes_the_process_wide_field_limit_as_it_is() -> None:
    before = csv.field_size_limit()

    read(f"incident_id\n{A}\n")

    assert csv.field_size_limit() == before


@pytest.mark.parametrize("head", ["", "incident_id\n", f'{{"incident_id": "{A}"}}\n'])
def test_a_line_that_is_not_utf_8_is_one_bad_line(head: str) -> None:
    good = f'{{"incident_id": "{C}"}}' if head.startswith("{") else C
    line = head.count("\n") + 2
    data = f"{head}{good}\n".encode() + b"caf\xe9\n" + f"{good}\n".encode()

    assert reason(data, line) == "is not UTF-8: byte 0xe9 at position 4"
    assert short(read(data))[-1] == (line + 1, "c")


def test_a_first_line_that_is_not_utf_8_does_not_decide_the_form() -> None:
    assert short(read(b'\xe9\n{"incident_id": "%s"}\n' % A.encode())) == [(1, "bad"), (2, "a")]


@pytest.mark.parametrize(
    ("size", "why"),
    [
        (LINE_BYTES_MAX, "incident_id must be 24 hexadecimal digits"),
        (LINE_BYTES_MAX + 1, "is longer than 1 MiB"),
        (LINE_BYTES_MAX + 2, "is longer than 1 MiB"),
        (LINE_BYTES_MAX * 3, "is longer than 1 MiB"),
    ],
)
@pytest.mark.parametrize("line", [1, 2])
def test_a_line_longer_than_1_mib_is_one_bad_line(size: int, why: str, line: int) -> None:
    data = f"{A}\n" * (line - 1) + "f" * (size - 1) + "\n" + f"{A}\n"

    assert reason(data, line, Form.IDS).startswith(why)
    assert short(read(data, Form.IDS))[-1] == (line + 1, "a")


def test_a_file_of_nothing_but_bad_lines_is_not_called_empty() -> None:
    assert short(read(b"\xff\n\n\xff")) == [(1, "bad"), (3, "bad")]


def test_blanks_longer_than_1_mib_are_one_line() -> None:
    assert short(read(" " * 3 * MIB + "\n" + A)) == [(1, "bad"), (2, "a")]


@pytest.mark.parametrize(
    ("form", "head"),
    [
        (None, b""),
        (Form.IDS, b"# from the pager\n"),
        (Form.JSONL, b"{}\n"),
        (Form.CSV, b"incident_id\n"),
        (Form.CSV, b'incident_id\n"an open quote\n'),
    ],
)
def test_a_line_of_200_mb_takes_constant_memory(form: Form | None, head: bytes) -> None:
    long_line = head.count(b"\n") + 1
    pieces = Pieces([head], repeat(b"f" * 8000, 25_000), [f"\n{A}\n".encode()])
    tracemalloc.start()
    try:
        results = list(read_jobs(io.BufferedReader(pieces), DEFAULTS, form=form))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert BadLine(long_line, "is longer than 1 MiB") in results
    assert results[-1].line == long_line + 1
    assert peak < 8 * MIB


# An open quote


@pytest.mark.parametrize(
    "rows",
    [
        [f'{A},"7', *[f"{B},7"] * 3],
        [f'{A},"7', *[f'{B},"7;8"'] * 3],
        [f'{A},"7', f"{B},7", "", f'{B},"7"', f"{B},7"],
    ],
)
def test_an_open_quote_costs_one_line(rows: list[str]) -> None:
    data = "\n".join(["incident_id,member_ids", *rows])
    others = [(line, "b") for line, row in enumerate(rows[1:], 3) if row]

    assert short(read(data)) == [(2, "bad"), *others]


def test_an_open_quote_is_named_as_the_likely_reason() -> None:
    assert reason(f'incident_id\n"{A}\n', 2).endswith("is a quote left open?")


def test_an_open_quote_does_not_swallow_a_file_beyond_1_mib() -> None:
    rows = 3 * MIB // 25
    data = f'incident_id\n"{A}\n' + f"{B}\n" * rows

    results = read(data)

    assert short(results[:1]) == [(2, "bad")]
    assert [each.line for each in results] == list(range(2, rows + 3))
    assert all(isinstance(each, GoodLine) for each in results[1:])


def test_quotes_that_reopen_on_each_line_do_not_make_reading_quadratic() -> None:
    rows = 4_000
    row = b'x",",' + b"z" * 1_000 + b"\n"  # each line closes the quote and opens the next: no record ever ends

    results = read(b"incident_id,account\n" + row * rows)

    assert [each.line for each in results] == list(range(2, rows + 2))
    assert all(isinstance(each, BadLine) for each in results)


def test_a_bad_record_of_several_lines_hides_none_of_them() -> None:
    data = f'incident_id,member_ids\nx,"7\n{B},8\n"\n{C},9\n'

    assert short(read(data)) == [(2, "bad"), (3, "b"), (4, "bad"), (5, "c")]


def test_a_line_that_is_not_utf_8_after_an_open_quote_is_told_by_itself() -> None:
    data = b'incident_id\n"%s\n\xff\n%s\n' % (A.encode(), B.encode())

    assert short(read(data)) == [(2, "bad"), (3, "bad"), (4, "b")]


# A file that cannot be read


def gzipped() -> bytes:
    return gzip.compress(A.encode())


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("jobs.csv", A)
    return file.getvalue()


NOT_TEXT = "is not UTF-8 text (looks like UTF-16 / a binary file)"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is empty: no job in it"),
        (b"\xef\xbb\xbf", "is empty: no job in it"),
        (b"\n \r\n# nothing yet\n", "is empty: no job in it"),
        (A.encode("utf-16"), f"line 1: {NOT_TEXT}"),
        (A.encode("utf-16-be"), f"line 1: {NOT_TEXT}"),
        (A.encode("utf-32"), f"line 1: {NOT_TEXT}"),
        (b"\x7fELF\x02\x00", f"line 1: {NOT_TEXT}"),
        (b"\n\0\n", f"line 2: {NOT_TEXT}"),
        (b"\x89PNG\r\n\0\0\0", f"line 2: {NOT_TEXT}"),
        (b"\n\n[\n", "line 3: is a JSON array, not JSON Lines; convert it with: jq -c '.[]' FILE"),
        (b'[{"incident_id": "a"}]', "line 1: is a JSON array"),
        (f"{A},5\n".encode(), "line 1: is no CSV header; name the columns there: incident_id,integration_id,"),
        (b"incident_id,colour\n", "line 1: column 'colour' is not a field of a job; the fields are incident_id,"),
        (b"Incident_ID\n", "line 1: column 'Incident_ID' is not a field of a job; did you mean 'incident_id'?"),
        (b"incident_id,lane\n", "line 1: column 'lane' is not a field of a job; did you mean 'urgent'?"),
        (b"\nincident_id;batch;batch\n", "line 2: column 'batch' stands twice"),
        (b"incident_id,,\n", "line 1: column 2 has no name"),
        (b"integration_id,urgent\n", "line 1: column 'incident_id' is missing"),
        (gzipped(), "line 1: is compressed with gzip; unpack it first: gunzip -c FILE"),
        (zipped(), "line 1: is a zip archive or an Excel workbook; unpack it, or save it as CSV"),
    ],
)
def test_a_file_that_cannot_be_read_says_where_and_why(data: bytes, why: str) -> None:
    assert unreadable(data).startswith(why)


def test_the_error_of_a_file_is_an_invalid_job_to_every_door() -> None:
    assert issubclass(UnreadableFile, InvalidJob)


@pytest.mark.parametrize("head", ["", "incident_id,batch\n", f'{{"incident_id": "{A}"}}\n'])
def test_a_nul_byte_in_a_later_line_costs_that_line(head: str) -> None:
    good = f'{{"incident_id": "{C}"}}' if head.startswith("{") else f"{C},b" if head else C
    line = head.count("\n") + 2
    data = f"{head}{good}\n{good}\0\n{good}\n"

    assert reason(data, line) == f"has a NUL byte at position {len(good) + 1}: it is damaged, or no text"
    assert short(read(data))[-1] == (line + 1, "c")


def test_nul_bytes_in_lines_that_are_not_next_to_each_other_cost_those_lines() -> None:
    data = f"{A}\n" + f"\0\n\0\n{B}\n" * 9

    assert [line for line, what in short(read(data)) if what == "bad"] == [n for n in range(2, 28) if n % 3 != 1]


@pytest.mark.parametrize("head", [f"{A}\n", f'incident_id\n{A}\n"{A}\n"{A}\n'])
def test_from_where_a_file_is_binary_it_is_not_read_and_that_is_said(head: str) -> None:
    results: list[GoodLine | BadLine] = []
    with pytest.raises(UnreadableFile) as caught:
        results.extend(iter_kept(head + "\0a\n\0b\n\0c\n" + f"{B}\n", results))
    first = head.count("\n") + 1

    assert [each.line for each in results][-2:] == [first, first + 1]
    assert {each.line for each in results} >= set(range(2, first))
    assert str(caught.value).startswith(f"line {first + 2}: has a NUL byte, as the 2 lines before")
    assert str(caught.value).endswith("and the rest was not read")


def iter_kept(data: str, kept: list[GoodLine | BadLine]) -> list[GoodLine | BadLine]:
    """Reads everything; what came before an error is kept."""
    for each in read_jobs(io.BytesIO(data.encode()), DEFAULTS):
        kept.append(each)  # noqa: PERF402 - an error must not take along what came before it
    return []


# A form that the caller names


@pytest.mark.parametrize("form", Form)
def test_a_named_form_is_not_guessed(form: Form) -> None:
    data = {Form.IDS: f"incident_id\n{A}", Form.JSONL: f"{A}\n{B}", Form.CSV: f"batch;incident_id\n;{A}"}

    expected = {Form.IDS: [(1, "bad"), (2, "a")], Form.JSONL: [(1, "bad"), (2, "bad")], Form.CSV: [(2, "a")]}
    assert short(read(data[form], form)) == expected[form]


def test_csv_without_a_header_is_refused_though_it_looks_like_ids() -> None:
    assert unreadable(f"{A}\n{B}\n", Form.CSV).startswith("line 1: is no CSV header")


# Any bytes at all

PIECES = st.sampled_from(
    [
        A.encode(),
        b"incident_id,member_ids\n",
        b'{"incident_id": "%s"}\n' % B.encode(),
        b'"7\n8"\n',
        *[b"\n", b"\r\n", b'"', b",", b";", b"#", b" ", b"{", b"[", b"\xff", b"\xef\xbb\xbf", b"\0"],
    ]
)


@given(st.lists(PIECES | st.binary(max_size=6), max_size=30).map(b"".join), st.sampled_from([None, *Form]))
@example(b"\xef\xbb\xbf\xef\xbb\xbf", None)
@example(b'incident_id,member_ids\n%s,"7\n8\n9\n\0\n\0\n\0\n' % A.encode(), None)
@example(b'incident_id,member_ids\n%s,"7\n8"\n' % A.encode(), None)
def test_no_bytes_lose_a_line_in_silence(data: bytes, form: Form | None) -> None:
    results: list[GoodLine | BadLine] = []
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    try:
        for each in read_jobs(io.BytesIO(data), DEFAULTS, form=form):
            results.append(each)  # noqa: PERF402 - an error must not take along what came before it
    except UnreadableFile as error:
        seen = str(error)
        del lines[int(seen.split()[1].rstrip(":")) - 1 if seen.startswith("line") else len(lines) :]

    told = [each.line for each in results]
    assert told == sorted(set(told))
    assert all(each.reason.isprintable() for each in results if isinstance(each, BadLine))
    unaccounted = [
        line for number, line in enumerate(lines, 1) if number not in told and not _may_be_silent(line, number, results)
    ]
    assert len(unaccounted) <= 1  # the CSV header
    assert all(b"incident_id" in line for line in unaccounted)


def _may_be_silent(line: bytes, number: int, results: list[GoodLine | BadLine]) -> bool:
    text = line.decode(errors="replace").strip()
    before = [each for each in results if each.line < number]
    inside_a_good_record = bool(before) and isinstance(before[-1], GoodLine) and b'"' in line
    return not text or text.startswith("#") or inside_a_good_record
