"""Carries a schedule out on a ground."""

from __future__ import annotations

import contextlib
import time
from random import Random
from typing import TYPE_CHECKING

from .faults import FAULTS, cut_after_creating, start_producer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .ground import Ground
    from .schedule import Strike


def run(
    ground: Ground,
    strikes: Sequence[Strike],
    *,
    jobs: int,
    workers: int = 2,
    say: Callable[[str], object] = lambda _: None,
) -> None:
    """A whole run: workers, a producer spread over the schedule, the faults, and in the end everything handed in again.

    Args:
        ground: where; its workers are started here.
        strikes: the schedule.
        jobs: how many the steady producer hands in.
        workers: how many there are at a time.
        say: hears of every fault when it begins.
    """
    cut_after_creating(ground)
    ground.start_workers(workers)
    producer = start_producer(ground, jobs, "steady", over_s=max((strike.at_s for strike in strikes), default=0.0))
    storm(ground, strikes, say)
    producer.kill()
    ground.hand_all_in()


def storm(ground: Ground, strikes: Sequence[Strike], say: Callable[[str], object] = lambda _: None) -> None:
    """The faults, each at its time; whatever happens, all of them are over afterwards."""
    began = time.monotonic()
    with contextlib.ExitStack() as all_open:
        blocks = {strike: all_open.enter_context(contextlib.ExitStack()) for strike in strikes}
        ends = [(strike.at_s + strike.lasts_s, True, strike) for strike in strikes]
        begins = [(strike.at_s, False, strike) for strike in strikes]
        for at_s, is_end, strike in sorted(begins + ends, key=lambda event: event[:2]):
            time.sleep(max(0.0, began + at_s - time.monotonic()))
            if is_end:
                blocks[strike].close()
            else:
                say(str(strike))
                blocks[strike].enter_context(FAULTS[strike.name](ground, Random(strike.seed)))
