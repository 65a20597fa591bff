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

    Jobs from before that line (a NUL byte in the middle of a file) stand.
    """


class BrokenLine(Exception):
    """This line gives no job; the next one may."""


class Source:
    """The physical lines of a stream, counted, and the way back to a few of them."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._again = io.BytesIO()
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
            if b"\0" in line:
                self.unreadable(_NOT_TEXT)
        return line

    def text(self, line: bytes) -> str:
        """The text of the line just read.

        Raises:
            BrokenLine: it is not UTF-8, or too long; then its rest is skipped without holding it.
        """
        if len(line) > LINE_BYTES_MAX:
            while line and not line.endswith(b"\n"):
                line = self._stream.readline(_SKIP_BYTES)
            raise BrokenLine("is longer than 1 MiB")
        try:
            return line.decode()
        except UnicodeDecodeError as error:
            raise BrokenLine(f"is not UTF-8: byte 0x{line[error.start]:02x} at position {error.start + 1}") from None

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
