"""A client that keeps us waiting is given up; by a clock that the test sets, on a connection without a network."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import pytest
from uvicorn.server import ServerState

from producers.http.connection import HEAD_BYTES_MAX, Patience
from producers.http.serve import config_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from producers.http.connection import Connection

PATIENCE: Final = Patience(head_s=10, body_s=30, idle_s=75)
GET: Final = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"
CHUNKED: Final = b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"


class Clock:
    """What a connection uses of its loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.create_task = loop.create_task
        self._now_s = 0.0
        self._timers: list[Timer] = []

    def time(self) -> float:
        return self._now_s

    def call_later(self, after_s: float, call: Callable[[], None]) -> Timer:
        timer = Timer(self._now_s + after_s, call)
        self._timers.append(timer)
        return timer

    def go_on(self, by_s: float) -> None:
        end_s = self._now_s + by_s
        while due := [timer for timer in self._timers if timer.at_s <= end_s]:
            first = min(due, key=lambda timer: timer.at_s)
            self._timers.remove(first)
            self._now_s = max(self._now_s, first.at_s)
            if not first.cancelled:
                first.call()
        self._now_s = end_s


@dataclass(eq=False)
class Timer:
    at_s: float
    call: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


class Wire(asyncio.Transport):
    """Keeps what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = False
        self._reads = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.sent += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self._reads = False

    def resume_reading(self) -> None:
        self._reads = True

    def is_reading(self) -> bool:
        return self._reads


@dataclass
class Client:
    """The other end of one connection."""

    connection: Connection
    wire: Wire
    clock: Clock
    app: App

    async def send(self, data: bytes) -> None:
        self.connection.data_received(data)
        await self.settle()

    async def wait(self, s: float) -> None:
        self.clock.go_on(s)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    def said(self, status: int, kind: str) -> dict[str, Any]:
        """The problem that it was told before the end."""
        head, _, body = self.wire.sent.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        assert b"content-type: application/problem+json" in head
        assert b"connection: close" in head
        assert self.wire.closed
        problem: dict[str, Any] = json.loads(body)
        assert (problem["status"], problem["type"]) == (status, f"urn:warrooms:problem:{kind}")
        return problem


@dataclass
class App:
    """Answers 204, after the body if it reads one."""

    reads: bool = True
    may_read: asyncio.Event = field(default_factory=asyncio.Event)
    was_left: bool = False

    async def __call__(self, _scope: object, receive: Any, send: Any) -> None:  # noqa: ANN401
        await self.may_read.wait()
        message = {"more_body": self.reads}
        while message.get("more_body"):
            message = await receive()
            self.was_left = message["type"] == "http.disconnect"
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


def talk(story: Callable[[Client], Awaitable[None]], *, reads: bool = True, at_once: bool = True) -> None:
    async def tell() -> None:
        app, wire, clock = App(reads), Wire(), Clock(asyncio.get_running_loop())
        if at_once:
            app.may_read.set()
        config = config_of(cast("Any", app), PATIENCE)
        config.load()
        made = cast("type[Connection]", config.http_protocol_class)
        connection = made(config, ServerState(), {}, cast("asyncio.AbstractEventLoop", clock))
        connection.connection_made(wire)
        await story(Client(connection, wire, clock, app))
        connection.connection_lost(None)

    asyncio.run(tell())


def test_who_says_nothing_is_told_nothing() -> None:
    async def story(client: Client) -> None:
        await client.wait(9)
        assert not client.wire.closed
        await client.wait(1)
        assert (client.wire.closed, client.wire.sent) == (True, b"")

    talk(story)


def test_a_head_has_its_time_however_it_trickles() -> None:
    async def story(client: Client) -> None:
        for byte in GET[:9]:
            await client.send(bytes([byte]))
            await client.wait(1)
        assert not client.wire.closed
        await client.wait(1)
        assert client.said(408, "too-slow")["detail"].startswith("the head was not complete in 10 s")

    talk(story)


def test_a_body_that_comes_slowly_is_waited_for() -> None:
    async def story(client: Client) -> None:
        await client.send(CHUNKED)
        for _ in range(100):
            await client.wait(29)
            await client.send(b"1\r\nx\r\n")
        await client.send(b"0\r\n\r\n")
        assert client.wire.sent.startswith(b"HTTP/1.1 204 ")
        assert not client.wire.closed

    talk(story)


def test_a_body_that_stops_is_given_up_and_its_handler_learns_it() -> None:
    async def story(client: Client) -> None:
        await client.send(CHUNKED + b"1\r\nx\r\n")
        await client.wait(29)
        await client.send(b"1\r\n")
        await client.wait(29)
        assert not client.wire.closed
        await client.wait(1)
        assert client.said(408, "too-slow")["detail"].startswith("nothing of the body has come for 30 s")
        assert client.app.was_left

    talk(story)


def test_a_body_is_not_late_while_it_waits_for_us() -> None:
    async def story(client: Client) -> None:
        await client.send(CHUNKED + b"18000\r\n" + b"x" * 0x18000)
        assert not client.wire.is_reading()
        await client.wait(1000)
        assert not client.wire.closed
        client.app.may_read.set()
        await client.settle()
        assert client.wire.is_reading()
        await client.send(b"\r\n0\r\n\r\n")
        assert client.wire.sent.startswith(b"HTTP/1.1 204 ")

    talk(story, at_once=False)


def test_the_rest_of_a_body_that_is_answered_already_is_not_waited_for_without_end() -> None:
    async def story(client: Client) -> None:
        await client.send(CHUNKED)
        assert client.wire.sent.startswith(b"HTTP/1.1 204 ")
        for _ in range(29):
            await client.send(b"1\r\nx\r\n")
            await client.wait(1)
        assert not client.wire.closed
        await client.wait(1)
        assert client.wire.closed

    talk(story, reads=False)


def test_a_connection_is_kept_for_the_next_request() -> None:
    async def story(client: Client) -> None:
        for _ in range(3):
            await client.send(GET)
            await client.wait(74)
        assert (client.wire.sent.count(b"204"), client.wire.closed) == (3, False)
        await client.wait(1)
        assert client.wire.closed

    talk(story)


def test_it_is_kept_as_long_when_a_body_ended_behind_its_answer() -> None:
    async def story(client: Client) -> None:
        await client.send(CHUNKED)
        await client.send(b"0\r\n\r\n")
        await client.wait(74)
        assert not client.wire.closed
        await client.wait(1)
        assert client.wire.closed

    talk(story, reads=False)


def test_the_next_head_has_its_time_from_its_first_byte() -> None:
    async def story(client: Client) -> None:
        await client.send(GET)
        await client.wait(60)
        await client.send(GET[:5])
        client.wire.sent = b""
        await client.wait(9)
        assert not client.wire.closed
        await client.wait(1)
        client.said(408, "too-slow")

    talk(story)


def test_an_answer_of_ours_may_take_its_time() -> None:
    async def story(client: Client) -> None:
        await client.send(GET)
        await client.wait(10_000)
        client.app.may_read.set()
        await client.settle()
        assert client.wire.sent.startswith(b"HTTP/1.1 204 ")

    talk(story, at_once=False)


@pytest.mark.parametrize(
    ("head", "status", "kind"),
    [
        (b"nonsense\r\n\r\n", 400, "malformed"),
        (b"GET / HTTP/1.1\r\nhost: h\r\nsecret name: s3cret\r\n\r\n", 400, "malformed"),
        (CHUNKED + b"zz\r\n", 400, "malformed"),
        (CHUNKED.replace(b"POST", b"HEAD") + b"zz\r\n", 400, ""),
        (GET[:-2] + b"x: " + b"y" * HEAD_BYTES_MAX, 431, "head-too-large"),
    ],
)
def test_what_cannot_be_read_is_a_problem_that_repeats_nothing(head: bytes, status: int, kind: str) -> None:
    async def story(client: Client) -> None:
        await client.send(head)
        if kind:
            client.said(status, kind)
        assert client.wire.sent.startswith(b"HTTP/1.1 %d " % status)
        assert b"s3cret" not in client.wire.sent

    talk(story)


def test_what_cannot_be_read_behind_an_answer_ends_the_connection() -> None:
    async def story(client: Client) -> None:
        await client.send(CHUNKED)
        answer = client.wire.sent
        await client.send(b"zz\r\n")
        assert (client.wire.closed, client.wire.sent) == (True, answer)

    talk(story, reads=False)
