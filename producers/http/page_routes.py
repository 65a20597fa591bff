"""`/`: the status page, what keeps it up to date, and signing in and out. None of it is in the API's description."""

from collections.abc import Awaitable, Callable
from functools import wraps
from urllib.parse import quote, unquote

import structlog
from anyio import to_thread
from fastapi import APIRouter, Request, Response

from producers.board import Board
from producers.console import duration
from producers.http.form import form_of
from producers.http.page import GoTo, Html, Sentence, asset_at, render
from producers.http.problems import Kind, Problem, Refused, of_unavailable, refused
from producers.http.sessions import LASTS_S, Session
from producers.http.tokens import Right
from producers.http.web import Web, web_of
from worker.errors import QueueUnavailable

Handler = Callable[[Request], Awaitable[Response]]

COOKIE = "warrooms_session"
SAID = "warrooms_said"
SAID_S = 60
LONGEST_SAID = 300

WRONG = "This token is not known. Look for typing errors, or ask whoever keeps WARROOMS_API_TOKENS."
ENDED = "you are not signed in any more"


def as_page(handler: Handler) -> Handler:
    """The handler, which says in HTML what goes wrong."""

    @wraps(handler)
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except Refused as error:
            return sorry(error.problem)
        except QueueUnavailable as error:
            return sorry(of_unavailable(error))

    return answer


def sorry(problem: Problem) -> Response:
    """A problem as a page."""
    text = render("sorry.html", session=None, title=problem.kind.title, detail=problem.detail)
    return Html(text, problem.kind.status, problem.headers)


def routes(_web: Web) -> APIRouter:
    """The routes."""
    router = APIRouter(include_in_schema=False)
    for path, method, handler in (
        ("/", "GET", status),
        ("/login", "GET", no_form_here),
        ("/login", "POST", login),
        ("/logout", "POST", logout),
    ):
        router.add_api_route(path, as_page(handler), methods=[method])
    router.add_api_route("/board", board, methods=["GET"])
    router.add_api_route("/assets/{name}", one_asset, methods=["GET"])
    return router


async def status(request: Request) -> Response:
    """The page; the login form for who is not signed in."""
    session = await session_of(request)
    if session is None:
        return _login_form(request)
    seen = await web_of(request).boards.see(session.caller.accounts)
    said = unquote(request.cookies.get(SAID, ""))[:LONGEST_SAID]
    answer = Html(render("status.html", session=session, said=said, **_board(session, seen)))
    if said:
        answer.delete_cookie(SAID)
    return answer


async def board(request: Request) -> Response:
    """What changes of the page. What goes wrong is one sentence, which the page says."""
    try:
        session = await session_of(request)
        if session is None:
            return Sentence(ENDED, Kind.UNAUTHORIZED.status)
        seen = await web_of(request).boards.see(session.caller.accounts)
    except QueueUnavailable as error:
        return Sentence(str(error), Kind.UNAVAILABLE.status)
    return Html(render("board.html", **_board(session, seen)))


def _board(session: Session, seen: Board) -> dict[str, object]:
    return {"board": seen, "operates": Right.OPERATE in session.caller.rights}


async def no_form_here(request: Request) -> Response:
    """The form stands at `/`."""
    del request
    return GoTo("/")


async def login(request: Request) -> Response:
    """A session for who has a token that may read."""
    web, address = web_of(request), request.client.host if request.client else ""
    token = (await form_of(request)).get("token", "").strip()
    if wait_s := web.attempts.wait_s(address):
        sentence = f"Too many wrong tokens came from your address. Wait {duration(max(1, wait_s))}, then try again."
        return _login_form(request, sentence, 429)
    caller = web.tokens.caller(token)
    if caller is None:
        web.attempts.wrong(address)
        structlog.get_logger("warrooms.web").warning("web.login_refused", address=address)
        return _login_form(request, WRONG, Kind.UNAUTHORIZED.status)
    if Right.READ not in caller.rights:
        has = ", ".join(sorted(caller.rights))
        sentence = f"The token {caller.name!r} has not the right to read, which this page needs; it has: {has}."
        return _login_form(request, sentence, Kind.FORBIDDEN.status)
    session = await to_thread.run_sync(web.sessions.open, token, limiter=web.page_threads)
    if session is None:  # pragma: no cover - it was known a moment ago
        return _login_form(request, WRONG, Kind.UNAUTHORIZED.status)
    structlog.get_logger("warrooms.web").info("web.login", by=caller.name, address=address)
    answer = GoTo("/")
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, session.id, max_age=LASTS_S, httponly=True, samesite="strict", secure=secure)
    return answer


async def logout(request: Request) -> Response:
    """Ends the session, here and in Redis."""
    form, session = await form_of(request), await session_of(request)
    if session is not None:
        check_csrf(session, form.get("csrf", ""))
        web = web_of(request)
        await to_thread.run_sync(web.sessions.close, session.id, limiter=web.page_threads)
    answer = GoTo("/")
    answer.delete_cookie(COOKIE)
    return answer


async def one_asset(name: str) -> Response:
    """A style, a script or a picture: the same for everybody, so it asks for no session."""
    found = asset_at(f"/assets/{name}")
    if found is None:
        raise refused(Kind.NOT_FOUND, "there is no such file")
    return found


async def session_of(request: Request) -> Session | None:
    """Who is signed in and may read; None if nobody."""
    id_ = request.cookies.get(COOKIE, "")
    if not id_:
        return None
    web = web_of(request)
    session = await to_thread.run_sync(web.sessions.find, id_, limiter=web.page_threads)
    return session if session is not None and Right.READ in session.caller.rights else None


async def operator_of(request: Request) -> Session:
    """Who is signed in and may operate.

    Raises:
        Refused: nobody is, or they may not.
    """
    session = await session_of(request)
    if session is None:
        raise refused(Kind.UNAUTHORIZED, f"{ENDED}: go back to the status page and sign in", WWW_Authenticate="Bearer")
    if Right.OPERATE not in session.caller.rights:
        has = ", ".join(sorted(session.caller.rights))
        raise refused(Kind.FORBIDDEN, f"the token {session.caller.name!r} has not the right to operate; it has: {has}")
    return session


def check_csrf(session: Session, sent: str) -> None:
    """Refuses a form that is not of this session.

    Raises:
        Refused: it is not.
    """
    if not session.wrote(sent):
        raise refused(Kind.FORBIDDEN, "this form is of another session; open the status page and try again")


def going_to_status(sentence: str, request: Request) -> Response:
    """Back to the page, which says this once."""
    answer = GoTo("/#said")
    secure = request.url.scheme == "https"
    said = quote(sentence[:LONGEST_SAID])
    answer.set_cookie(SAID, said, max_age=SAID_S, httponly=True, samesite="strict", secure=secure)
    return answer


def _login_form(request: Request, wrong: str = "", status_code: int = 200) -> Response:
    # Whoever follows a link from elsewhere sends no SameSite=Strict cookie: the page asks once more, from here.
    again = not wrong and request.headers.get("sec-fetch-site") == "cross-site"
    challenge = {"WWW-Authenticate": "Bearer"} if status_code == Kind.UNAUTHORIZED.status else {}
    return Html(render("login.html", session=None, wrong=wrong, again=again), status_code, challenge)
