"""The settings that a careful user of Celery on Redis would choose; the same for all Celery contenders."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from celery import Celery
from kombu import Exchange, Queue

from bench.contenders.war_room import CONCURRENCY, Refused, open_room

if TYPE_CHECKING:
    from collections.abc import Iterable

BULK: Final = "bulk"
URGENT: Final = "urgent"
QUEUES: Final = "Celery: a queue of its own, which the workers look into first"

TASK: Final[dict[str, Any]] = {"bind": True, "acks_late": True, "ignore_result": True, "max_retries": None}
"""Late acks: the job of a worker that was killed comes back. No count of retries: waiting must not lose a job."""


def make_app(name: str) -> Celery:
    """A Celery application of its own on REDIS_URL."""
    app = Celery(name, set_as_current=False)
    direct = Exchange("", type="direct")
    app.conf.update(
        broker_url=os.environ.get("REDIS_URL", "redis://localhost:6379/0"),
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            # An hour is the default: so long would the jobs of a killed worker be away. Shorter than what a job may
            # wait in a worker (a minute, while the limit is spent) would run jobs twice.
            "visibility_timeout": 120,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "unacked_restore_limit": 500,
            "queue_order_strategy": "priority",  # the first queue first, not in turns
        },
        task_queues=[Queue(queue, direct, routing_key=queue) for queue in (URGENT, BULK)],
        task_default_queue=BULK,
        task_default_exchange="",
        task_reject_on_worker_lost=True,
        worker_pool="threads",
        worker_concurrency=CONCURRENCY,
        worker_prefetch_multiplier=1,  # what waits, waits in Redis
        worker_send_task_events=False,  # nobody looks
        result_backend=None,
    )
    return app


def worker_of(name: str) -> tuple[str, ...]:
    """The arguments of `python -m` that start a worker of the application in this module."""
    options = ("--loglevel", "WARNING", "--without-mingle", "--without-gossip", "-n", "{name}@%h")
    return ("celery", "-A", f"bench.contenders.{name}:app", "worker", *options)


def call(task: Any, incident_id: str) -> None:  # noqa: ANN401
    """Opens the room, or sends the task again for later if the API refuses."""
    try:
        open_room(incident_id)
    except Refused as refused:
        raise task.retry(countdown=refused.pause_s) from refused


def send(task: Any, incident_ids: Iterable[str], *, urgent: bool) -> None:  # noqa: ANN401
    """Queues jobs, over one connection."""
    queue = URGENT if urgent else BULK
    with task.app.producer_pool.acquire(block=True) as producer:
        for incident_id in incident_ids:
            task.apply_async((incident_id,), queue=queue, producer=producer)
