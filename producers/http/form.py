"""Forms of the status page: their fields, and whether they come from it. Pure but for reading the body."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

from producers.http.answering import check_plain, media_type_of
from producers.http.problems import Kind, refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request

FIELDS_MAX: Final = 20

_OURS: Final = frozenset({"same-origin", "none"})
"""`none`: a person did it, with the reload button for instance."""

_FOREIGN: Final = "this form was not sent by the status page itself; open the page and try again"


async def form_of(request: Request) -> Mapping[str, str]:
    """The fields of a form that our own page sent; the first value of each.

    Raises:
        Refused: another site sent it, or it cannot be read.
    """
    if not is_ours(request.headers):
        raise refused(Kind.FORBIDDEN, _FOREIGN)
    if media_type_of(request) != "application/x-www-form-urlencoded":
        raise refused(Kind.UNSUPPORTED, "a form is needed: application/x-www-form-urlencoded")
    check_plain(request)
    try:
        fields = parse_qs((await request.body()).decode("ascii"), max_num_fields=FIELDS_MAX, errors="strict")
    except ValueError:
        raise refused(Kind.MALFORMED, "the form cannot be read") from None
    return {name: values[0] for name, values in fields.items()}


def is_ours(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that the page itself sent this, or nothing about it.

    An origin of `null` says nothing: so browsers put it on our own forms, because our pages tell nobody where they were
    (`Referrer-Policy: no-referrer`). Those that send no Sec-Fetch-Site (plain HTTP from afar) are judged by the
    session's token in the form alone.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in _OURS
    origin = headers.get("origin", "null")
    return origin == "null" or urlsplit(origin).netloc == headers.get("host")
