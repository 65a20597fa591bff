"""The clock by which a call is judged late."""

from __future__ import annotations

import time
from typing import Final

_ID: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def elapsed_s() -> float:
    """Seconds that never go back and, where the system has such a clock, go on while the machine sleeps.

    A slot that came before a laptop was closed, or a virtual machine suspended, is too old when it wakes.
    """
    return time.clock_gettime(_ID)
