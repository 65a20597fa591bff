"""The messages that were refused, where people see them: the last hundred, in one Redis list for all accounts.

A message that is no job has no record in the ledger: nobody knows of which account, or of which incident.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from worker.redis_store import RedisStore

KEY: Final = "warrooms:refused"
KEPT: Final = 100
KEPT_S: Final = 7 * 86_400
LONGEST: Final = 200


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that was refused.

    Args:
        at: when, in seconds since the epoch.
        queue: where it stood; empty if nobody knows.
        reason: why, in a sentence.
        task_id: its id; empty if it has none.
        shown: what can be shown of it.
    """

    at: float
    queue: str
    reason: str
    task_id: str = ""
    shown: str = ""

    def as_text(self) -> str:
        """How it is kept: each part cut, whoever sent it."""
        cut = {name: value[:LONGEST] if isinstance(value, str) else value for name, value in asdict(self).items()}
        return json.dumps(cut)


class Refusals:
    """The list of them.

    Every method raises QueueUnavailable if Redis does not answer or refuses.
    """

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    def keep(self, refusal: Refusal) -> None:
        """Adds one; the hundredth before it is forgotten. Tries once: it is a remark, no job depends on it."""
        with self._store.errors(), self._store.client.pipeline() as both:
            both.lpush(KEY, refusal.as_text())
            both.ltrim(KEY, 0, KEPT - 1)
            both.expire(KEY, KEPT_S)
            both.execute()

    def newest(self) -> list[Refusal]:
        """All that are kept, the newest first."""
        kept = self._store.held(lambda: cast("list[str]", self._store.client.lrange(KEY, 0, -1)))
        return [Refusal(**json.loads(text)) for text in kept]
