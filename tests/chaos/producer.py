"""A process that hands jobs in: `python -m tests.chaos.producer --seed 1 --first 0 --count 500 --batch b`.

Says `begun` before the first job and `done` after the last. Run again with the same options it hands in the same jobs.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import count
from random import Random
from typing import TYPE_CHECKING

from producers.queue import JobQueue
from worker.errors import QueueUnavailable
from worker.settings import Settings

from .ground import AGAIN_S, numbered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.jobs import WarRoomJob


def main() -> None:
    """Hands in, in waves of all sizes spread over some seconds; a wave that Redis refuses is handed in again."""
    parser = argparse.ArgumentParser()
    for name in ("seed", "first", "count"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--batch", required=True)
    parser.add_argument("--over-s", type=float, default=0.0)
    options = parser.parse_args()
    jobs = numbered(options.seed, options.first, options.count)
    queue = JobQueue(Settings.load())
    say("begun")
    for wave in waves(jobs, Random(options.seed), options.over_s):
        hand_in(queue, wave, options.batch)
    say("done")


def waves(jobs: list[WarRoomJob], random: Random, over_s: float) -> Iterator[list[WarRoomJob]]:
    """All at once, or in waves so that the last comes after `over_s` seconds."""
    largest = len(jobs) if not over_s else min(200, len(jobs))
    while jobs:
        size = random.randint(1, largest) if over_s else largest
        wave, jobs = jobs[:size], jobs[size:]
        yield wave
        time.sleep(over_s * len(wave) / (len(wave) + len(jobs)) if jobs else 0)
        over_s -= over_s * len(wave) / (len(wave) + len(jobs)) if jobs else 0


def hand_in(queue: JobQueue, jobs: list[WarRoomJob], batch: str) -> None:
    """As a person would: on an error, all of them again."""
    for tries in count(1):
        try:
            queue.enqueue_many(jobs, batch=batch)
        except QueueUnavailable as error:
            say(f"told ({tries}): {error}")
            time.sleep(AGAIN_S)
        else:
            return


def say(text: str) -> None:
    """One line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
