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

_HINTS: Final = {"lane": "; write urgent=true"}

LONGEST_NAME: Final = 100
SHOWN_NAMES: Final = 3
SHOWN_VALUE: Final = 40
SHOWN: Final = 200
"""Characters of a name, names that no job has, characters of another value, and of all that is shown of a message."""


def job_of(arguments: Mapping[str, object], integration_ids: Mapping[str, int | None]) -> WarRoomJob:
    """The job that the arguments describe.

    Args:
        arguments: as they came.
        integration_ids: the default IM integration of each of this worker's accounts; None if it has none. It is asked
            only for an account whose job needs it, and may raise.

    Raises:
        InvalidJob: says each argument that is wrong, and how.
    """
    strange = _strange(arguments)
    try:
        known = {name: value for name, value in arguments.items() if name in NAMES}
        job = _job(known, dict.fromkeys(integration_ids, 1) if strange else integration_ids)
    except InvalidJob as error:
        strange.append(str(error))
    else:
        if not strange:
            return job
    raise InvalidJob("; ".join(strange))


def _job(known: Mapping[str, object], integration_ids: Mapping[str, int | None]) -> WarRoomJob:
    fields = {name: value for name, value in known.items() if value is not None}
    account = fields.get("account", "default")
    if not isinstance(account, str) or account not in integration_ids:
        names = ", ".join(integration_ids)
        raise InvalidJob(f"account: {_shown(account)} is not one of this worker's: {names}")
    urgent = fields.pop("urgent", False)
    if not isinstance(urgent, bool):
        raise InvalidJob("urgent: must be true or false")
    fields |= {"account": account, "lane": Lane.URGENT if urgent else Lane.BULK}
    if "integration_id" in fields:
        return WarRoomJob.of(**fields)
    WarRoomJob.of(**fields, integration_id=1)  # what is no job anyway is refused before its integration is looked up
    default = integration_ids[account]
    return WarRoomJob.of(**fields, **({} if default is None else {"integration_id": default}))


def _strange(arguments: Mapping[str, object]) -> list[str]:
    """A sentence for each name that no job has; said here, because of a broken one the model could not say which."""
    names = [name for name in arguments if name not in NAMES]
    more = [f"and {len(names) - SHOWN_NAMES} more"] if len(names) > SHOWN_NAMES else []
    return [f"{_name(name)}: is not a field of a job{_HINTS.get(name, '')}" for name in names[:SHOWN_NAMES]] + more


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


def _name(name: object) -> str:
    """As it is if it can be printed as it is; else escaped, in quotes."""
    text = str(name)[:SHOWN_VALUE]
    return text if text.isascii() and text.isprintable() and text else ascii(text)


def _shown(value: object) -> str:
    if isinstance(value, str):
        return ascii(value[:SHOWN_VALUE])
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and value.bit_length() <= 64):  # noqa: PLR2004
        return str(value)
    return f"({type(value).__name__})"
