"""`warrooms web`: the web process, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import math
import resource
import signal
import socket
from typing import TYPE_CHECKING, Final

import structlog
import uvicorn

from producers.bad_input import BadInput
from producers.http.app import build
from producers.http.connection import HEAD_BYTES_MAX, Patience, connections
from producers.http.settings import WebSettings
from worker import logs
from worker.settings import Settings

if TYPE_CHECKING:
    from types import FrameType

    from starlette.types import ASGIApp

STOP_GRACE_S: Final = 15
"""How long requests under way may take when the process is to end, in seconds."""


BACKLOG: Final = 256
"""Connections that may wait; asyncio tries as many at a time, and logs each for which no file is left."""


def serve(host: str, port: int) -> None:
    """Answers requests.

    Raises:
        SettingsError: a setting is missing or wrong; without tokens the API would be open to everybody.
        BadInput: the address cannot be listened on.
    """
    settings = Settings.load()
    app = build(settings, WebSettings.load())
    logs.configure(settings.log_format)
    _take_all_files()
    with _listening(host, port) as listener:
        shown = f"[{host}]" if ":" in host else host
        structlog.get_logger("warrooms.web").info("web.listening", url=f"http://{shown}:{listener.getsockname()[1]}")
        signal.signal(signal.SIGTERM, _nothing)  # uvicorn raises it once more at the end, which would look like a crash
        uvicorn.Server(config_of(app)).run(sockets=[listener])


def config_of(app: ASGIApp, patience: Patience | None = None) -> uvicorn.Config:
    """How the application is served; in the tests, too."""
    patience = patience or Patience()
    # No access log: it would say every path and query, at the cost of a line for each of 500 requests a second.
    return uvicorn.Config(
        app,
        http=connections(patience),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        h11_max_incomplete_event_size=HEAD_BYTES_MAX,
        timeout_keep_alive=math.ceil(patience.idle_s),
        timeout_graceful_shutdown=STOP_GRACE_S,
    )


def _take_all_files() -> None:
    """As many connections as the system permits: idle ones must not shut the others out."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """The server has ended in good order."""


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Not socket.create_server: asyncio sets TCP_NODELAY only where the protocol is named, and without it an answer
    # waits for the client's delayed acknowledgement (measured: 600 instead of 2,000 requests a second).
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
    else:
        return listener
    raise BadInput(f"cannot listen on {host} port {port}: {reason}; choose others with --host and --port")
