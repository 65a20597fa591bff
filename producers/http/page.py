"""The status page as HTML: templates, the files beside them, and the headers that keep it to itself."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from fastapi import Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from producers.console import clean, iso, local, many, number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from producers.board import Board
    from producers.http.boards import Eyes

ASSETS: Final = {
    "style.css": "text/css; charset=utf-8",
    "live.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}

POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}

FOR_EVER: Final = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
"""An asset's name changes with what is in it."""


class Html(Response):
    """A page, or a part of it."""

    media_type = "text/html"

    def __init__(self, content: str | bytes, status_code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(content, status_code, HEADERS | dict(headers or {}))


class Sentence(Response):
    """Why there is no part of a page."""

    media_type = "text/plain"

    def __init__(self, content: str, status_code: int) -> None:
        super().__init__(clean(content), status_code, HEADERS)


class GoTo(Response):
    """Sends the browser to a page of ours, to ask for it with GET."""

    def __init__(self, path: str) -> None:
        super().__init__(status_code=303, headers=HEADERS | {"Location": path})


def render(template: str, **values: object) -> str:
    """A template of ours with these values; all of them are escaped."""
    return _environment().get_template(template).render(values)


def board_of(board: Board, eyes: Eyes) -> str:
    """The part of the page that changes, for these eyes."""
    return render("board.html", board=board, operates=eyes.operates)


@cache
def asset(name: str) -> str:
    """The path of a file beside the templates: its name has a digest of what is in it."""
    stem, _, kind = name.partition(".")
    return f"/assets/{stem}.{hashlib.sha256(_read(name)).hexdigest()[:16]}.{kind}"


def asset_at(path: str) -> Response | None:
    """The file with this path; None if there is none."""
    name = next((name for name in ASSETS if asset(name) == path), None)
    return None if name is None else Response(_read(name), headers=FOR_EVER, media_type=ASSETS[name])


@cache
def _read(name: str) -> bytes:
    return files("producers.http").joinpath("page", name).read_bytes()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("producers.http", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {"number": number, "many": many, "shown": clean, "iso": iso, "clock": clock, "zone": zone}
    environment.filters |= filters
    environment.globals["asset"] = asset
    return environment


def clock(moment_s: float, now_s: float) -> str:
    """A moment as a local time of day; with the day, if it is another one."""
    moment, now = local(moment_s), local(now_s)
    return f"{moment:%H:%M:%S}" if moment.date() == now.date() else f"{moment:%m-%d %H:%M}"


def zone(moment_s: float) -> str:
    """The zone of the times: `UTC+01:00`."""
    offset = f"{local(moment_s):%z}"
    return f"UTC{offset[:3]}:{offset[3:5]}"
