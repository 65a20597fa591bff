"""Connections: how long a client may keep us waiting, and what it is told that cannot be read as HTTP.

uvicorn waits without end for a first byte, the rest of a head or of a body, and says in plain text what it cannot read.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from producers.console import number
from producers.http.answering import ProblemAnswer
from producers.http.problems import Kind, Problem

if TYPE_CHECKING:
    import asyncio

    from uvicorn.protocols.http.h11_impl import RequestResponseCycle

HEAD_BYTES_MAX: Final = 16 * 1024
"""The largest head of a request: its first line and its headers."""

_AGAIN: Final = "nothing was done, send the request again"
_UNREADABLE: Final = Problem(
    Kind.MALFORMED,
    "the request cannot be read as HTTP/1.1: its first line, a header or the framing of its body is malformed; look at "
    "what the client sends, or a proxy in between",
)
_HEAD_TOO_LARGE: Final = Problem(
    Kind.HEAD_TOO_LARGE,
    f"the first line and the headers are larger than {number(HEAD_BYTES_MAX)} bytes; send fewer or shorter ones",
)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client may take, in seconds.

    Args:
        head_s: for the whole head of a request, from its first byte; at a new connection, from its opening.
        body_s: for the next piece of a body that we read, however many come; for all of one that is answered already.
        idle_s: until the next request. Longer than the 60 s of usual load balancers: who closes first must be the one
            that sends, or a request is on its way into a closed connection.
    """

    head_s: float = 10.0
    body_s: float = 30.0
    idle_s: float = 75.0


class _Awaited(Enum):
    FIRST = auto()
    """A new connection's head."""
    HEAD = auto()
    """The rest of a head."""
    BODY = auto()
    """The rest of a body."""
    REST = auto()
    """The rest of a body that nobody reads any more, because it is answered."""
    NEXT = auto()
    """Another request."""
    NOTHING = auto()
    """The answer is ours to give."""


class Connection(H11Protocol):
    """A connection that is closed when its client has us wait too long; with 408, if it is owed an answer."""

    patience = Patience()

    cycle: RequestResponseCycle | None  # type: ignore[assignment] # uvicorn begins with None
    _awaited: tuple[_Awaited, RequestResponseCycle | None] = (_Awaited.NOTHING, None)
    _moved_at_s: float = 0.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """The client may begin."""
        super().connection_made(transport)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is waited for."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some more of a request."""
        super().data_received(data)
        self._moved_at_s = self.loop.time()
        self._look()

    def on_response_complete(self) -> None:
        """The client may go on."""
        super().on_response_complete()
        self._look()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's own signature and words
        """Refuses what h11 cannot read; not in its words, which repeat a header, and that may be a secret."""
        hint = getattr(sys.exception(), "error_status_hint", None)
        self._end(_HEAD_TOO_LARGE if hint == Kind.HEAD_TOO_LARGE.status else _UNREADABLE)

    def _look(self) -> None:
        """Measures the time anew whenever something else is waited for."""
        awaited = (self._what(), self.cycle)
        if awaited == self._awaited:
            return
        self._stop()
        self._awaited, self._moved_at_s = awaited, self.loop.time()
        self._start(self._limit_s())

    def _what(self) -> _Awaited:
        """What comes next from the client."""
        if self.transport.is_closing():
            return _Awaited.NOTHING
        if self.conn.their_state is h11.SEND_BODY:
            return _Awaited.REST if self.cycle is None or self.cycle.response_complete else _Awaited.BODY
        if self.conn.their_state is not h11.IDLE:
            return _Awaited.NOTHING
        if self.cycle is None:
            return _Awaited.FIRST
        return _Awaited.HEAD if self.conn.trailing_data[0] else _Awaited.NEXT

    def _limit_s(self) -> float | None:
        match self._awaited[0]:
            case _Awaited.NOTHING:
                return None
            case _Awaited.FIRST | _Awaited.HEAD:
                return self.patience.head_s
            case _Awaited.NEXT:
                return self.patience.idle_s
        return self.patience.body_s

    def _start(self, after_s: float | None) -> None:
        if after_s is not None:
            self._timer = self.loop.call_later(after_s, self._late)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        what, cycle = self._awaited
        if what is _Awaited.BODY and cycle is not None:
            if self.flow.read_paused or cycle.waiting_for_100_continue:
                self._moved_at_s = self.loop.time()  # it waits for us
            left_s = self._moved_at_s + self.patience.body_s - self.loop.time()
            if left_s > 0:
                self._start(left_s)
                return
            self._end(Problem(Kind.TOO_SLOW, f"nothing of the body has come for {self.patience.body_s:g} s; {_AGAIN}"))
        elif what in {_Awaited.FIRST, _Awaited.HEAD} and self.conn.trailing_data[0]:
            self._end(Problem(Kind.TOO_SLOW, f"the head was not complete in {self.patience.head_s:g} s; {_AGAIN}"))
        else:
            self._end(None)

    def _end(self, problem: Problem | None) -> None:
        """Closes the connection, with a last answer if one is owed and none has begun."""
        self._stop()
        if problem is not None and self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            self._say(ProblemAnswer(problem))
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True  # what answers this request learns that nobody reads it
            self.cycle.message_event.set()
        self.transport.close()

    def _say(self, answer: ProblemAnswer) -> None:
        headers = [*answer.raw_headers, (b"connection", b"close")]
        reason = HTTPStatus(answer.status_code).phrase.encode()
        bodiless = self.conn.our_state is h11.SEND_RESPONSE and self.scope["method"] == "HEAD"
        for event in (
            h11.Response(status_code=answer.status_code, headers=headers, reason=reason),
            h11.Data(data=b"" if bodiless else bytes(answer.body)),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")


def connections(patience: Patience) -> type[Connection]:
    """Connections with this much patience, as uvicorn wants them: it makes each by its class."""
    return type("Connection", (Connection,), {"patience": patience})
