"""Over real loopback sockets: what a broken network and a hostile server do to a call, and what leaks of it."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import time
import traceback
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from worker.errors import FlashdutyError, NotSent, OutcomeUnknown, RateLimited, SettingsError
from worker.flashduty import Flashduty
from worker.flashduty.transport import _ssl_context
from worker.jobs import WarRoomJob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

JOB = WarRoomJob(incident_id="69da451ef77b1b51f40e83ee", integration_id=1)
KEY = "s3cr3t+K&y/%=é"
ROOM = {"request_id": "R", "data": {"chat_id": "oc_a"}}


class Server(socketserver.ThreadingTCPServer):
    """Reads one request after another from each connection and lets `behave` answer it on the bare socket."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, behave: Callable[[socket.socket, str], bool]) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.behave = behave
        self.connections = 0
        self.targets: list[str] = []
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Connection(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        server.connections += 1
        with contextlib.suppress(OSError):
            while target := self.read_request():
                server.targets.append(target)
                if not server.behave(self.connection, target):
                    break

    def read_request(self) -> str:
        first = self.rfile.readline().decode()
        length = 0
        while (line := self.rfile.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        self.rfile.read(length)
        return first.split(" ")[1] if first else ""


@contextlib.contextmanager
def serving(behave: Callable[[socket.socket, str], bool]) -> Iterator[Server]:
    with Server(behave) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.over.set()
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def calling(url: str, *, connect_s: float = 2.0, read_s: float = 2.0) -> Iterator[Flashduty]:
    duty = Flashduty(base_url=url, app_key=lambda: KEY, connect_timeout_s=connect_s, read_timeout_s=read_s)
    try:
        yield duty
    finally:
        duty.close()


def answer(status: int, body: str, *headers: str) -> bytes:
    content = body.encode()
    lines = [f"HTTP/1.1 {status} because", f"Content-Length: {len(content)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + content


@pytest.fixture(autouse=True)
def logged() -> Iterator[io.StringIO]:
    """Every log line at DEBUG; each test ends with a look for the key in it."""
    page, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(page), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    for name in ("httpx", "httpcore", "httpcore.http11", "httpcore.connection"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield page
    root.removeHandler(handler)
    root.setLevel(level)
    assert_clean(page.getvalue())


def assert_clean(text: str) -> None:
    for form in (KEY, quote(KEY), quote(KEY, safe=""), "s3cr3t"):
        assert form not in text


def failure(duty: Flashduty) -> FlashdutyError:
    """The error of a call that must fail, after a look at all that it shows."""
    with pytest.raises(FlashdutyError) as caught:
        duty.create(JOB)
    error = caught.value
    logging.getLogger("worker").error("failed", exc_info=error)
    assert error.__cause__ is None
    assert error.__context__ is None
    shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert_clean(shown + repr(error) + str(vars(error)) + str(error.args))
    return error


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_refused_connection_was_not_sent() -> None:
    port = unused_port()
    with calling(f"http://127.0.0.1:{port}") as duty:
        error = failure(duty)
    assert type(error) is NotSent
    assert f"127.0.0.1:{port}: [Errno 111] Connection refused" in str(error)


def test_an_unknown_host_was_not_sent() -> None:
    with calling("https://nobody.invalid") as duty:
        assert type(failure(duty)) is NotSent


def test_a_failed_tls_handshake_was_not_sent() -> None:
    def speak_plainly(connection: socket.socket, _: str) -> bool:
        connection.sendall(answer(400, "this port speaks http"))
        return False

    with serving(speak_plainly) as server, calling(server.url.replace("http:", "https:")) as duty:
        assert type(failure(duty)) is NotSent
        assert not any("app_key" in target for target in server.targets)


def test_a_silent_tls_handshake_was_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"https://127.0.0.1:{mute.getsockname()[1]}"
        with calling(url, connect_s=0.1) as duty:
            assert type(failure(duty)) is NotSent


@pytest.fixture
def own_pem(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that only its owner trusts."""
    if shutil.which("openssl") is None:
        pytest.skip("makes the certificate with openssl")
    pem = tmp_path / "own.pem"
    own = "-x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    subprocess.run(["openssl", "req", *own.split(), "-keyout", pem, "-out", pem], check=True, capture_output=True)
    return pem


@pytest.fixture
def trust(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Makes this process trust the certificates of a file, until the test ends."""

    def trust_only(pem: Path) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        _ssl_context.cache_clear()

    yield trust_only
    _ssl_context.cache_clear()


@contextlib.contextmanager
def accepting_tls(pem: Path) -> Iterator[tuple[str, list[bytes]]]:
    """The URL of a server that answers one TLS connection, and what it received."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    received: list[bytes] = []

    def accept(listener: socket.socket) -> None:
        plain, _ = listener.accept()
        with plain, contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as connection:
            while received[-1:] != [b""] and not b"".join(received).endswith(b"}"):  # the end of the JSON body
                received.append(connection.recv(65536))
            connection.sendall(answer(200, json.dumps(ROOM)))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, args=(listener,))
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}", received
        thread.join()


def test_an_untrusted_certificate_is_refused_before_the_key_is_sent(own_pem: Path) -> None:
    with accepting_tls(own_pem) as (url, received), calling(url) as duty:
        error = failure(duty)
    assert type(error) is NotSent
    assert "certificate" in str(error)
    assert received == []


def test_a_certificate_named_by_ssl_cert_file_is_trusted(own_pem: Path, trust: Callable[[Path], None]) -> None:
    trust(own_pem)
    with accepting_tls(own_pem) as (url, received), calling(url) as duty:
        assert duty.create(JOB).value.chat_id == "oc_a"
    assert b"app_key=s3cr3t" in b"".join(received)


def test_certificates_that_cannot_be_read_are_a_setting_to_correct(
    tmp_path: Path, trust: Callable[[Path], None]
) -> None:
    trust(tmp_path / "missing.pem")
    with calling("https://127.0.0.1:1") as duty, pytest.raises(SettingsError, match="check SSL_CERT_FILE"):
        duty.create(JOB)


def test_a_cut_after_the_request_leaves_the_outcome_unknown() -> None:
    with serving(lambda _connection, _target: False) as server, calling(server.url) as duty:
        error = failure(duty)
        assert (type(error), error.code) == (OutcomeUnknown, "ConnectionCut")
        assert len(server.targets) == 1


def test_a_cut_within_the_body_leaves_the_outcome_unknown() -> None:
    def stop_early(connection: socket.socket, _: str) -> bool:
        connection.sendall(answer(200, json.dumps(ROOM))[:-5])
        return False

    with serving(stop_early) as server, calling(server.url) as duty:
        assert failure(duty).code == "ConnectionCut"


def test_a_cut_on_a_kept_connection_leaves_the_outcome_unknown_and_is_not_repeated() -> None:
    with serving(first_then_cut()) as server, calling(server.url) as duty:
        assert duty.create(JOB).value.chat_id == "oc_a"
        error = failure(duty)
        assert (type(error), error.code) == (OutcomeUnknown, "ConnectionCut")
        assert (server.connections, len(server.targets)) == (1, 2)


def first_then_cut() -> Callable[[socket.socket, str], bool]:
    replies = iter([answer(200, json.dumps(ROOM))])

    def behave(connection: socket.socket, _: str) -> bool:
        reply = next(replies, b"")
        connection.sendall(reply)
        return bool(reply)

    return behave


def test_garbage_that_echoes_the_key_shows_nothing_of_it() -> None:
    def echo(connection: socket.socket, target: str) -> bool:
        connection.sendall(f"NOT HTTP {target}\r\n\r\n".encode())
        return False

    with serving(echo) as server, calling(server.url) as duty:
        assert failure(duty).code == "ConnectionCut"


@pytest.mark.parametrize(("status", "leaf"), [(504, OutcomeUnknown), (429, RateLimited)])
def test_a_gateway_page_that_echoes_the_key_everywhere_shows_nothing_of_it(
    status: int, leaf: type[FlashdutyError]
) -> None:
    def gateway(connection: socket.socket, target: str) -> bool:
        page = f"<html><title>{target}</title></html>"
        head = f"HTTP/1.1 {status} {target}\r\nContent-Length: {len(page)}\r\n"
        ids = f"Flashcat-Request-Id: {target}\r\nSet-Cookie: last={quote(target)}\r\n\r\n"
        connection.sendall((head + ids + page).encode())
        return True

    with serving(gateway) as server, calling(server.url) as duty:
        error = failure(duty)
        assert type(error) is leaf
        assert error.request_id.endswith("[app key]")


def test_a_server_that_hangs_is_left_after_the_read_timeout() -> None:
    def hang(_connection: socket.socket, _target: str) -> bool:
        return server.over.wait(30)

    with serving(hang) as server, calling(server.url, read_s=0.1) as duty:
        error = failure(duty)
        assert (type(error), error.code) == (OutcomeUnknown, "Timeout")


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nX-Slow: ", answer(200, "x" * 1000)[:-1000]])
def test_a_server_that_trickles_a_byte_now_and_then_is_left_at_the_deadline(head: bytes) -> None:
    def trickle(connection: socket.socket, _: str) -> bool:
        connection.sendall(head)
        while not server.over.wait(0.02):
            connection.sendall(b"x")
        return False

    with serving(trickle) as server, calling(server.url, connect_s=0.1, read_s=0.2) as duty:
        began = time.monotonic()
        error = failure(duty)
        assert (type(error), error.code) == (OutcomeUnknown, "Timeout")
        assert 0.3 < time.monotonic() - began < 1.5


def test_an_endless_body_is_left_at_the_limit() -> None:
    def flood(connection: socket.socket, _: str) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while not server.over.is_set():
            connection.sendall(b"x" * 65536)
        return False

    with serving(flood) as server, calling(server.url) as duty:
        assert failure(duty).code == "BodyTooLarge"


def test_calls_of_a_thread_share_one_connection_and_threads_do_not() -> None:
    def create(connection: socket.socket, _: str) -> bool:
        connection.sendall(answer(200, json.dumps(ROOM)))
        return True

    with serving(create) as server, calling(server.url) as duty:
        for _ in range(3):
            duty.create(JOB)
        assert server.connections == 1
        thread = threading.Thread(target=duty.create, args=(JOB,))
        thread.start()
        thread.join()
        assert server.connections == 2


def test_a_refusal_keeps_the_connection_for_the_next_call() -> None:
    replies = iter([answer(504, "<html>"), answer(429, ""), answer(200, json.dumps(ROOM))])

    def behave(connection: socket.socket, _: str) -> bool:
        connection.sendall(next(replies))
        return True

    with serving(behave) as server, calling(server.url) as duty:
        assert type(failure(duty)) is OutcomeUnknown
        assert type(failure(duty)) is RateLimited
        assert duty.create(JOB).value.chat_id == "oc_a"
        assert server.connections == 1


def test_a_connection_the_server_closed_meanwhile_is_replaced() -> None:
    def create_and_close(connection: socket.socket, _: str) -> bool:
        connection.sendall(answer(200, json.dumps(ROOM), "Connection: close"))
        return False

    with serving(create_and_close) as server, calling(server.url) as duty:
        duty.create(JOB)
        duty.create(JOB)
        assert server.connections == 2


def test_the_key_arrives_as_it_is_and_under_the_prefix() -> None:
    def create(connection: socket.socket, _: str) -> bool:
        connection.sendall(answer(200, json.dumps(ROOM)))
        return True

    with serving(create) as server, calling(server.url + "/duty/") as duty:
        duty.create(JOB)
        target = urlsplit(server.targets[0])
    assert target.path == "/duty/incident/war-room/create"
    assert parse_qs(target.query, strict_parsing=True) == {"app_key": [KEY]}


def test_a_proxy_in_the_environment_never_sees_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    def create(connection: socket.socket, _: str) -> bool:
        connection.sendall(answer(200, json.dumps(ROOM)))
        return True

    with serving(create) as proxy, serving(create) as server:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        with calling(server.url) as duty:
            duty.create(JOB)
        assert (len(proxy.targets), len(server.targets)) == (0, 1)
