"""The real command in a process of its own; the ledger and the bucket play the worker."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from worker.errors import FlashdutyError, RequestRefused
from worker.jobs import JobKey, JobState, WarRoom, WarRoomJob
from worker.records import Claim

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.ledger import Ledger

Done = subprocess.CompletedProcess[str]

WARROOMS: Final = str(Path(sys.executable).with_name("warrooms"))
ID: Final = "69da451ef77b1b51f40e83ee"
JOB: Final = f"default.{ID}.7"
CLOSED: Final = RequestRefused(
    "the incident is closed", code="InvalidParameter", status=400, hint="open it again", request_id="req-9"
)


class Run(Protocol):
    def __call__(self, *args: str, stdin: str | bytes = "", env: dict[str, str] | None = None) -> Done: ...


def ids(count: int) -> str:
    return "".join(f"{number:024x}\n" for number in range(1, count + 1))


def job(number: int) -> str:
    return f"default.{number:024x}.7"


def queue(ledger: Ledger, batch: str, numbers: Iterable[int]) -> None:
    """Queues jobs as a producer does."""
    jobs = iter(WarRoomJob(incident_id=f"{number:024x}", integration_id=7) for number in numbers)
    while chunk := list(islice(jobs, 500)):
        ledger.enqueue(chunk, batch)


def claim(ledger: Ledger, job_id: str, worker: str = "test") -> Claim:
    key = JobKey.parse(job_id)
    asked = WarRoomJob(account=key.account, incident_id=key.incident_id, integration_id=key.integration_id)
    claimed = ledger.claim(asked, worker)
    assert isinstance(claimed, Claim)
    return claimed


def calls(ledger: Ledger, job_id: str) -> Claim:
    """A worker claims it and sends the call."""
    claimed = claim(ledger, job_id)
    assert ledger.begin(claimed, sent=True)
    return claimed


def opens(ledger: Ledger, job_id: str, name: str = "Disk full") -> None:
    room = WarRoom(chat_id="oc_1", chat_name=name, share_link="https://im.example/1")
    assert ledger.has_room(calls(ledger, job_id), JobState.OPENED, room, "req-1")


def fails(ledger: Ledger, job_id: str, error: FlashdutyError = CLOSED) -> None:
    assert ledger.failed(calls(ledger, job_id), error, str(error))


def one_object(done: Done) -> dict[str, Any]:
    value = json.loads(done.stdout)
    assert isinstance(value, dict)
    return value
