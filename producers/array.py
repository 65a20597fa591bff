"""A JSON array as JSON Lines: one line per element, in constant memory, so that one parser serves both. Pure.

Elements are only told apart here, by brackets and strings; whether one is JSON, and a job, the parser of lines says.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, BinaryIO, Final

from producers.lines import UnreadableFile

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE: Final = 64 * 1024
_MARKS: Final = re.compile(rb'["\\\[\]{},\r\n]')
_SPACE: Final = b" \t\r\n"
_UTF8_BOM: Final = b"\xef\xbb\xbf"

_CONTROL: Final = b"\x01"
"""For a line end within a string: as little allowed there, and it ends no line."""


class ArrayLines(io.RawIOBase):
    """The lines of an array, as a stream to read from.

    Args:
        stream: the array's bytes.

    Raises:
        UnreadableFile: while reading: it is no array, or is cut off.
    """

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._pieces = _lines(stream)
        self._left = memoryview(b"")

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Some more bytes; 0 at the end."""
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """What stands between the outer brackets, with the outer commas as line ends and no others."""
    scan = _Scan()
    while piece := stream.read(_PIECE):
        yield scan.piece(piece)
    if not scan.closed:
        raise UnreadableFile("is cut off: the JSON array has no end")
    yield b"\n"


class _Scan:
    """Where in the array we are; survives from one piece to the next."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = False
        self._escaped = False
        self._element = 1
        self._empty = True
        """Nothing of this element has come yet; the parser of lines would pass over it, for a line may be blank."""

    @property
    def closed(self) -> bool:
        return self._depth < 0

    def piece(self, piece: bytes) -> bytes:
        out = bytearray()
        at = 0 if self._depth or self.closed else self._open(piece)
        for mark in _MARKS.finditer(piece, at):
            start = mark.start()
            self._between(piece[at:start])
            out += piece[at:start] + self._mark(mark[0])
            at = start + 1
        self._between(piece[at:])
        return bytes(out + piece[at:])

    def _open(self, piece: bytes) -> int:
        text = piece.removeprefix(_UTF8_BOM).lstrip(_SPACE)
        if not text:
            return len(piece)
        if not text.startswith(b"["):
            raise UnreadableFile("must be a JSON array of jobs; JSON Lines have the type application/x-ndjson")
        self._depth = 1
        return len(piece) - len(text) + 1

    def _between(self, plain: bytes) -> None:
        if self.closed and plain.strip(_SPACE):
            raise UnreadableFile("goes on behind the end of the JSON array")
        if plain:
            self._escaped = False
            self._empty = self._empty and not plain.strip(_SPACE)

    def _mark(self, mark: bytes) -> bytes:
        if self._in_string:
            return self._mark_in_string(mark)
        if self.closed and mark not in _SPACE:
            raise UnreadableFile("goes on behind the end of the JSON array")
        if mark in b"]}":
            return self._close(mark)
        if mark == b"," and self._depth == 1:
            return self._next()
        if mark in _SPACE:
            return b" "
        self._empty = False
        if mark == b'"':
            self._in_string = True
        elif mark in b"[{":
            self._depth += 1
        return mark

    def _next(self) -> bytes:
        if self._empty:
            raise UnreadableFile(f"is no JSON array: element {self._element} is empty; take the ',' behind it out")
        self._element += 1
        self._empty = True
        return b"\n"

    def _close(self, mark: bytes) -> bytes:
        self._depth -= 1
        if self._depth > 0:
            return mark
        if mark != b"]":
            raise UnreadableFile("is no JSON array: it has a '}' too many")
        if self._empty and self._element > 1:
            raise UnreadableFile(f"is no JSON array: behind element {self._element - 1} take out the last ','")
        self._depth = -1
        return b""

    def _mark_in_string(self, mark: bytes) -> bytes:
        if self._escaped:
            self._escaped = False
        elif mark == b"\\":
            self._escaped = True
        elif mark == b'"':
            self._in_string = False
        elif mark in _SPACE:
            return _CONTROL
        return mark
