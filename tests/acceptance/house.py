"""An installation with its workers, and the questions a test asks of it."""

from __future__ import annotations

import contextlib
import secrets
from typing import TYPE_CHECKING, Any, Final, Self

import httpx

from producers.queue import JobQueue
from sandbox.stack import INTEGRATION_ID, Stack, until
from worker.jobs import JobState, WarRoomJob
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from producers.receipt import Receipt
    from worker.records import Progress, Record

CREATE: Final = "/incident/war-room/create"
LIST: Final = "/incident/war-room/list"
DETAIL: Final = "/incident/war-room/detail"
RAISED: Final = "6000/minute"

# Time travel: a retry that waits is due now, and the API is well again, as it would be by then.
HURRY: Final = """
if redis.call('HGET', KEYS[1] .. ':job:' .. ARGV[1], 'state') == 'retrying' then
  redis.call('ZADD', KEYS[1] .. ':retries', 'XX', 0, ARGV[1])
  redis.call('HDEL', KEYS[1] .. ':bucket', 'l', 'f', 'd', 'o', 'y', 'r', 'q')
  redis.call('DEL', KEYS[1] .. ':trouble')
end
"""


class House:
    """A stack whose limits are high enough not to be waited for, a queue into it, and workers.

    Args:
        api: more options of the sandbox.
        env: more environment variables of the workers.
        rates: what the workers believe the account's limits are.
        api_rates: what the sandbox enforces; the same unless given.
    """

    def __init__(
        self,
        *,
        api: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        rates: str = RAISED,
        api_rates: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        options = ("--rates", api_rates or rates, *api)
        self._open = contextlib.ExitStack()
        self._settings: dict[str, Any] = {"rates": rates, "integration_id": INTEGRATION_ID, **(settings or {})}
        self.stack = Stack(api=options, env={"WARROOMS_RATES": rates, **(env or {})})

    def __enter__(self) -> Self:
        with self._open:
            self._open.enter_context(self.stack)
            self.queue = JobQueue(Settings(redis_url=self.stack.redis_url, **self._settings))
            self._open.callback(self.queue.close)
            self._http = self._open.enter_context(httpx.Client(base_url=self.stack.api_url, trust_env=False))
            self._open = self._open.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def start_workers(self, count: int, *options: str) -> None:
        """Starts so many workers at the same time and waits for all."""
        for _ in range(count - 1):
            self.stack.start_worker(*options, wait=False)
        self.stack.start_worker(*options)

    def fresh(self) -> None:
        """Forgets everything: rooms, faults, counts; jobs, messages, bucket."""
        self.stack.control("reset")
        self.stack.redis.flushdb()

    def hear(self) -> None:
        """Waits until every worker has beaten; before that nobody promises a time."""
        (desk,) = self.queue.desks()
        until(lambda: len(desk.ledger.workers()) == len(self.stack.workers), "a heartbeat of each worker")

    # --- jobs ---

    def job(self, **fields: Any) -> WarRoomJob:  # noqa: ANN401
        """A job for an incident of its own."""
        return WarRoomJob(**{"incident_id": secrets.token_hex(12), "integration_id": INTEGRATION_ID, **fields})

    def jobs(self, count: int, **fields: Any) -> list[WarRoomJob]:  # noqa: ANN401
        """Several of them."""
        return [self.job(**fields) for _ in range(count)]

    def enqueue(self, *jobs: WarRoomJob, batch: str | None = None) -> list[Receipt]:
        """Queues them; their receipts."""
        receipts: list[Receipt] = []
        self.queue.enqueue_many(jobs, batch=batch, on_receipt=lambda _job, receipt: receipts.append(receipt))
        return receipts

    def record(self, job: WarRoomJob) -> Record:
        """What the ledger has."""
        record = self.queue.ledger(job.account).record(job.id)
        assert record is not None, f"the ledger has no {job.id}"
        return record

    def finish(self, *jobs: WarRoomJob, hurry: bool = True, within_s: float = 30.0) -> list[Record]:
        """Waits until all are finished; with `hurry` no retry waits for its time."""
        waiting = list(jobs)

        def finished() -> bool:
            waiting[:] = [job for job in waiting if not self._finished(job)]
            for job in waiting if hurry else ():
                self.hurry(job)
            return not waiting

        until(finished, f"{len(jobs)} jobs", within_s=within_s)
        return [self.record(job) for job in jobs]

    def hurry(self, job: WarRoomJob) -> None:
        """Makes a job's retry due now."""
        self.stack.redis.eval(HURRY, 1, f"warrooms:{{{job.account}}}", job.id.partition(".")[2])

    def failed(self) -> list[str]:
        """The ids of the dead letters, newest first."""
        return [record.job.id for record in self.queue.ledger("default").dead_letters()]

    def open(self, *jobs: WarRoomJob) -> list[Record]:
        """Queues them and waits for their end."""
        self.enqueue(*jobs)
        return self.finish(*jobs)

    def _finished(self, job: WarRoomJob) -> bool:
        record = self.queue.ledger(job.account).record(job.id)
        return record is not None and record.state.finished

    # --- the truth ---

    def progress(self, account: str = "default") -> Progress:
        """The account's counters."""
        return self.queue.ledger(account).progress()

    def calls(self) -> dict[str, int]:
        """Calls that reached the API, by endpoint."""
        calls: dict[str, int] = self.stack.stats()["by_endpoint"]
        return calls

    def rooms(self, job: WarRoomJob | None = None) -> list[dict[str, Any]]:
        """Every room that was ever made, of one incident or of all."""
        asked = {"incident_id": job.incident_id} if job else {}
        rooms: list[dict[str, Any]] = self._http.get("/sandbox/rooms", params=asked).json()["items"]
        return rooms

    def room_of(self, job: WarRoomJob) -> dict[str, Any]:
        """The incident's room; there is exactly one."""
        (room,) = self.rooms(job)
        return room

    def fault(self, kind: str, job: WarRoomJob | None = None, **rule: Any) -> None:  # noqa: ANN401
        """A fault, for the calls that name the job's incident or for all."""
        self.stack.fault(kind=kind, **({"incident_id": job.incident_id} if job else {}), **rule)

    def heal(self) -> None:
        """Takes every fault away."""
        self._http.delete("/sandbox/faults").raise_for_status()

    def probe_now(self) -> None:
        """Time travel: the next probe of an account that is down or suspended goes out now."""
        self.stack.redis.hset("warrooms:{default}:bucket", "q", "0")

    def log(self) -> str:
        """What all workers have printed."""
        return "\n".join(worker.log.read_text(errors="replace") for worker in self.stack.workers)

    def messages(self, account: str = "default") -> int:
        """Messages in the account's queues, and those of other clients in the workers' hands."""
        redis = self.stack.redis
        lists = (f"warrooms.{account}", f"warrooms.{account}.urgent")
        return sum(int(redis.llen(name)) for name in lists) + int(redis.hlen("unacked"))

    def waiting(self) -> int:
        """Jobs in all accounts' lines and in the workers' hands."""
        each = [desk.ledger.progress().states for desk in self.queue.desks()]
        return sum(states[JobState.QUEUED] + states[JobState.OPENING] for states in each)

    def overdue(self) -> None:
        """Time travel: what dead workers held comes back to its queue at the next sweep."""
        for tag in self.stack.redis.zrange("unacked_index", 0, -1):
            self.stack.redis.zadd("unacked_index", {str(tag): 1}, xx=True)

    def idle(self) -> None:
        """Waits until no message is left, and no worker holds one or a job."""
        until(lambda: self.messages() == self.waiting() == 0, "the queues to be empty")

    # --- what always holds ---

    def assert_one_room_each(self, *jobs: WarRoomJob) -> None:
        """Each incident has one room, and the ledger knows that one."""
        rooms: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for room in self.rooms():
            rooms.setdefault((room["incident_id"], room["account"]), []).append(room)
        for job in jobs:
            account = "sandbox" if job.account == "default" else job.account
            (room,) = rooms[job.incident_id, account]
            record = self.record(job)
            assert record.state in {JobState.OPENED, JobState.FOUND}, record
            assert record.room is not None
            assert record.room.chat_id == room["chat_id"]
            assert record.room.chat_name == f"Incident #{job.incident_id[-6:].upper()} war room"
            assert record.request_id.startswith("01SANDBX")

    def assert_counters_balance(self, *jobs: WarRoomJob, account: str = "default") -> None:
        """The counters say what the records say, and no message is left over."""
        states = [self.record(job).state for job in jobs]
        progress = self.progress(account)
        assert progress.states == {state: states.count(state) for state in JobState}
        assert progress.queued_urgent == 0
        self.idle()
