"""Bodies in, JSON out: what every route does the same way."""

from __future__ import annotations

import codecs
import json
import tempfile
from typing import TYPE_CHECKING, Any, BinaryIO, Final, cast

from anyio import to_thread
from fastapi import Response

from producers.http.problems import MEDIA_TYPE, Kind, Problem, refused
from producers.parsing import shown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request

SPOOL_IN_MEMORY_BYTES: Final = 1024 * 1024
"""A larger body stands in a temporary file without a name, which is gone with the request, however it ends."""

UTF8: Final = frozenset({"utf-8", "utf8"})


class Json(Response):
    """JSON in ASCII: whatever is in it, it can be sent, and reaches no terminal unescaped."""

    media_type = "application/json"

    def __init__(self, content: object, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(content, status_code, headers)

    def render(self, content: Any) -> bytes:  # noqa: ANN401 - Starlette's own signature
        """The bytes of the body."""
        return json.dumps(content, separators=(",", ":")).encode("ascii")


class ProblemAnswer(Json):
    """A problem as an answer."""

    media_type = MEDIA_TYPE

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.as_json(), problem.kind.status, problem.headers)


async def json_body(request: Request) -> bytes:
    """The body of a request that should be JSON, as text in UTF-8 without a byte order mark.

    Raises:
        Refused: it has another type, coding or charset, or is no text.
    """
    sent = media_type_of(request)
    if sent and sent != "application/json":
        raise refused(Kind.UNSUPPORTED, f"the body must be application/json, not {sent[:60]}")
    check_plain(request)
    check_charset(request)
    body = (await request.body()).removeprefix(codecs.BOM_UTF8)
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise refused(
            Kind.MALFORMED, f"is not UTF-8: byte 0x{body[error.start]:02x} at position {error.start + 1}"
        ) from None
    return body


def check_plain(request: Request) -> None:
    """Refuses a compressed body: nothing is unpacked here, so no small body becomes a large one.

    Raises:
        Refused: Content-Encoding says another coding than identity.
    """
    said = ", ".join(request.headers.getlist("content-encoding"))
    if {coding.strip().lower() for coding in said.split(",")} - {"", "identity"}:
        detail = f"the header Content-Encoding is {shown(said)}; send the body uncompressed, without this header"
        raise refused(Kind.UNSUPPORTED, detail, Accept_Encoding="identity")


def check_charset(request: Request) -> None:
    """Refuses a body in another charset: it would be read as UTF-8, and be another text.

    Raises:
        Refused: Content-Type says another charset than UTF-8.
    """
    for parameter in str(request.headers.get("content-type", "")).split(";")[1:]:
        name, _, value = parameter.partition("=")
        charset = value.strip().strip('"')
        if name.strip().lower() == "charset" and charset.lower() not in UTF8:
            detail = f"the header Content-Type has the charset {shown(charset)}; send the body in UTF-8"
            raise refused(Kind.UNSUPPORTED, detail)


def media_type_of(request: Request) -> str:
    """What the body is said to be, without its parameters; empty if nothing is said."""
    return str(request.headers.get("content-type", "")).partition(";")[0].strip().lower()


async def spooled(request: Request) -> BinaryIO:
    """The whole body as a file to read from, in constant memory; nothing is done before all of it is here.

    Many clients read no answer before they have sent everything: who answers meanwhile waits for them, and they for us.
    """
    spool = tempfile.SpooledTemporaryFile(SPOOL_IN_MEMORY_BYTES)  # noqa: SIM115 - closed by who reads it
    try:
        async for piece in request.stream():
            await to_thread.run_sync(spool.write, piece)
        spool.seek(0)
    except BaseException:
        spool.close()
        raise
    return cast("BinaryIO", spool)
