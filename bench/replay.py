"""The ledger's own scripts as bytes: what a worker would send, written down once and sent by who need not think.

A worker spends more time on a job than Redis does, so few workers cannot show what Redis bears. Here the real ledger
says what it would send for a job, and is answered by nobody; the names in it are counted through.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from bench.accounts_stack import job
from worker.jobs import JobState, WarRoom
from worker.ledger import FUNCTIONS, PARTS
from worker.messages import queue_name
from worker.records import Claim
from worker.scripts import text_of
from worker.token_bucket import TokenBucket
from worker.workers_ledger import WorkersLedger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.rate_limit import Plan
    from worker.redis_store import RedisStore

ROOM: Final = WarRoom(
    chat_id="oc_00000000000000000000000000000000", chat_name="INC", share_link="https://im.example/r/1"
)
UNREAD: Final = "queued"
"""An answer to `take` that ends the asking."""


@dataclass(frozen=True)
class Sent:
    """One script's keys and arguments."""

    keys: Sequence[str]
    args: Sequence[str | int]


class Recorder:
    """A store whose scripts run nowhere."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []

    def script(self, *_parts: str, **_functions: str) -> Recorder:
        """Every script is this one."""
        return self

    def __call__(self, keys: Sequence[str], args: Sequence[str | int]) -> Any:  # noqa: ANN401
        """Writes it down."""
        self.sent.append(Sent(list(keys), list(args)))
        return [UNREAD]


class Tape:
    """What a worker sends for the jobs of an account, in the order in which they stand in line.

    Args:
        account: its name.
        plan: its limits.
        digest: of the ledger's script, at the server.
        worker: in whose name.
    """

    def __init__(self, account: str, plan: Plan, digest: str, worker: str = "bench") -> None:
        self._digest = digest
        recorder, first = Recorder(), job(account, 0)
        store = cast("RedisStore", recorder)
        ledger = WorkersLedger(store, account).beside(TokenBucket(store, account, plan))
        ledger.take(first, worker)
        take = recorder.sent.pop()
        self._id = first.incident_id.encode()
        self._token = next(str(arg) for arg in take.args if str(arg).startswith(f"{worker}/")).encode()
        ledger.has_room(
            Claim(first, self._token.decode(), 1, look_first=False), JobState.OPENED, ROOM, "req-000000000000"
        )
        self._take, self._finish = self._evalsha(take), self._evalsha(recorder.sent.pop())
        self.pop = command("BRPOP", queue_name(account, first.lane), 1)
        """Takes the message, as kombu does (but for the others of the worker's queues)."""

    def take(self, number: int) -> bytes:
        """Claims the next job and asks for its slot."""
        return self._of(self._take, number)

    def finish(self, number: int) -> bytes:
        """Ends the job with a room."""
        return self._of(self._finish, number)

    def _of(self, first: bytes, number: int) -> bytes:
        """The same of the job with another number: as long as it was, so that every length stays true."""
        claim = self._token[: -len(b"%012x" % 0)] + b"%012x" % number
        return first.replace(self._id, b"%024x" % number).replace(self._token, claim)

    def _evalsha(self, sent: Sent) -> bytes:
        return command("EVALSHA", self._digest, len(sent.keys), *sent.keys, *sent.args)


def script() -> str:
    """The ledger's script, as workers have it."""
    return text_of(PARTS, FUNCTIONS)


def command(*parts: str | int) -> bytes:
    """A command in Redis' protocol."""
    texts = [str(part).encode() for part in parts]
    return b"".join([b"*%d\r\n" % len(texts), *(b"$%d\r\n%s\r\n" % (len(text), text) for text in texts)])
