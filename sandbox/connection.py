"""One TCP connection: HTTP/1.1 with keep-alive, and the right to break it off.

Plain asyncio with h11 rather than an ASGI server: a fault must be able to cut the connection before or after
the deed, or stay silent, and an ASGI application can do neither. h11 is the parser httpx itself uses.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from typing import TYPE_CHECKING, Final

import h11

from sandbox.control import PREFIX, control
from sandbox.envelope import NoReply, Reply, failure
from sandbox.errors import ApiError
from sandbox.gateway import MAX_BODY_BYTES

if TYPE_CHECKING:
    from sandbox.envelope import Outcome
    from sandbox.gateway import Call, Deed, Gateway
    from sandbox.state import State

# SO_LINGER, on, 0 seconds: close() then sends a RST instead of a FIN.
_RESET: Final = struct.pack("ii", 1, 0)


class Connection(asyncio.Protocol):
    """One client's connection.

    Args:
        state: for control calls.
        gateway: for the API's calls.
        open_connections: the server's set of open connections; this one adds and removes itself.
    """

    def __init__(self, state: State, gateway: Gateway, open_connections: set[Connection]) -> None:
        self._state, self._gateway, self._open = state, gateway, open_connections
        self._http = h11.Connection(h11.SERVER)
        self._transport: asyncio.Transport
        self._head: h11.Request
        self._body = bytearray()
        self._call: Call | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._reading = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take up the connection."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a stream transport is needed")
        self._transport = transport
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 # asyncio calls it by position
        """The client left, or we did; a deed that waits for its latency is done all the same."""
        self._open.discard(self)
        if self._timer is None:
            self._leave()

    def abort(self) -> None:
        """Break off without carrying out what waits: the server stops."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        self._http.receive_data(data)
        self._read()

    def _read(self) -> None:
        """Take HTTP events while there are any; the next request waits until this one is answered."""
        self._reading = True
        try:
            while isinstance(event := self._http.next_event(), h11.Event):
                self._take(event)
        except h11.RemoteProtocolError:
            self._send(failure(self._state.request_id(), ApiError("BadRequest")), close=True)
        finally:
            self._reading = False

    def _take(self, event: h11.Event) -> None:
        if isinstance(event, h11.Request):
            self._begin(event)
        elif isinstance(event, h11.Data):
            # One byte too many is enough to know; the rest is read and dropped.
            self._body += event.data[: MAX_BODY_BYTES + 1 - len(self._body)]
        elif isinstance(event, h11.EndOfMessage):
            self._complete()
        else:
            self._transport.close()

    def _begin(self, head: h11.Request) -> None:
        self._head = head
        self._body.clear()
        if not head.target.startswith(PREFIX.encode()):
            content_type = next((value for name, value in head.headers if name == b"content-type"), b"")
            self._call = self._gateway.arrive(
                head.method.decode("ascii"), head.target.decode("latin-1"), content_type.decode("latin-1")
            )
        if self._http.they_are_waiting_for_100_continue:
            self._write(h11.InformationalResponse(status_code=100, headers=[]))

    def _complete(self) -> None:
        if self._call is None:
            head = self._head
            method, target = head.method.decode("ascii"), head.target.decode("latin-1")
            self._send(control(self._state, method, target, bytes(self._body)))
            return
        deed = self._gateway.decide(self._call, bytes(self._body))
        if deed.delay_s > 0:
            self._timer = asyncio.get_running_loop().call_later(deed.delay_s, self._finish, deed)
        else:
            self._finish(deed)

    def _finish(self, deed: Deed) -> None:
        """Do the deed, then answer, if the client is still there."""
        self._timer = None
        outcome = deed.carry_out()
        if self._transport.is_closing():
            self._leave()
            return
        deed.call.settle(outcome)
        self._log(deed.call, outcome)
        if outcome is NoReply.HANG:
            return  # in flight until the client leaves
        self._leave()
        if isinstance(outcome, Reply):
            self._send(outcome)
        else:
            self._cut(outcome)

    def _leave(self) -> None:
        if self._call is not None:
            self._call.leave()
            self._call = None

    def _log(self, call: Call, outcome: Outcome) -> None:
        if self._state.config.access_log:
            result = outcome.status if isinstance(outcome, Reply) else outcome.name.lower()
            sys.stderr.write(f"{call.caller.name or '-'} {call.path} {result} {call.request_id}\n")

    def _cut(self, how: NoReply) -> None:
        if how is NoReply.RESET:
            sock: socket.socket = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()
        else:
            self._transport.close()

    def _write(self, *events: h11.Event) -> None:
        self._transport.write(b"".join(self._http.send(event) or b"" for event in events))

    def _send(self, reply: Reply, *, close: bool = False) -> None:
        headers = [("Content-Type", reply.content_type), ("Content-Length", str(len(reply.body)))]
        if reply.request_id:
            headers.append(("Flashcat-Request-Id", reply.request_id))
        headers.extend(reply.headers)
        if close:
            headers.append(("Connection", "close"))
        response = h11.Response(status_code=reply.status, headers=headers)
        no_body = self._http.their_state is not h11.ERROR and self._head.method == b"HEAD"
        body = [] if no_body else [h11.Data(data=reply.body)]
        self._write(response, *body, h11.EndOfMessage())
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            if not self._reading:
                self._read()
        else:
            self._transport.close()
