"""One at a time in a folder: a lock that ends with the processes that hold it, however they end (flock)."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TextIO

from sandbox.stack import StackError, until
from worker.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEFTOVERS_S: Final = 15.0
"""How long to wait for what a killed holder left behind: it was told to end, and a Valkey writes its data first."""


@contextmanager
def alone(path: Path, leftovers_s: float = LEFTOVERS_S) -> Iterator[int]:
    """Holds the lock of this file; gives its descriptor, and whoever inherits that holds the lock too.

    Args:
        path: the file; it and its folder are made if they are missing, and it says who holds it.
        leftovers_s: how long to wait if the holder has ended and only heirs of its descriptor are left, in seconds.

    Raises:
        SettingsError: somebody else holds it; says who.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="ascii") as file:
        _take(file, path, leftovers_s)
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield file.fileno()


def _take(file: TextIO, path: Path, leftovers_s: float) -> None:
    def settled() -> bool:
        return _locks(file) or _runs(_holder(file))

    with suppress(StackError):
        until(settled, "the lock", within_s=leftovers_s)
    if _locks(file):
        return
    folder, holder = path.parent.absolute(), _holder(file)
    if _runs(holder):
        raise SettingsError(
            f"`warrooms up` runs in {folder} already (process {holder}); stop it first, or start in another folder"
        )
    raise SettingsError(
        f"{folder} is still in use by what process {holder} left when it was killed, such as a worker that finishes "
        f"its calls; try again in a minute, or see who it is with: fuser {path}"
    )


def _locks(file: TextIO) -> bool:
    """Whether the lock is ours now; asking again does no harm."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(file: TextIO) -> int:
    """The process that says it holds the lock; 0 if it has not said so yet."""
    file.seek(0)
    text = file.read(20).strip()
    return int(text) if text.isdecimal() else 0


def _runs(pid: int) -> bool:
    try:
        if pid:
            os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0
