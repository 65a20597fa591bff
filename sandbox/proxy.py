"""A small TCP proxy on loopback whose connections can be cut, frozen, refused and sent elsewhere.

    with Proxy("127.0.0.1", valkey.port) as proxy:
        client = redis.Redis.from_url(proxy.url)
        proxy.freeze()       # the client's connection is half-open now: it stays, and nothing ever comes back

An event loop in a thread of its own does the work; every method comes back when it is done.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, Self

from sandbox.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

HOST: Final = "127.0.0.1"
CHUNK_BYTES: Final = 65_536

# SO_LINGER, on, 0 seconds: close() then sends a RST instead of a FIN.
_RESET: Final = struct.pack("ii", 1, 0)


class Proxy:
    """Passes on what comes to its own port, until told otherwise.

    Args:
        host, port: where connections are passed on to.
    """

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._blackhole = False
        self._server: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="proxy", daemon=True)
        self._started: Future[None] = Future()
        self.port = free_port()

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.result()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    @property
    def url(self) -> str:
        """Its own address, as that of a Redis."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def connections(self) -> int:
        """How many connections are open, the frozen ones included."""
        return len(self._links)

    def cut(self) -> None:
        """Breaks every connection with a RST to both sides; new ones work."""
        self._do(self._cut)

    def freeze(self, *, new_too: bool = False) -> None:
        """Makes the open connections half-open: they stay, swallow everything, and neither side learns of the other.

        Args:
            new_too: new connections are accepted and swallow everything as well (a black hole); else they work.
        """
        self._do(lambda: self._freeze(new_too=new_too))

    def thaw(self) -> None:
        """Lets new connections work again. Frozen ones never do: they get a RST, as from a router that forgot them."""
        self._do(self._thaw)

    def refuse(self) -> None:
        """Closes the listening socket: who connects is refused. Open connections go on."""
        self._do(self._refuse)

    def accept(self) -> None:
        """Listens again, on the same port."""
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def redirect(self, host: str, port: int) -> None:
        """Passes new connections on to another upstream, as after a failover, and cuts the open ones."""

        def move() -> None:
            self._upstream = (host, port)
            self._cut()

        self._do(move)

    # --- in the loop's thread ---

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            await self._listen()
        except OSError as error:
            self._started.set_exception(error)
            return
        self._started.set_result(None)
        await self._stop.wait()
        self._refuse()
        self._cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._take, HOST, self.port, backlog=1024)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            return
        self._tasks.add(task)
        link = _Link(_End(reader, writer), frozen=self._blackhole)
        self._links.add(link)
        try:
            await link.run(self._upstream)
        except asyncio.CancelledError:
            pass  # the proxy ends; a cancelled handler would be reported as an error
        finally:
            link.reset()
            self._links.discard(link)
            self._tasks.discard(task)

    def _do(self, deed: Callable[[], None]) -> None:
        async def done() -> None:
            deed()

        asyncio.run_coroutine_threadsafe(done(), self._loop).result()

    def _cut(self) -> None:
        for link in self._links:
            link.reset()

    def _freeze(self, *, new_too: bool) -> None:
        self._blackhole = new_too
        for link in self._links:
            link.frozen = True

    def _thaw(self) -> None:
        self._blackhole = False
        for link in self._links:
            if link.frozen:
                link.reset()

    def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


class _End:
    """One side of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def reset(self) -> None:
        """Ends it with a RST; what was not sent yet is dropped."""
        sock: socket.socket = self.writer.get_extra_info("socket")
        if not self.writer.transport.is_closing():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.writer.transport.abort()


class _Link:
    """A client's connection and the one to the upstream that belongs to it.

    Args:
        client: the client's side.
        frozen: whether it swallows everything from the start.
    """

    def __init__(self, client: _End, *, frozen: bool) -> None:
        self._client = client
        self._server: _End | None = None
        self._over = asyncio.Event()
        self.frozen = frozen

    async def run(self, upstream: tuple[str, int]) -> None:
        """Passes on until one side ends, or, while frozen, until it is reset."""
        if self.frozen:
            await asyncio.gather(self._swallow(self._client), self._over.wait())
            return
        try:
            self._server = _End(*await asyncio.open_connection(*upstream))
        except OSError:
            return  # the caller resets the client: nobody is behind us
        if self._over.is_set():
            return  # cut in the meantime; the caller resets the new end too
        await asyncio.gather(self._pass_on(self._client, self._server), self._pass_on(self._server, self._client))

    def reset(self) -> None:
        """Ends both sides with a RST."""
        self._over.set()
        for end in (self._client, self._server):
            if end is not None:
                end.reset()

    async def _pass_on(self, source: _End, target: _End) -> None:
        try:
            while data := await source.reader.read(CHUNK_BYTES):
                if not self.frozen:
                    target.writer.write(data)
                    await target.writer.drain()
            orderly = True
        except OSError:
            orderly = False
        if self.frozen:
            await self._over.wait()  # the other side does not hear that this one left
        elif orderly:
            target.writer.close()
        else:
            self.reset()

    async def _swallow(self, source: _End) -> None:
        try:
            while await source.reader.read(CHUNK_BYTES):
                pass
        except OSError:
            pass
