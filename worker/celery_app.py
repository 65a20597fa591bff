"""The Celery instance, the queues, and the message: task `warrooms.open`, one queue per account and lane."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from celery import Celery
from kombu import Exchange, Queue

from worker.errors import SettingsError
from worker.jobs import Lane, WarRoomJob

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

TASK: Final = "warrooms.open"
DIRECT: Final = Exchange("", type="direct")


def _celeryconfig() -> ModuleType:
    """Our celeryconfig.py, by its place: Celery takes the one of the working folder, which may be another program's."""
    path = Path(__file__).parent.parent / "celeryconfig.py"
    spec = spec_from_file_location("warrooms_celeryconfig", path)
    if spec is None or spec.loader is None:
        raise SettingsError(f"cannot read {path}")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# Not the current app: a program that enqueues here may be a Celery program of its own.
app = Celery("warrooms", set_as_current=False)
app.config_from_object(_celeryconfig())


def queue_name(account: str, lane: Lane) -> str:
    """The queue of a lane: `warrooms.<account>` for bulk, `warrooms.<account>.urgent`."""
    return f"warrooms.{account}.urgent" if lane is Lane.URGENT else f"warrooms.{account}"


def again_queue(account: str) -> str:
    """The queue of bulk jobs that stood in line before (retries, after a 429): popped after urgent, before bulk."""
    return f"warrooms.{account}.again"


def queues_of(account: str) -> list[tuple[str, Lane]]:
    """The account's queues in the order in which they are popped, with the line in which their jobs wait for a slot."""
    return [
        (queue_name(account, Lane.URGENT), Lane.URGENT),
        (again_queue(account), Lane.BULK),
        (queue_name(account, Lane.BULK), Lane.BULK),
    ]


def declare_queues(accounts: Iterable[str]) -> None:
    """Makes the accounts' queues those that this process consumes from and publishes to."""
    app.conf.task_queues = [
        Queue(name, DIRECT, routing_key=name) for account in accounts for name, _ in queues_of(account)
    ]


def message_of(job: WarRoomJob) -> dict[str, Any]:
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


def publish(producer: Any, job: WarRoomJob, *, again: bool = False) -> None:  # noqa: ANN401
    """Sends the nudge for a job that the ledger has.

    Args:
        producer: a kombu producer of `app`, also inside `producer.batch()`.
        job: the job.
        again: whether it was in line before and goes to its head.
    """
    kwargs = message_of(job)
    shown = f"{job.incident_id} @ {job.account}"
    message = app.amqp.as_task_v2(job.id, TASK, (), kwargs, argsrepr="()", kwargsrepr=shown, ignore_result=True)
    # Straight to the queue's list: routing, declaring and Celery's publish signals cost as much as all the rest.
    producer.publish(
        message.body,
        exchange="",
        routing_key=again_queue(job.account) if again and job.lane is Lane.BULK else queue_name(job.account, job.lane),
        serializer="json",
        headers=message.headers,
        retry=False,
        **message.properties,
    )
