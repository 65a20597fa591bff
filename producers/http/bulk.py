"""A body of jobs -> an answer per line as JSON Lines, a chunk at a time in constant memory.

What is wrong with one line is its answer, and the rest goes on. Every job is queued with its chunk, before its answer
leaves; so who is cut off hands everything in again, and nothing is lost or doubled.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Final

from producers.answers import room_receipt_json
from producers.backlog import BadLine, GoodLine
from producers.console import iso
from producers.http.intake import Full
from producers.http.problems import Kind, of_fields, refused
from producers.lines import UnreadableFile
from producers.queue import CHUNK
from producers.receipt import Tally
from worker.errors import QueueUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producers.http.intake import Intake
    from producers.queue import JobQueue
    from producers.receipt import Receipt
    from worker.on_disk import OnDisk

MEDIA_TYPE: Final = "application/x-ndjson"

Line = GoodLine | BadLine


@dataclass(slots=True)
class Bulk:
    """One bulk request: what came of it so far.

    Args:
        lines: its lines, read as they are asked for.
        queue: where the jobs go.
        intake: the door in front of it.
        batch: the batch that counts them.
    """

    lines: Iterator[Line]
    queue: JobQueue
    intake: Intake
    batch: str
    tally: Tally = field(default_factory=Tally)
    bad: int = 0
    held_back: int = 0
    retry_after_s: int = 0
    error: str | None = None

    def answers(self) -> Iterator[bytes]:
        """The answers, the first chunk of them at once, and behind them the summary.

        Raises:
            InvalidJob: the body cannot be read at all.
            QueueUnavailable: Redis does not answer; nothing was queued.
            Refused: no backlog has room for any of them.
        """
        on_disk = self.queue.on_disk()
        first = self._chunk()
        if not first:
            raise UnreadableFile(self.error or "is empty: no job in it")
        answers = self._answer(first)
        if self.held_back and not self.tally.total and len(first) < CHUNK:
            raise self._full()
        return chain([answers], self._rest(on_disk, len(first)))

    def _rest(self, on_disk: OnDisk, read: int) -> Iterator[bytes]:
        try:
            while read == CHUNK and (chunk := self._chunk()):
                read = len(chunk)
                yield self._answer(chunk)
            self.tally.on_disk = on_disk.wait() if self.tally.total else None
        except QueueUnavailable as error:
            self.error = f"{error} ({self.tally.total} jobs were queued before; hand all in again, nothing doubles)"
        yield self._summary()

    def _chunk(self) -> list[Line]:
        """The next lines; fewer than a chunk are the last."""
        chunk: list[Line] = []
        try:
            for line in self.lines:
                chunk.append(line)
                if len(chunk) == CHUNK:
                    break
        except UnreadableFile as error:
            self.error = str(error)
        return chunk

    def _answer(self, chunk: list[Line]) -> bytes:
        taken = iter(self.intake.take([line.job for line in chunk if isinstance(line, GoodLine)], self.batch))
        return b"".join(self._bad(line) if isinstance(line, BadLine) else self._good(line, taken) for line in chunk)

    def _good(self, line: GoodLine, taken: Iterator[Receipt | Full]) -> bytes:
        answer = next(taken)
        if isinstance(answer, Full):
            self.held_back += 1
            self.retry_after_s = max(self.retry_after_s, answer.retry_after_s)
            return _line(line.line, {"status": "held back", "detail": answer.sentence()})
        self.tally.add(answer)
        return _line(line.line, {**room_receipt_json(answer)})

    def _bad(self, line: BadLine) -> bytes:
        self.bad += 1
        return _line(line.line, {"status": "refused", "detail": line.reason, "errors": of_fields(line.problems)})

    def _full(self) -> Exception:
        detail = f"no account of these jobs takes new ones now; nothing was queued, ask again in {self.retry_after_s} s"
        return refused(Kind.BACKLOG_FULL, detail, Retry_After=str(self.retry_after_s))

    def _summary(self) -> bytes:
        last, done_by = self.tally.last_starts_at, self.tally.done_by
        counts = {status.replace(" ", "_"): count for status, count in self.tally.by_status.items()}
        summary = {
            "batch": self.batch,
            "lines": self.tally.total + self.bad + self.held_back,
            **counts,
            "refused": self.bad,
            "held_back": self.held_back,
            "retry_after_s": self.retry_after_s or None,
            "last_starts_at": None if last is None else iso(last.timestamp()),
            "done_by": None if done_by is None else iso(done_by.timestamp()),
            "on_disk": self.tally.on_disk,
            "error": self.error,
        }
        return _encoded({"summary": summary})


def _line(number: int, answer: dict[str, object]) -> bytes:
    return _encoded({"line": number, **answer})


def _encoded(answer: dict[str, object]) -> bytes:
    return json.dumps(answer, separators=(",", ":")).encode("ascii") + b"\n"
