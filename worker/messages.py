"""The message that nudges a worker: Celery's task protocol 2 in the envelope that kombu's Redis transport reads.

Written by hand, as every client that is not Python does, so that the ledger can record a job and put its message into
the queue in one atomic step. tests/contracts compares it with what Celery and kombu themselves would have sent.
"""

from __future__ import annotations

import json
import socket
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from worker import arguments
from worker.jobs import Lane

if TYPE_CHECKING:
    from worker.jobs import WarRoomJob

TASK: Final = "warrooms.open"
RECORDED: Final = "warrooms-recorded"
"""A header of our own messages: their jobs have a record, so that they can be missed."""

ORIGIN: Final = f"warrooms@{socket.gethostname()}"
_EMBED: Final[dict[str, None]] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


def queue_name(account: str, lane: Lane) -> str:
    """The queue of a lane: `warrooms.<account>` for bulk, `warrooms.<account>.urgent`."""
    return f"warrooms.{account}.urgent" if lane is Lane.URGENT else f"warrooms.{account}"


def queues_of(account: str) -> list[tuple[str, Lane]]:
    """The account's queues in the order in which they are popped, with their lanes."""
    return [(queue_name(account, lane), lane) for lane in (Lane.URGENT, Lane.BULK)]


def arguments_of(job: WarRoomJob) -> dict[str, Any]:
    """The task's keyword arguments for a job; optional ones only if they say something."""
    kwargs: dict[str, Any] = {
        "account": job.account,
        "incident_id": job.incident_id,
        "integration_id": job.integration_id,
    }
    if job.member_ids:
        kwargs["member_ids"] = list(job.member_ids)
    if job.add_observers:
        kwargs["add_observers"] = True
    if job.batch:
        kwargs["batch"] = job.batch
    if job.lane is Lane.URGENT:
        kwargs["urgent"] = True
    return kwargs


def shown(job: WarRoomJob) -> str:
    """The job as Flower shows it."""
    return arguments.shown(arguments_of(job))


def nudge(job: WarRoomJob) -> str:
    """The message that a job waits, as it stands in its queue's list.

    Its id is no job's: whoever reads it gets the job whose turn it is, as a rule this one.
    """
    id_ = str(uuid4())
    body = json.dumps([[], arguments_of(job), _EMBED]).encode()
    return json.dumps(
        {
            "body": b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                "lang": "py",
                "task": TASK,
                "id": id_,
                "shadow": None,
                "eta": None,
                "expires": None,
                "group": None,
                "group_index": None,
                "retries": 0,
                "timelimit": [None, None],
                "root_id": id_,
                "parent_id": None,
                "argsrepr": "()",
                "kwargsrepr": shown(job),
                "origin": ORIGIN,
                RECORDED: True,
                "ignore_result": True,
                "replaced_task_nesting": 0,
                "stamped_headers": None,
                "stamps": {},
            },
            "properties": {
                "correlation_id": id_,
                "reply_to": "",
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": queue_name(job.account, job.lane)},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": str(uuid4()),
            },
        }
    )
