"""What was asked makes no sense, or is not there: the error of every door."""

from __future__ import annotations

from worker.errors import WarroomsError


class BadInput(WarroomsError):
    """What was asked cannot be done; the message says what to write instead."""
