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
    HUNG_UP = 129
    INTERRUPTED = 130
    NOBODY_READS = 141
    TERMINATED = 143


class StillWaiting(WarroomsError):
    """The job is not finished in the time that was given; the message says how to go on."""


class Stopped(WarroomsError):
    """Ctrl-C, or a signal like it; the message says what goes on without us."""

    def __init__(self, message: str, code: Exit = Exit.INTERRUPTED) -> None:
        super().__init__(message)
        self.exit = code
