"""What is newest in an account's ledger: all that a board shows of it, in three round trips.

The ledger's other readers ask for one thing at a time; a board of twenty accounts asks for all of it every two seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from worker.jobs import JobKey, JobState
from worker.ledger_fields import progress_of, record_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from worker.jobs import Lane
    from worker.records import Progress, Record
    from worker.redis_store import RedisStore
    from worker.survey import Survey


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch: its jobs by state, and by lane how many jobs stand in front of its last one in line."""

    progress: Progress
    last_ranks: Mapping[Lane, int]


@dataclass(frozen=True, slots=True)
class Newest:
    """What is newest in a ledger.

    Args:
        batches: the newest batches by name, newest first.
        letters: the newest dead letters, newest first.
        letters_in_all: how many there are.
    """

    batches: Mapping[str, NewBatch]
    letters: Sequence[Record]
    letters_in_all: int


def read_newest(
    store: RedisStore, survey: Survey, account: str, *, batches: int, letters: int, retention_ms: int
) -> Newest:
    """Reads at most so many batches and dead letters.

    Raises:
        QueueUnavailable: Redis does not answer.
    """
    base = f"warrooms:{{{account}}}"
    first = [("ZRANGE", f"{base}:batches", 0, batches - 1, "REV"), ("ZRANGE", f"{base}:failed", 0, letters - 1, "REV")]
    names, dead, now = _all(store, [*first, ("TIME",)])
    now_ms = int(now[0]) * 1000 + int(now[1]) // 1000
    in_all, *rest = _all(
        store,
        [
            ("ZCOUNT", f"{base}:failed", now_ms - retention_ms, "+inf"),
            *(("HGETALL", f"{base}:batch:{name}") for name in names),
            *(("HGETALL", f"{base}:job:{short}") for short in dead),
        ],
    )
    counted = dict(zip(names, rest, strict=False))
    keys = (JobKey.parse(f"{account}.{short}") for short in dead)
    records = [record_of(key, one) for key, one in zip(keys, rest[len(names) :], strict=False) if one]
    return Newest(
        batches=_ranked(store, survey, {name: stored for name, stored in counted.items() if stored}),
        letters=[record for record in records if record.state is JobState.FAILED],
        letters_in_all=in_all,
    )


def _ranked(store: RedisStore, survey: Survey, found: Mapping[str, Mapping[str, str]]) -> dict[str, NewBatch]:
    """The batches, each with the ranks of its last jobs."""
    progress = {name: progress_of(stored) for name, stored in found.items()}
    waiting = [name for name, jobs in progress.items() if jobs.states[JobState.QUEUED] > 0]
    ranks = dict(zip(waiting, store.together([survey.last_ranks(found[name]) for name in waiting]), strict=True))
    return {name: NewBatch(jobs, ranks.get(name, {})) for name, jobs in progress.items()}


def _all(store: RedisStore, commands: Sequence[tuple[str | int, ...]]) -> list[Any]:
    def read() -> object:
        pipe = store.client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)  # type: ignore[no-untyped-call]
        return pipe.execute()

    return cast("list[Any]", store.held(read)) if commands else []
