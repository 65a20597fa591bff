"""What goes back over the wire: the API's envelope, or one of three ways of not answering."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sandbox.errors import ApiError

JsonObject = dict[str, object]


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer.

    Args:
        status: the HTTP status.
        body: the bytes sent.
        request_id: goes out as `Flashcat-Request-Id`; no such header if empty, as from a gateway in front.
        content_type: goes out as `Content-Type`.
        headers: further headers.
    """

    status: int
    body: bytes
    request_id: str = ""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


class NoReply(Enum):
    """The ways of not answering."""

    RESET = "the connection is reset (RST)"
    CLOSE = "the connection is closed in good order (FIN), without an answer"
    HANG = "the connection stays open and silent"


Outcome = Reply | NoReply


def encode(value: object) -> bytes:
    """JSON without needless spaces."""
    return json.dumps(value, separators=(",", ":")).encode()


def success(request_id: str, data: object) -> Reply:
    """A success with its data."""
    return Reply(200, encode({"request_id": request_id, "data": data}), request_id)


def failure(request_id: str, error: ApiError, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """An error envelope: `data` is absent."""
    body = {"request_id": request_id, "error": {"code": error.code, "message": error.message}}
    return Reply(error.status, encode(body), request_id, headers=headers)
