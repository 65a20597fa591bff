"""When a message wants to be served: its headers `eta` and `expires`. Pure.

Celery calculates with both where an error drops the message unsaid, or ends the worker. So what it gets to see is in
UTC and near: an ETA that is over is none, and one that is far ahead is refused here, with a sentence.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

FARTHEST: Final = timedelta(hours=1)
"""How far ahead an ETA may be: Celery's own default for Redis, beyond which no client could rely on one.

A message that waits for its ETA stands in a worker's hands, at most 200 of them (celeryconfig.py), and a copy of it is
handed out every half a minute. A day of that would be 2,880 copies, and would stand in the way of jobs that are due.
"""

SHOWN: Final = 40


def times_of(headers: Mapping[str, object], now: datetime) -> dict[str, str]:
    """The headers `eta` and `expires` as Celery may have them: only those that still mean something.

    Args:
        headers: the message's.
        now: the time, with its zone.

    Raises:
        ValueError: one is no time, the ETA is more than `FARTHEST` ahead, or the message has expired.
    """
    eta, expires = _time("eta", headers.get("eta")), _time("expires", headers.get("expires"))
    if eta is not None and eta - now > FARTHEST:
        bound_h = FARTHEST // timedelta(hours=1)
        raise ValueError(f"eta: {eta.isoformat()} is more than {bound_h} h ahead; send the message when it is due")
    if expires is not None and expires <= now:
        said = f"{expires.isoformat()} was over when a worker read it"
        raise ValueError(f"expires: {said}; send it again if it still counts")
    kept = {"eta": eta if eta is not None and eta > now else None, "expires": expires}
    return {name: value.isoformat() for name, value in kept.items() if value is not None}


def _time(name: str, text: object) -> datetime | None:
    """Without a zone it is UTC, as Celery has it; empty is none."""
    if text is None or text == "":
        return None
    if not isinstance(text, str):
        raise _no_time(name, f"({type(text).__name__})")
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        shown = ascii(text[:SHOWN])
    raise _no_time(name, shown)


def _no_time(name: str, shown: str) -> ValueError:
    return ValueError(f"{name}: {shown} is no time; write it as 2026-11-26T09:30:00+00:00, or leave it out")
