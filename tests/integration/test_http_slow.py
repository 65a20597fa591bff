"""Slow clients of the real web process in this one, over loopback, with less patience than usual."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

import pytest

from producers.http.connection import Patience
from tests.web import OPS, serving, web_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from worker.redis_store import RedisStore
    from worker.settings import Settings

AUTHORIZED: Final = f"POST /v1/war-rooms/bulk HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {OPS}\r\n".encode()


@pytest.fixture
def web(store: RedisStore, settings: Settings) -> Iterator[httpx.Client]:
    with serving(web_app(settings), patience=Patience(head_s=1, body_s=0.2, idle_s=0.2)) as client:
        yield client
    assert store.client.dbsize() == 0


@pytest.mark.parametrize(
    ("sent", "status", "kind"),
    [
        (AUTHORIZED, 408, "too-slow"),
        (AUTHORIZED + b"content-type: text/plain\r\ncontent-length: 25\r\n\r\n" + b"a" * 24, 408, "too-slow"),
        (b"nonsense\r\n\r\n", 400, "malformed"),
    ],
)
def test_a_client_that_stops_is_told_so_and_given_up(web: httpx.Client, sent: bytes, status: int, kind: str) -> None:
    said = until_closed(web, sent)
    assert said.startswith(b"HTTP/1.1 %d " % status)
    assert b"urn:warrooms:problem:" + kind.encode() in said


def test_a_client_that_says_nothing_is_given_up(web: httpx.Client) -> None:
    assert until_closed(web, b"") == b""


def test_a_connection_that_is_kept_is_kept_for_some_time(web: httpx.Client) -> None:
    said = until_closed(web, b"GET /healthz HTTP/1.1\r\nhost: h\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 200 ")
    assert b"connection: close" not in said


def until_closed(web: httpx.Client, sent: bytes) -> bytes:
    """What comes before the other end closes."""
    assert web.base_url.port is not None
    with socket.create_connection((web.base_url.host, web.base_url.port), timeout=30) as client:
        client.sendall(sent)
        said = b""
        while piece := client.recv(65536):
            said += piece
    return said
