"""An account's ledger as its tests hold it: on a clock of theirs, real or fake, and an audit of what it keeps."""

from __future__ import annotations

import json
from base64 import b64decode
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from tests.fakes import START_MS, Clock, FakeLedger, a_job
from worker.jobs import JobState, Lane, WarRoomJob
from worker.ledger import DEAD_MS, Ledger
from worker.messages import queue_name
from worker.records import Claim, Reason, Record, Stray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.redis_store import RedisStore

JOB: Final = a_job()
BASE: Final = "warrooms:{acc}"
KEY: Final = f"{BASE}:job:{JOB.incident_id}.{JOB.integration_id}"
BEAT_S: Final = 2.0

COUNTED: Final = {*JobState, "queued.bulk", "queued.urgent", "total"}
PLACES: Final = {JobState.OPENING: "claims", JobState.RETRYING: "retries", JobState.FAILED: "failed"}


@dataclass
class Desk:
    """A ledger and its clock; `store` is None for the fake."""

    ledger: Ledger | FakeLedger
    clock: Clock
    store: RedisStore | None = None

    def claim(self, job: WarRoomJob = JOB, worker: str = "w1") -> Claim:
        claim = self.ledger.claim(job, worker)
        assert isinstance(claim, Claim)
        return claim

    def record(self, job: WarRoomJob = JOB) -> Record:
        record = self.ledger.record(job.id)
        assert record is not None
        return record

    def state(self, job: WarRoomJob = JOB) -> JobState | None:
        record = self.ledger.record(job.id)
        return None if record is None else record.state

    def counted(self) -> dict[JobState, int]:
        return {state: n for state, n in self.ledger.progress().states.items() if n}

    def of_batch(self, name: str) -> dict[JobState, int]:
        batch = self.ledger.batch(name)
        assert batch is not None
        return {state: n for state, n in batch.states.items() if n}

    def strays(self, most: int = 10) -> list[Stray]:
        """Looks, when nobody else has just looked."""
        if self.store is not None:
            self.store.client.delete(f"{BASE}:nudged")
        return self.ledger.strays(most, 1000)

    def recover(self, most: int = 10) -> list[tuple[Reason, str]]:
        """Looks, and queues again what it finds."""
        strays = self.strays(most)
        assert self.ledger.requeue(strays) == len(strays)
        return [(stray.reason, stray.job.id) for stray in strays]

    def pop(self, lane: Lane = Lane.BULK) -> str | None:
        """Takes the message at the head of a queue away, as a worker does that dies before it claims."""
        if isinstance(self.ledger, FakeLedger):
            return self.ledger.pop(lane)
        assert self.store is not None
        message = self.store.client.rpop(queue_name("acc", lane))
        return None if message is None else id_of(cast("str", message))

    def line(self, lane: Lane = Lane.BULK) -> list[str]:
        """The ids of the jobs in line, the next one first."""
        if isinstance(self.ledger, FakeLedger):
            return self.ledger.lines[lane]
        assert self.store is not None
        return ["acc." + str(short) for short in self.store.client.zrange(f"{BASE}:line:{lane}", 0, -1)]

    def queue(self, lane: Lane = Lane.BULK) -> list[str]:
        """The ids that the queue's messages are about, old copies too, the next one first."""
        if isinstance(self.ledger, FakeLedger):
            return list(self.ledger.queues[lane])
        assert self.store is not None
        return [id_of(text) for text in messages(self.store, queue_name("acc", lane))]

    def watch(self, seconds: float, *workers: str) -> None:
        """Time passes, and these workers beat all the while."""
        end = self.clock.now_ms + round(seconds * 1000)
        while True:
            for worker in workers:
                self.ledger.beat(worker)
            if self.clock.now_ms >= end:
                return
            self.clock.now_ms = min(end, self.clock.now_ms + round(BEAT_S * 1000))

    def let_die(self, worker: str = "w1", survivor: str = "w2") -> None:
        """One worker falls silent for as long as it takes, another one beats."""
        self.ledger.beat(worker)
        self.watch(DEAD_MS / 1000, survivor)


def real_desk(store: RedisStore, **options: Any) -> Desk:  # noqa: ANN401
    """A desk with the real ledger."""
    clock = Clock()
    return Desk(Ledger(store, "acc", clock=clock, **options), clock, store)


def messages(store: RedisStore, queue: str) -> list[str]:
    """A queue's messages, the next one first."""
    return [str(text) for text in reversed(store.client.lrange(queue, 0, -1))]


def id_of(text: str) -> str:
    """The id of the job that a message is about."""
    _, kwargs, _ = json.loads(b64decode(json.loads(text)["body"]))
    return WarRoomJob.of(**{name: kwargs[name] for name in ("account", "incident_id", "integration_id")}).id


def audit(store: RedisStore, popped: int = 0) -> None:
    """Everything that the account's keys say agrees, given how many messages workers took away before they died."""
    redis = store.client
    short = {str(key).rpartition(":")[2]: key for key in redis.scan_iter(f"{BASE}:job:*")}
    records = {id_: cast("dict[str, str]", redis.hgetall(key)) for id_, key in short.items()}
    _audit_places(store, records)
    for lane in Lane:
        waiting = store.client.zcard(f"{BASE}:line:{lane}")
        assert len(messages(store, queue_name("acc", lane))) + popped >= waiting, f"the {lane} line"
    _audit_counts(store, records)


def _audit_places(store: RedisStore, records: dict[str, dict[str, str]]) -> None:
    names = ("retries", "failed", "line:bulk", "line:urgent")
    stand: dict[str, list[str]] = {name: list(map(str, store.client.zrange(f"{BASE}:{name}", 0, -1))) for name in names}
    claims = cast("dict[str, str]", store.client.hgetall(f"{BASE}:claims"))
    stand["claims"] = list(claims.values())
    for id_, fields in records.items():
        state = JobState(fields["state"])
        place = f"line:{fields['lane']}" if state is JobState.QUEUED else PLACES.get(state)
        where = [name for name, ids in stand.items() if id_ in ids]
        assert where == ([place] if place else []), f"{id_} is {state}"
        assert state is not JobState.OPENING or claims.get(fields["token"]) == id_, f"whose is {id_}?"
        assert (store.client.pttl(f"{BASE}:job:{id_}") == -1) is (not state.finished), f"{id_} is {state}"
    unknown = {id_ for ids in stand.values() for id_ in ids} - set(records)
    assert not unknown, "these places are of no job"


def _audit_counts(store: RedisStore, records: dict[str, dict[str, str]]) -> None:
    states = Counter(fields["state"] for fields in records.values())
    lanes = Counter(f"queued.{fields['lane']}" for fields in records.values() if fields["state"] == "queued")
    assert _counts(store, f"{BASE}:account") == states + lanes
    for key in store.client.scan_iter(f"{BASE}:batch:*"):
        name = str(key).rpartition(":")[2]
        mine = [fields for fields in records.values() if name in fields.get("batches", "").split(",")]
        assert _counts(store, str(key)) == Counter(fields["state"] for fields in mine) + Counter(total=len(mine)), name


def _counts(store: RedisStore, key: str) -> Counter[str]:
    stored = cast("dict[str, str]", store.client.hgetall(key))
    return Counter({name: int(n) for name, n in stored.items() if name in COUNTED and int(n)})


def ids(jobs: Sequence[WarRoomJob]) -> list[str]:
    """The jobs' ids."""
    return [job.id for job in jobs]


def some(first: int, last: int, **fields: object) -> list[WarRoomJob]:
    """Jobs with these numbers."""
    return [a_job(n, **fields) for n in range(first, last + 1)]


STARTED_S: Final = START_MS / 1000
