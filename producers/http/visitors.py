"""Who looks at the status page: the session that their cookie names, its rights, and how they are told a problem."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Final

from anyio import to_thread
from fastapi import Request, Response

from producers.http.page import Html, render
from producers.http.problems import REDIS_BACK_S, Kind, Problem, Refused, of_unavailable, refused
from producers.http.sessions import Session
from producers.http.tokens import Right
from producers.http.web import web_of
from worker.errors import QueueUnavailable

Handler = Callable[[Request], Awaitable[Response]]

COOKIE: Final = "warrooms_session"

ENDED: Final = "you are not signed in any more"


def as_page(handler: Handler) -> Handler:
    """The handler, which says in HTML what goes wrong."""

    @wraps(handler)
    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except Refused as error:
            return sorry(error.problem)
        except QueueUnavailable as error:
            # A form is not sent again: its page looks whether Redis is back, and leads to where the form stands.
            return sorry(of_unavailable(error), "/login" if request.url.path == "/login" else "/")

    return answer


def sorry(problem: Problem, again: str = "/") -> Response:
    """A problem as a page; while Redis is away it looks by itself whether it is back, at the path `again`."""
    again_s = REDIS_BACK_S if problem.kind is Kind.UNAVAILABLE else None
    text = render(
        "sorry.html", session=None, title=problem.kind.title, detail=problem.detail, again=again, again_s=again_s
    )
    return Html(text, problem.kind.status, problem.headers)


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
