"""`warrooms web`: the web process, until SIGTERM or Ctrl-C."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING, Final

import structlog
import uvicorn

from producers.bad_input import BadInput
from producers.http.app import build
from producers.http.settings import WebSettings
from worker import logs
from worker.settings import Settings

if TYPE_CHECKING:
    from types import FrameType

STOP_GRACE_S: Final = 30
"""How long requests under way may take when the process is to end, in seconds."""


def serve(host: str, port: int) -> None:
    """Answers requests.

    Raises:
        SettingsError: a setting is missing or wrong; without tokens the API would be open to everybody.
        BadInput: the address cannot be listened on.
    """
    settings = Settings.load()
    app = build(settings, WebSettings.load())
    logs.configure(settings.log_format)
    with _listening(host, port) as listener:
        shown = f"[{host}]" if ":" in host else host
        structlog.get_logger("warrooms.web").info("web.listening", url=f"http://{shown}:{listener.getsockname()[1]}")
        # No access log: it would say every path and query, at the cost of a line for each of 500 requests a second.
        config = uvicorn.Config(
            app, http="h11", ws="none", log_config=None, access_log=False, timeout_graceful_shutdown=STOP_GRACE_S
        )
        signal.signal(signal.SIGTERM, _nothing)  # uvicorn raises it once more at the end, which would look like a crash
        uvicorn.Server(config).run(sockets=[listener])


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """The server has ended in good order."""


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = error.strerror or str(error)
    raise BadInput(f"cannot listen on {host} port {port}: {reason}; choose others with --host and --port")
