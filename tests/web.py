"""The real web process in this one: uvicorn on a port of its own over loopback, a real Valkey behind it."""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

import httpx
import uvicorn

from producers.http.app import build
from producers.http.serve import config_of
from producers.http.settings import WebSettings
from sandbox.stack import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI

    from producers.http.connection import Patience
    from worker.settings import Settings

OPS: Final = "ops-0123456789abcdef"
READER: Final = "reader-0123456789abcdef"
WRITER: Final = "writer-0123456789abcdef"
SLOW: Final = "slow-0123456789abcdef"
SECRET: Final = "webhook-0123456789abcdef"
TOKENS: Final = (
    f"ops[enqueue+read+operate]:{OPS},reader[read]:{READER},writer[enqueue]:{WRITER},slow[enqueue+read@slow]:{SLOW}"
)

ACCOUNTS: Final = """
[accounts.acc]
app_key_env = "NO_KEY_IS_READ"
integration_id = 7
[accounts.default]
app_key_env = "NO_KEY_IS_READ"
integration_id = 7
[accounts.slow]
app_key_env = "NO_KEY_IS_READ"
integration_id = 8
rates = "6/minute"
"""


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def web_app(settings: Settings, **web: Any) -> FastAPI:  # noqa: ANN401
    return build(settings, WebSettings(**({"api_tokens": TOKENS, "webhook_secret": SECRET} | web)))


@contextmanager
def serving(app: FastAPI, token: str = OPS, patience: Patience | None = None) -> Iterator[httpx.Client]:
    """The application answers until the block is left."""
    config = config_of(app, patience)
    config.port = 0
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    with ExitStack() as opened:
        thread.start()
        opened.callback(thread.join)
        opened.callback(setattr, server, "should_exit", True)
        until(lambda: server.started, "the web process")
        port = server.servers[0].sockets[0].getsockname()[1]
        yield opened.enter_context(
            httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=bearer(token), trust_env=False, timeout=30)
        )
