"""What every route shares, and the two questions they all begin with: who asks, and what exists for them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from producers.http.problems import Kind, Problem, Refused, of_fields, refused
from producers.http.tokens import Caller, Right

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from anyio import CapacityLimiter
    from prometheus_client import CollectorRegistry

    from producers.desk import Desk
    from producers.http.attempts import Attempts
    from producers.http.boards import Boards
    from producers.http.events import Event, Recorded
    from producers.http.hand_over import HandOver
    from producers.http.idempotency import Answers
    from producers.http.intake import Intake
    from producers.http.meters import WebMeters
    from producers.http.probe import Probe
    from producers.http.sessions import Sessions
    from producers.http.settings import WebSettings
    from producers.http.together import Together
    from producers.http.tokens import Tokens
    from producers.http.usual import Usual
    from producers.parsing import Defaults
    from producers.queue import JobQueue


@dataclass(frozen=True, slots=True)
class Web:
    """The parts of the web process; made in app.py, found by the routes with `web_of`.

    While Redis hangs, bulk requests and readers may hold every usual thread of anyio's. So what must not wait for them
    has threads of its own: `probe`, `together`, `hand_over` and `boards` one each, Idempotency-Keys have `key_threads`,
    and looking who is signed in has `page_threads`.
    """

    queue: JobQueue
    probe: Probe
    settings: WebSettings
    tokens: Tokens
    intake: Intake
    together: Together
    answers: Answers
    key_threads: CapacityLimiter
    hand_over: HandOver[Event, Recorded]
    usual: Usual
    meters: WebMeters
    shown: CollectorRegistry
    boards: Boards
    sessions: Sessions
    attempts: Attempts
    page_threads: CapacityLimiter

    def desks(self, caller: Caller) -> Sequence[Desk]:
        """The accounts that exist for this caller."""
        return self.queue.desks(caller.accounts)

    def defaults(self, caller: Caller) -> Defaults:
        """What a job of this caller gets that does not say otherwise."""
        return self.defaults_of(caller.accounts)

    def defaults_of(self, accounts: Collection[str] | None) -> Defaults:
        """The same, for who sees only these accounts; None means all."""
        usual = self.usual.now
        if accounts is None:
            return usual
        mine = [name for name in self.queue.accounts if name in accounts]
        only = mine[0] if len(mine) == 1 else "default"
        return replace(usual, account=only, known_accounts=frozenset(mine))


_BEARER = HTTPBearer(auto_error=False, description="`Authorization: Bearer <token>`, one of WARROOMS_API_TOKENS.")


def web_of(request: Request) -> Web:
    """The parts of this process."""
    web: Web = request.app.state.web
    return web


def _needs(right: Right) -> Callable[..., Awaitable[Caller]]:
    async def caller(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]
    ) -> Caller:
        found = None if credentials is None else web_of(request).tokens.caller(credentials.credentials)
        if found is None:
            said = "the token is not known" if credentials else "no token was sent"
            raise refused(Kind.UNAUTHORIZED, f"{said}; send 'Authorization: Bearer <token>'", WWW_Authenticate="Bearer")
        if right not in found.rights:
            has = ", ".join(sorted(found.rights))
            raise refused(Kind.FORBIDDEN, f"the token {found.name!r} has not the right to {right}; it has: {has}")
        check_query(request)
        return found

    return caller


MayEnqueue = Annotated[Caller, Depends(_needs(Right.ENQUEUE))]
MayRead = Annotated[Caller, Depends(_needs(Right.READ))]
MayOperate = Annotated[Caller, Depends(_needs(Right.OPERATE))]

LISTS = frozenset({"code"})
"""Query parameters that may stand more than once."""


def check_query(request: Request, known: Collection[str] | None = None) -> None:
    """Refuses a parameter that stands twice, and one that is not `known`: it would be left out, and nobody would know.

    Raises:
        Refused: there is one.
    """
    times = Counter(name for name, _ in request.query_params.multi_items())
    twice = sorted({name for name, count in times.items() if count > 1} - LISTS)
    if twice:
        problems = of_fields((name[:40], f"{name[:40]} stands twice") for name in twice[:8])
        raise Refused(Problem(Kind.INVALID, "; ".join(each["detail"] for each in problems), problems))
    strange = [] if known is None else sorted(times.keys() - set(known))
    if strange:
        meant = f"; the parameters are {', '.join(sorted(known or ()))}"
        problems = of_fields((name[:40], f"{name[:40]} is no parameter here{meant}") for name in strange[:8])
        raise Refused(Problem(Kind.INVALID, "; ".join(each["detail"] for each in problems), problems))


def check_account(name: str | None, known: Sequence[Desk]) -> None:
    """Refuses an account that is none of these.

    Raises:
        Refused: it is none.
    """
    names = [desk.account.name for desk in known]
    if name is not None and name not in names:
        raise refused(Kind.NOT_FOUND, f"there is no account {name[:63]!r}; known accounts: {', '.join(names)}")
