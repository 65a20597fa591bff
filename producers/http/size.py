"""The size limit of bodies. Starlette has one, too, but it answers in plain text where everything else is a problem."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from producers.console import number
from producers.http.answering import ProblemAnswer
from producers.http.problems import Kind, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class SizeLimit:
    """Refuses a body that says that it is too large before any of it is read; counts the others as they come.

    Args:
        app: the application behind it.
        most_bytes: the limit.
        others: other limits, by path.
    """

    def __init__(self, app: ASGIApp, most_bytes: int, others: Mapping[str, int]) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        most = self._others.get(scope.get("path", ""), self._most_bytes)
        if scope["type"] == "http" and _said_bytes(scope) > most:
            await ProblemAnswer(Problem(Kind.TOO_LARGE, _sentence(most)))(scope, receive, send)
            return
        read_bytes = 0

        async def counted() -> Message:
            nonlocal read_bytes
            message = await receive()
            read_bytes += len(message.get("body", b""))
            if read_bytes > most:
                raise HTTPException(Kind.TOO_LARGE.status, _sentence(most))
            return message

        await self._app(scope, counted, send)


def _said_bytes(scope: Scope) -> int:
    said = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(said) if said.isdigit() else 0


def _sentence(most: int) -> str:
    return f"the body is larger than {number(most)} bytes"
