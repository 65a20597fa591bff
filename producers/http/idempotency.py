"""Idempotency-Key (IETF draft-ietf-httpapi-idempotency-key-header): the same request again gets the same answer.

Jobs are idempotent by nature, so a repeat never opens a second room; the key gives its sender the first answer again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from producers.http.problems import Kind, refused

if TYPE_CHECKING:
    from worker.redis_store import RedisStore

KEPT_S: Final = 24 * 3600
"""How long an answer is given again, in seconds."""

UNDER_WAY_S: Final = 5
"""How long a request may take; after that a repeat begins anew, because its process may have died, or Redis was away.

Short, since a job that is handed in twice is one job."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The answer that was given: its status, and its body."""

    status: int
    body: dict[str, object]


@dataclass(frozen=True, slots=True)
class Request:
    """One request with a key.

    Args:
        caller: the name of the token; others may use the same key for something else.
        key: what the header says.
        body: the request's body.
    """

    caller: str
    key: str
    body: bytes

    @property
    def place(self) -> str:
        """Where it is remembered: the key may be anything, and long, so only its digest stands in Redis."""
        return f"warrooms:idempotency:{_digest(self.caller.encode() + b':' + self.key.encode())}"

    @property
    def fingerprint(self) -> str:
        """What tells it from another request."""
        return _digest(self.body)


def _digest(what: bytes) -> str:
    return hashlib.sha256(what).hexdigest()


class Answers:
    """The answers that were given, in Redis. Thread-safe.

    Args:
        store: the Redis that everyone shares.

    Every method raises QueueUnavailable if Redis does not answer.
    """

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    def begin(self, request: Request) -> Kept | None:
        """The answer that was given already; None if this is the first request with its key.

        Raises:
            Refused: the key belongs to another body, or its request is under way.
        """
        mark = json.dumps({"fingerprint": request.fingerprint})
        client = self._store.client
        if self._store.held(lambda: client.set(request.place, mark, nx=True, ex=UNDER_WAY_S)):
            return None
        stored = cast("str | None", self._store.held(lambda: client.get(request.place)))
        known: dict[str, Any] = json.loads(stored) if stored else {"fingerprint": request.fingerprint}
        if known["fingerprint"] != request.fingerprint:
            raise refused(
                Kind.KEY_REUSED,
                "this Idempotency-Key was used for another body within the last day; use a new key for a new request",
            )
        if "status" not in known:
            raise refused(
                Kind.IN_PROGRESS, "a request with this Idempotency-Key is under way; ask again", Retry_After="1"
            )
        return Kept(known["status"], known["body"])

    def keep(self, request: Request, answer: Kept) -> None:
        """Remembers the answer for a day."""
        text = json.dumps({"fingerprint": request.fingerprint, "status": answer.status, "body": answer.body})
        self._store.held(lambda: self._store.client.set(request.place, text, ex=KEPT_S))

    def forget(self, request: Request) -> None:
        """It came to nothing: a repeat begins anew."""
        self._store.held(lambda: self._store.client.delete(request.place))
