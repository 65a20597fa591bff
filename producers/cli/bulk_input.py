"""Where bulk's lines come from, and where its bad ones go. Constant memory, whatever the file."""

from __future__ import annotations

import shutil
import sys
import tempfile
from contextlib import contextmanager
from json import dumps
from typing import TYPE_CHECKING, BinaryIO, Final, TextIO, cast

from producers import console
from producers.backlog import BadLine, Form, read_jobs
from producers.bad_input import BadInput
from producers.lines import UnreadableFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producers.parsing import Defaults
    from worker.jobs import WarRoomJob

SHOWN_BAD_LINES: Final = 20

SPOOL_IN_MEMORY_BYTES: Final = 1024 * 1024


def name_of(file: str) -> str:
    """What to call the file in a sentence."""
    return "standard input" if file == "-" else file


@contextmanager
def opened(file: str, *, twice: bool) -> Iterator[BinaryIO]:
    """The file's bytes, from the start.

    Args:
        file: a path, or `-` for standard input.
        twice: it will be read twice; what cannot be rewound is kept in a temporary file that has no name, so it is
            gone when this process is, however it ends.

    Raises:
        BadInput: it cannot be opened.
    """
    with _opened(file) as stream:
        if twice and not stream.seekable():
            with tempfile.TemporaryFile() as spool:
                shutil.copyfileobj(stream, spool)
                spool.seek(0)
                yield cast("BinaryIO", spool)
        else:
            yield stream


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        if sys.stdin is None:
            raise BadInput("standard input is closed; name a file")
        if sys.stdin.isatty():
            console.remark("reading incident ids from the keyboard, one a line; Ctrl-D ends, Ctrl-C gives up")
        yield cast("BinaryIO", sys.stdin.buffer)
        return
    try:
        stream = open(file, "rb")  # noqa: PTH123, SIM115 - closed below; a Path takes no NUL byte either
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    else:
        with stream:
            yield stream
        return
    raise BadInput(f"cannot read {file}: {reason[:1].lower()}{reason[1:]}")


class Lines:
    """The jobs of a stream; its bad lines go to `bad`, and what ends it early is kept in `broken`.

    It does not raise in the middle: the good lines read before are to be queued, and the person is to be told.
    """

    def __init__(self, stream: BinaryIO, defaults: Defaults, form: str | None, bad: BadLines) -> None:
        self._stream = stream
        self._defaults = defaults
        self._form = Form(form) if form else None
        self._bad = bad
        self.broken: str | None = None

    def __iter__(self) -> Iterator[WarRoomJob]:
        try:
            for read in read_jobs(self._stream, self._defaults, form=self._form):
                if isinstance(read, BadLine):
                    self._bad.add(read)
                else:
                    yield read.job
        except UnreadableFile as error:
            self.broken = str(error)
        except OSError as error:
            self.broken = f"cannot be read any further: {error.strerror or error}"


class BadLines:
    """Counts bad lines, and shows them on stderr as they are found or keeps them for the JSON answer.

    Args:
        verbose: shows every one, not the first 20 only.
        keep: keeps them on disk as JSON, and shows none.
    """

    def __init__(self, *, verbose: bool, keep: bool) -> None:
        self.count = 0
        self._most = sys.maxsize if verbose else SHOWN_BAD_LINES
        self._kept: TextIO | None = None
        if keep:
            spool = tempfile.SpooledTemporaryFile(SPOOL_IN_MEMORY_BYTES, "w+", encoding="ascii")  # noqa: SIM115
            self._kept = cast("TextIO", spool)

    def add(self, bad: BadLine) -> None:
        """Takes the next one."""
        self.count += 1
        if self._kept is not None:
            self._kept.write(dumps({"line": bad.line, "reason": bad.reason}) + "\n")
        elif self.count <= self._most:
            console.remark(f"line {bad.line}: {bad.reason}")
        elif self.count == self._most + 1:
            console.remark("further bad lines are only counted; --verbose shows all of them")

    def kept(self) -> Iterator[str]:
        """Those that were kept, each as JSON."""
        if self._kept is not None:
            self._kept.seek(0)
            yield from (text.rstrip("\n") for text in self._kept)
