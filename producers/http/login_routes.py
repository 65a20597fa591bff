"""Signing in to the status page with an API token, and out again."""

from typing import Final

import structlog
from anyio import to_thread
from fastapi import APIRouter, Request, Response

from producers.console import duration
from producers.http.form import form_of
from producers.http.page import GoTo, Html, render
from producers.http.problems import Kind
from producers.http.sessions import LASTS_S
from producers.http.tokens import Right
from producers.http.visitors import COOKIE, as_page, check_csrf, session_of
from producers.http.web import Web, web_of

TOO_MANY: Final = 429

WRONG: Final = "This token is not known. Look for typing errors, or ask whoever keeps WARROOMS_API_TOKENS."


def routes(_web: Web) -> APIRouter:
    """The routes."""
    router = APIRouter(include_in_schema=False)
    for path, method, handler in (
        ("/login", "GET", no_form_here),
        ("/login", "POST", login),
        ("/logout", "POST", logout),
    ):
        router.add_api_route(path, as_page(handler), methods=[method])
    return router


async def no_form_here(request: Request) -> Response:
    """The form stands at `/`; while Redis is away nobody can sign in, and that is said instead."""
    await web_of(request).probe.ask()
    return GoTo("/")


async def login(request: Request) -> Response:
    """A session for who has a token that may read."""
    web, address = web_of(request), request.client.host if request.client else ""
    token = (await form_of(request)).get("token", "").strip()
    if wait_s := web.attempts.wait_s(address):
        sentence = f"Too many wrong tokens came from your address. Wait {duration(max(1, wait_s))}, then try again."
        return login_form(request, sentence, TOO_MANY)
    caller = web.tokens.caller(token)
    if caller is None:
        web.attempts.wrong(address)
        structlog.get_logger("warrooms.web").warning("web.login_refused", address=address)
        return login_form(request, WRONG, Kind.UNAUTHORIZED.status)
    if Right.READ not in caller.rights:
        has = ", ".join(sorted(caller.rights))
        sentence = f"The token {caller.name!r} has not the right to read, which this page needs; it has: {has}."
        return login_form(request, sentence, Kind.FORBIDDEN.status)
    session = await to_thread.run_sync(web.sessions.open, token, limiter=web.page_threads)
    if session is None:  # pragma: no cover - it was known a moment ago
        return login_form(request, WRONG, Kind.UNAUTHORIZED.status)
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


def login_form(request: Request, wrong: str = "", status_code: int = 200) -> Response:
    """The form, and what was wrong with what it held."""
    # Whoever follows a link from elsewhere sends no SameSite=Strict cookie: the page asks once more, from here.
    again = not wrong and request.headers.get("sec-fetch-site") == "cross-site"
    challenge = {"WWW-Authenticate": "Bearer"} if status_code == Kind.UNAUTHORIZED.status else {}
    return Html(render("login.html", session=None, wrong=wrong, again=again), status_code, challenge)
