"""What a command's exit code says."""

from __future__ import annotations

from enum import IntEnum

from worker.errors import WarroomsError


class Exit(IntEnum):
    """Exit codes; scripts rely on them."""

    DONE = 0
    JOBS_FAILED = 1
    BAD_INPUT = 2
    UNREACHABLE = 3
    OUR_FAULT = 70
    INTERRUPTED = 130
    NOBODY_READS = 141


class StillWaiting(WarroomsError):
    """The job is not finished in the time that was given; the message says how to go on."""


class Stopped(WarroomsError):
    """Ctrl-C; the message says what goes on without us."""
