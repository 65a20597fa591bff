from __future__ import annotations

import socket
import socketserver
import threading
from typing import TYPE_CHECKING

import pytest

from sandbox.proxy import Proxy
from sandbox.stack import until

if TYPE_CHECKING:
    from collections.abc import Iterator


class Upstream(socketserver.ThreadingTCPServer):
    """Says each chunk back behind its own name, and remembers what it heard."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, name: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.name = name
        self.heard: list[bytes] = []
        self.left = 0

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Upstream)
        try:
            while data := self.request.recv(65536):
                self.server.heard.append(data)
                self.request.sendall(self.server.name + data)
        except ConnectionError:
            pass
        finally:
            self.server.left += 1


@pytest.fixture
def upstreams() -> Iterator[list[Upstream]]:
    servers = [Upstream(b"one:"), Upstream(b"two:")]
    for server in servers:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield servers
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def proxy(upstreams: list[Upstream]) -> Iterator[Proxy]:
    with Proxy("127.0.0.1", upstreams[0].port) as proxy:
        yield proxy


@pytest.fixture
def clients(proxy: Proxy) -> Iterator[Clients]:
    clients = Clients(proxy)
    yield clients
    clients.close()


class Clients:
    """Connects, and closes everything in the end."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy, self._open = proxy, list[socket.socket]()

    def connect(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self._proxy.port), timeout=5)
        self._open.append(client)
        return client

    def working(self) -> socket.socket:
        client = self.connect()
        assert ask(client, b"hello") == b"one:hello"
        return client

    def close(self) -> None:
        for client in self._open:
            client.close()


def ask(client: socket.socket, text: bytes) -> bytes:
    client.sendall(text)
    return client.recv(65536)


def is_silent(client: socket.socket) -> bool:
    client.settimeout(0.1)
    try:
        client.sendall(b"anybody?")
        client.recv(1)
    except TimeoutError:
        return True
    finally:
        client.settimeout(5)
    return False


def is_reset(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b"never"
    except ConnectionResetError:
        return True


def test_it_passes_on_what_both_sides_say(proxy: Proxy, clients: Clients) -> None:
    first, second = clients.working(), clients.working()
    assert ask(second, b"x") == b"one:x"
    assert ask(first, b"y") == b"one:y"
    assert proxy.connections == 2
    assert proxy.url == f"redis://127.0.0.1:{proxy.port}/0"


def test_much_more_than_one_chunk_arrives_whole(clients: Clients, upstreams: list[Upstream]) -> None:
    client, size = clients.working(), 3_000_000
    threading.Thread(target=client.sendall, args=(b"x" * size,), daemon=True).start()
    got = 0
    while got < size:
        got += client.recv(1 << 20).count(b"x")
    assert sum(map(len, upstreams[0].heard)) == size + len(b"hello")


def test_a_side_that_closes_closes_the_other(proxy: Proxy, clients: Clients, upstreams: list[Upstream]) -> None:
    clients.working().close()
    until(lambda: upstreams[0].left == 1, "the upstream to see the end")
    until(lambda: proxy.connections == 0, "the link to be gone")


def test_cut_resets_open_connections_and_lets_new_ones_work(clients: Clients, proxy: Proxy) -> None:
    old = clients.working()
    proxy.cut()
    assert is_reset(old)
    clients.working()


def test_a_frozen_connection_stays_and_swallows_what_either_side_says(
    clients: Clients, proxy: Proxy, upstreams: list[Upstream]
) -> None:
    old = clients.working()
    proxy.freeze()
    assert is_silent(old)
    assert upstreams[0].heard == [b"hello"]
    clients.working()
    assert is_silent(old), "a new connection does not wake the old one"


def test_neither_side_of_a_frozen_connection_hears_that_the_other_left(
    clients: Clients, proxy: Proxy, upstreams: list[Upstream]
) -> None:
    old = clients.working()
    proxy.freeze()
    old.close()
    clients.working().close()
    until(lambda: upstreams[0].left == 1 and proxy.connections < 2, "the new one to leave")
    assert proxy.connections == 1, "the upstream of the old one still believes in it"


def test_after_the_thaw_a_frozen_connection_is_reset_and_new_ones_work(clients: Clients, proxy: Proxy) -> None:
    old = clients.working()
    proxy.freeze()
    assert is_silent(old)
    newer = clients.working()
    proxy.thaw()
    assert is_reset(old)
    assert ask(newer, b"still") == b"one:still"
    clients.working()


def test_in_a_black_hole_new_connections_are_accepted_and_nothing_passes(
    clients: Clients, proxy: Proxy, upstreams: list[Upstream]
) -> None:
    proxy.freeze(new_too=True)
    lost = clients.connect()
    assert is_silent(lost)
    assert upstreams[0].heard == []
    proxy.thaw()
    assert is_reset(lost)
    clients.working()


def test_who_is_refused_is_told_so_and_comes_back_on_the_same_port(clients: Clients, proxy: Proxy) -> None:
    old, port = clients.working(), proxy.port
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        clients.connect()
    assert ask(old, b"still") == b"one:still"
    proxy.accept()
    clients.working()
    assert proxy.port == port


def test_a_redirect_cuts_and_leads_elsewhere(clients: Clients, proxy: Proxy, upstreams: list[Upstream]) -> None:
    old = clients.working()
    proxy.redirect("127.0.0.1", upstreams[1].port)
    assert is_reset(old)
    assert ask(clients.connect(), b"hello") == b"two:hello"


def test_with_nobody_behind_it_a_client_is_reset(clients: Clients, proxy: Proxy) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        proxy.redirect("127.0.0.1", probe.getsockname()[1])
        try:
            client = clients.connect()
        except ConnectionResetError:  # sooner than connect() had looked
            return
        assert is_reset(client)


def test_its_end_is_the_end_of_every_connection(upstreams: list[Upstream]) -> None:
    with Proxy("127.0.0.1", upstreams[0].port) as proxy:
        clients = Clients(proxy)
        works, frozen = clients.working(), clients.working()
        proxy.freeze()
        lost = clients.working()
    assert is_reset(works)
    assert is_reset(frozen)
    assert is_reset(lost)
    with pytest.raises(ConnectionRefusedError):
        clients.connect()
    clients.close()
