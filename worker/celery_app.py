"""The Celery instance and its queues: one per account and lane. The message is in messages.py."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Final

from celery import Celery
from kombu import Exchange, Queue

from worker.errors import SettingsError
from worker.messages import queues_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

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


def declare_queues(accounts: Iterable[str]) -> None:
    """Makes the accounts' queues those that this process consumes from and publishes to."""
    app.conf.task_queues = [
        Queue(name, DIRECT, routing_key=name) for account in accounts for name, _ in queues_of(account)
    ]
