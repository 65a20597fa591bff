"""The listening socket and its connections."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sandbox.connection import Connection
from sandbox.errors import ConfigError
from sandbox.gateway import Gateway

if TYPE_CHECKING:
    from sandbox.state import State


class Server:
    """Serves one state on one loopback address."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._gateway = Gateway(state)
        self._connections: set[Connection] = set()
        self._server: asyncio.Server

    async def start(self) -> str:
        """Accept connections; returns the base URL.

        Raises:
            ConfigError: the address cannot be bound.
        """
        config = self.state.config
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(self._connection, config.host, config.port, backlog=1024)
        except OSError as error:
            raise ConfigError(f"cannot listen on {config.host}:{config.port}: {error.strerror}") from None
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def _connection(self) -> Connection:
        return Connection(self.state, self._gateway, self._connections)

    async def stop(self) -> None:
        """Accept no more, break off what is open; deeds that wait for their latency are not done."""
        self._server.close()
        for connection in list(self._connections):
            connection.abort()
        await self._server.wait_closed()
