"""The physical lines of an untrusted stream: counted, bounded, decoded one by one."""

from __future__ import annotations

import io
from typing import BinaryIO, Final, NoReturn

from worker.errors import InvalidJob

LINE_BYTES_MAX: Final = 1024 * 1024
"""The longest line, and the longest CSV record, with its line end."""

_SKIP_BYTES: Final = 64 * 1024

_UTF8_BOM: Final = b"\xef\xbb\xbf"

_NOT_TEXT: Final = "is not UTF-8 text (looks like UTF-16 / a binary file)"

NUL_LINES_MAX: Final = 3
"""So many lines in a row with a NUL byte are no damage to a text: from there on it is none."""

_MAGIC: Final = {
    b"\xff\xfe": _NOT_TEXT,
    b"\xfe\xff": _NOT_TEXT,
    b"\x1f\x8b": "is compressed with gzip; unpack it first: gunzip -c FILE",
    b"PK\x03\x04": "is a zip archive or an Excel workbook; unpack it, or save it as CSV",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd; unpack it first: zstd -dc FILE",
    b"\xfd7zXZ": "is compressed with xz; unpack it first: xz -dc FILE",
}


class UnreadableFile(InvalidJob):
    """The file cannot be read, or not further; the message says at which line, why, and what to do.

    Jobs from before that line (a file that is binary from its middle on) stand.
    """


class BrokenLine(Exception):
    """This line gives no job; the next one may."""


class Source:
    """The physical lines of a stream, counted, and the way back to a few of them."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._again = io.BytesIO()
        self._is_text = False
        self._nul_lines = range(0)
        self.reread = False
        """Whether the last line had been pushed back."""
        self.line = 0
        """The number of the last line, from 1."""

    def read(self) -> bytes:
        """The next line with its end, empty after the last; of a line that is too long, a bit more than allowed."""
        line = self._again.readline()
        self.reread = bool(line)
        if not line.endswith(b"\n"):
            line += self._stream.readline(LINE_BYTES_MAX + 1 - len(line))
        if line:
            self.line += 1
            if self.line == 1 and not self.reread:
                line = self._check_start(line)
            if b"\0" in line and not self._is_text:
                self.unreadable(_NOT_TEXT)
        return line

    def text(self, line: bytes) -> str:
        """The text of the line just read.

        Raises:
            BrokenLine: it is not UTF-8, has a NUL byte, or is too long; then its rest is skipped without holding it.
            UnreadableFile: it is one of too many in a row with a NUL byte.
        """
        if len(line) > LINE_BYTES_MAX:
            while line and not line.endswith(b"\n"):
                line = self._stream.readline(_SKIP_BYTES)
            raise BrokenLine("is longer than 1 MiB")
        if b"\0" in line:
            self._has_nul()
            raise BrokenLine(f"has a NUL byte at position {line.index(0) + 1}: it is damaged, or no text")
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise BrokenLine(f"is not UTF-8: byte 0x{line[error.start]:02x} at position {error.start + 1}") from None
        self._is_text = self._is_text or bool(text.strip())
        return text

    def _has_nul(self) -> None:
        """Counts lines in a row, each once, however often it is read again."""
        first, end = self._nul_lines.start, self._nul_lines.stop
        if not first <= self.line <= end or first == end:
            first, end = self.line, self.line
        self._nul_lines = range(first, max(end, self.line + 1))
        if self.line - first + 1 >= NUL_LINES_MAX:
            self.unreadable(
                f"has a NUL byte, as the {NUL_LINES_MAX - 1} lines before: from here on it looks like UTF-16 or a "
                "binary file, and the rest was not read"
            )

    def push_back(self, lines: bytes) -> None:
        """Read the last lines again. Never while others are still to be read again."""
        self._again = io.BytesIO(lines)
        self.line -= lines.count(b"\n") + (not lines.endswith(b"\n"))

    def unreadable(self, why: str) -> NoReturn:
        """Give up the file at this line."""
        raise UnreadableFile(f"line {self.line}: {why}")

    def _check_start(self, line: bytes) -> bytes:
        for magic, why in _MAGIC.items():
            if line.startswith(magic):
                self.unreadable(why)
        # A line that is only the mark must not look like the end of the file.
        return line.removeprefix(_UTF8_BOM) or b"\n"
