"""A message's keyword arguments -> the job, as docs/celery-clients.md and its JSON Schema promise. Pure.

What is null counts as absent. Whatever the schema accepts makes a job, and whatever it refuses is refused here, except
that only a worker knows which accounts it has and which default integrations those have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from worker.errors import InvalidJob
from worker.jobs import Lane, WarRoomJob

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES: Final = ("incident_id", "integration_id", "member_ids", "add_observers", "account", "batch", "urgent")
"""The arguments that there are."""

LONGEST_NAME: Final = 100
SHOWN_VALUE: Final = 40
SHOWN: Final = 200
"""Characters of a name, of another value, and of all that is shown of a message."""


def job_of(arguments: Mapping[str, object], integration_ids: Mapping[str, int | None]) -> WarRoomJob:
    """The job that the arguments describe.

    Args:
        arguments: as they came.
        integration_ids: the default IM integration of each of this worker's accounts; None if it has none.

    Raises:
        InvalidJob: says each argument that is wrong, and how.
    """
    if "lane" in arguments:
        raise InvalidJob("lane: is not a field of a job; write urgent=true")
    fields = {name: value for name, value in arguments.items() if value is not None or name not in NAMES}
    account = fields.get("account", "default")
    if not isinstance(account, str) or account not in integration_ids:
        known = ", ".join(integration_ids)
        raise InvalidJob(f"account: {_shown(account)} is not one of this worker's: {known}")
    urgent = fields.pop("urgent", False)
    if not isinstance(urgent, bool):
        raise InvalidJob("urgent: must be true or false")
    default = integration_ids[account]
    if "integration_id" not in fields and default is not None:
        fields["integration_id"] = default
    return WarRoomJob.of(**{**fields, "account": account, "lane": Lane.URGENT if urgent else Lane.BULK})


def shown(arguments: Mapping[str, object]) -> str:
    """The arguments as a person reads them in Flower: incident, account, lane, batch; those of no job as a preview."""
    names = [arguments.get("incident_id"), arguments.get("account") or "default", arguments.get("batch") or ""]
    texts = [name for name in names if isinstance(name, str) and name.isprintable() and len(name) <= LONGEST_NAME]
    if len(texts) < len(names):
        return preview(arguments)
    incident, account, batch = texts
    lane = Lane.URGENT if arguments.get("urgent") is True else Lane.BULK
    return f"{incident} @ {account}, {lane}" + (f", batch {batch}" if batch else "")


def preview(arguments: Mapping[str, object]) -> str:
    """What may be shown of arguments that are no job: those we know, cut; of others not even the name."""
    known = [f"{name}={_shown(arguments[name])}" for name in NAMES if name in arguments]
    others = len(arguments) - len(known)
    return ", ".join([*known, *([f"{others} more"] if others else [])])[:SHOWN]


def _shown(value: object) -> str:
    if isinstance(value, str):
        return ascii(value[:SHOWN_VALUE])
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and value.bit_length() <= 64):  # noqa: PLR2004
        return str(value)
    return f"({type(value).__name__})"
