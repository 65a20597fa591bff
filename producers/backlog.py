"""A backlog from a file -> jobs, one line at a time in constant memory, whatever the bytes.

Three forms: `ids` (one incident id a line), `jsonl` (one JSON object a line) and `csv` (the first line names the
columns). What is wrong with one line is a BadLine and the rest goes on; what is wrong with the file raises.
Blank lines are skipped; so are lines that begin with `#`, in `ids` everywhere, else before the first record.

csv.field_size_limit() is the whole process's, so it stays as it is: a cell beyond it (128 KiB) makes a BadLine.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO, Self, cast

from producers.array import ArrayLines
from producers.console import many
from producers.json_object import json_object
from producers.lines import LINE_BYTES_MAX, BrokenLine, Source, UnreadableFile
from producers.parsing import FIELDS, Defaults, parse_job, parse_text_job, unknown_field
from worker.errors import InvalidJob

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from worker.jobs import WarRoomJob


class Form(StrEnum):
    """How a file writes its jobs."""

    CSV = "csv"
    JSONL = "jsonl"
    IDS = "ids"


@dataclass(frozen=True, slots=True)
class GoodLine:
    """A job, and the line, from 1, where its record starts."""

    line: int
    job: WarRoomJob


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line, from 1, that gave no job, and why; and each field that is to blame, if one is, with its sentence."""

    line: int
    reason: str
    problems: tuple[tuple[str, str], ...] = ()


def read_jobs(stream: BinaryIO, defaults: Defaults, *, form: Form | None = None) -> Iterator[GoodLine | BadLine]:
    """The jobs of a file in its order, read as they are asked for; a job that stands twice comes twice.

    Args:
        stream: a buffered binary stream, at its beginning.
        defaults: what a record gets that does not say otherwise.
        form: how the file is written; None decides by its first line.

    Raises:
        UnreadableFile: while iterating.
    """
    source = Source(stream)
    line = yield from _first_record(source)
    if not line:
        return
    text = line.decode().strip()
    if text.startswith("["):
        source.unreadable("is a JSON array, not JSON Lines; convert it with: jq -c '.[]' FILE")
    delimiter, columns = _columns(text)
    form = form or _detect(text, columns)
    if form is Form.CSV:
        _check_columns(source, columns)
        yield from _read_csv(source, delimiter, columns, defaults)
    else:
        source.push_back(line)
        yield from _read_lines(source, defaults, form)


def read_array(stream: BinaryIO, defaults: Defaults) -> Iterator[GoodLine | BadLine]:
    """The jobs of a JSON array in its order; `line` is the element's number.

    Raises:
        UnreadableFile: while iterating.
    """
    lines = cast("BinaryIO", io.BufferedReader(ArrayLines(stream)))
    return _read_lines(Source(lines), defaults, Form.JSONL)


def _first_record(source: Source) -> Generator[BadLine, None, bytes]:
    """The first line that is not blank, no comment and not broken; empty if only broken ones are there."""
    broken = False
    while line := source.read():
        try:
            text = source.text(line).strip()
        except BrokenLine as error:
            broken = True
            yield BadLine(source.line, str(error))
            continue
        if text and not text.startswith("#"):
            return line
    if not broken:
        raise UnreadableFile("is empty: no job in it")
    return b""


def _detect(text: str, columns: list[str]) -> Form:
    if text.startswith("{"):
        return Form.JSONL
    return Form.CSV if len(columns) > 1 or _known(columns) else Form.IDS


def _columns(text: str) -> tuple[str, list[str]]:
    """The delimiter under which the line looks most like a header, and the line's cells under it."""
    found: list[tuple[str, list[str]]] = [(",", [])]
    for delimiter in (",", ";", "\t"):
        try:
            row = next(csv.reader([text], delimiter=delimiter, skipinitialspace=True, strict=True))
        except csv.Error:
            continue
        found.append((delimiter, [cell.strip() for cell in row]))
    return max(found, key=lambda each: (_known(each[1]), len(each[1])))


def _known(columns: list[str]) -> int:
    return sum(column.lower() in FIELDS for column in columns)


def _check_columns(source: Source, columns: list[str]) -> None:
    if not _known(columns):
        source.unreadable(f"is no CSV header; name the columns there: {','.join(FIELDS)}")
    for index, column in enumerate(columns):
        if not column:
            source.unreadable(f"column {index + 1} has no name")
        if column not in FIELDS:
            source.unreadable(f"column {unknown_field(column)}")
        if column in columns[:index]:
            source.unreadable(f"column '{column}' stands twice")
    if "incident_id" not in columns:
        source.unreadable("column 'incident_id' is missing")


def _read_lines(source: Source, defaults: Defaults, form: Form) -> Iterator[GoodLine | BadLine]:
    ids = form is Form.IDS
    while line := source.read():
        number = source.line
        try:
            text = source.text(line).rstrip()
            if not text or (ids and text.startswith("#")):
                continue
            fields = {"incident_id": text.strip()} if ids else json_object(text, "each line holds one whole object")
            job = parse_job(fields, defaults)
        except UnreadableFile:
            raise
        except (InvalidJob, BrokenLine) as error:
            yield BadLine(number, str(error), _problems(error))
        else:
            yield GoodLine(number, job)


def _problems(error: Exception) -> tuple[tuple[str, str], ...]:
    return error.problems if isinstance(error, InvalidJob) else ()


def _read_csv(source: Source, delimiter: str, columns: list[str], defaults: Defaults) -> Iterator[GoodLine | BadLine]:
    record = _Record(source)
    rows = csv.reader(record, delimiter=delimiter, skipinitialspace=True, strict=True)
    while True:
        record.begin()
        try:
            cells = next(rows)
        except StopIteration:
            return
        except (csv.Error, BrokenLine) as error:
            yield BadLine(record.line, record.give_up(error))
            continue
        try:
            job = _row(cells, columns, defaults)
        except InvalidJob as error:
            yield BadLine(record.line, record.give_up(error), error.problems)
        else:
            yield GoodLine(record.line, job)


def _row(cells: list[str], columns: list[str], defaults: Defaults) -> WarRoomJob:
    if len(cells) != len(columns):
        raise InvalidJob(f"has {many(len(cells), 'cell')}, the header has {len(columns)}")
    return parse_text_job(dict(zip(columns, cells, strict=True)), defaults)


class _Record:
    """The lines of one CSV record. If it is bad, all but its first line are read again, each by itself.

    So an open quote costs one line, not the file, and no line is read more than twice.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._held = bytearray()
        self._first_bytes = 0
        self.line = 0
        """The number of the record's first line."""

    def begin(self) -> None:
        self._held.clear()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        return self._next_line() if self._held else self._first_line()

    def give_up(self, error: Exception) -> str:
        """Why the record is bad; its other lines are read again."""
        if len(self._held) > self._first_bytes:
            self._source.push_back(bytes(self._held[self._first_bytes :]))
        if isinstance(error, csv.Error):
            return f"is not CSV: {error}; is a quote left open?"
        return str(error)

    def _first_line(self) -> str:
        while line := self._source.read():
            self.line = self._source.line
            self._held[:] = line
            self._first_bytes = len(line)
            text = self._source.text(line)
            if text.strip():
                return text
        raise StopIteration

    def _next_line(self) -> str:
        if self._source.reread:
            raise BrokenLine("leaves a quote open")
        line = self._source.read()
        if not line:
            raise StopIteration
        self._held += line
        if len(self._held) > LINE_BYTES_MAX:
            raise BrokenLine("leaves a quote open for more than 1 MiB")
        try:
            return self._source.text(line)
        except UnreadableFile:  # it will be said at its own line, after those of this record
            raise BrokenLine("leaves a quote open") from None
