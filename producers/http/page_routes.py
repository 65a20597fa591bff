"""`/`: the status page, and what keeps it up to date. None of it is in the API's description."""

from typing import Final
from urllib.parse import quote, unquote

from fastapi import APIRouter, Request, Response

from producers.http.boards import Eyes
from producers.http.login_routes import login_form
from producers.http.page import GoTo, Html, Sentence, asset_at, render
from producers.http.problems import Kind, refused
from producers.http.sessions import Session
from producers.http.tokens import Right
from producers.http.visitors import ENDED, as_page, session_of
from producers.http.web import Web, web_of
from worker.errors import QueueUnavailable

SAID: Final = "warrooms_said"
SAID_S: Final = 60
LONGEST_SAID: Final = 300


def routes(_web: Web) -> APIRouter:
    """The routes."""
    router = APIRouter(include_in_schema=False)
    router.add_api_route("/", as_page(status), methods=["GET"])
    router.add_api_route("/board", board, methods=["GET"])
    router.add_api_route("/assets/{name}", one_asset, methods=["GET"])
    return router


async def status(request: Request) -> Response:
    """The page; the login form for who is not signed in."""
    session = await session_of(request)
    if session is None:
        return login_form(request)
    seen = await web_of(request).boards.see(_eyes(session))
    said = unquote(request.cookies.get(SAID, ""))[:LONGEST_SAID]
    answer = Html(render("status.html", session=session, said=said, board=seen.html))
    if said:
        answer.delete_cookie(SAID)
    return answer


async def board(request: Request) -> Response:
    """What changes of the page. What goes wrong is one sentence, which the page says."""
    try:
        session = await session_of(request)
        if session is None:
            return Sentence(ENDED, Kind.UNAUTHORIZED.status)
        seen = await web_of(request).boards.see(_eyes(session))
    except QueueUnavailable as error:
        return Sentence(str(error), Kind.UNAVAILABLE.status)
    # No secret of the session is in it, so nothing can be learnt from how well it packs.
    packs = "gzip" in request.headers.get("accept-encoding", "")
    return Html(seen.packed, headers={"Content-Encoding": "gzip"}) if packs else Html(seen.html)


def _eyes(session: Session) -> Eyes:
    return Eyes(session.caller.accounts, Right.OPERATE in session.caller.rights)


async def one_asset(name: str) -> Response:
    """A style, a script or a picture: the same for everybody, so it asks for no session."""
    found = asset_at(f"/assets/{name}")
    if found is None:
        raise refused(Kind.NOT_FOUND, "there is no such file")
    return found


def going_to_status(sentence: str, request: Request) -> Response:
    """Back to the page, which says this once."""
    answer = GoTo("/#said")
    secure = request.url.scheme == "https"
    said = quote(sentence[:LONGEST_SAID])
    answer.set_cookie(SAID, said, max_age=SAID_S, httponly=True, samesite="strict", secure=secure)
    return answer
