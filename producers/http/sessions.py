"""Who is signed in to the status page: a random id in a cookie, and in Redis its digest with the token's name.

Neither the token nor anything that could be tried against it stands in Redis: what binds a session to its token is a
digest keyed by the id, which only the browser has. So a token that is gone, or is another one now, ends its sessions.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from producers.http.tokens import Caller, Tokens
    from worker.redis_store import RedisStore

LASTS_S: Final = 12 * 3600
"""How long a session lasts, in seconds: a shift."""

ID_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who is signed in.

    Args:
        id: the secret in the cookie.
        caller: who, with the rights that the token has now.
    """

    id: str
    caller: Caller

    @property
    def csrf(self) -> str:
        """What every form of this session holds, so that no other site's form is taken for one."""
        return _keyed(self.id, b"csrf")

    def wrote(self, form_csrf: str) -> bool:
        """Whether a form is of this session."""
        return hmac.compare_digest(self.csrf.encode(), form_csrf.encode("utf-8", "replace"))


class Sessions:
    """The sessions, in Redis. Thread-safe.

    Args:
        store: the Redis that everyone shares.
        tokens: the tokens that are known.

    Every method raises QueueUnavailable if Redis does not answer.
    """

    def __init__(self, store: RedisStore, tokens: Tokens) -> None:
        self._store = store
        self._tokens = tokens

    def open(self, token: str) -> Session | None:
        """A new session for who has this token; None if nobody has."""
        caller = self._tokens.caller(token)
        known = None if caller is None else self._tokens.named(caller.name)
        if caller is None or known is None:
            return None
        session = Session(secrets.token_urlsafe(ID_BYTES), caller)
        kept = f"{caller.name} {_keyed(session.id, known[0])}"
        self._store.held(lambda: self._store.client.set(_place(session.id), kept, ex=LASTS_S))
        return session

    def find(self, session_id: str) -> Session | None:
        """The session with this id; None if it has ended, or its token is not what it was."""
        stored = self._store.held(lambda: self._store.client.get(_place(session_id)))
        name, _, mark = cast("str", stored or "").partition(" ")
        known = self._tokens.named(name)
        if known is None or not hmac.compare_digest(mark.encode(), _keyed(session_id, known[0]).encode()):
            return None
        return Session(session_id, known[1])

    def close(self, session_id: str) -> None:
        """Ends it."""
        self._store.held(lambda: self._store.client.delete(_place(session_id)))


def _place(session_id: str) -> str:
    return f"warrooms:session:{hashlib.sha256(session_id.encode('utf-8', 'replace')).hexdigest()}"


def _keyed(session_id: str, what: bytes) -> str:
    return hmac.new(session_id.encode("utf-8", "replace"), what, hashlib.sha256).hexdigest()
