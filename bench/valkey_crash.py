"""Valkey (AOF, fsync every second) dies under load, stays away 5 s and comes back, while a producer goes on.

Two lines: `kill` is kill -9, after which the kernel still writes what Valkey had handed to it; `power` also loses what
was not synced, as when the machine itself dies.

python -m bench.valkey_crash [--how kill] [--how power] [--away-s 5]
"""

from __future__ import annotations

import argparse
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.common import AOF, BATCH, drain, job, jobs, outcome, queue_of, report, seconds_until, start_workers
from sandbox.stack import Stack
from worker.errors import QueueUnavailable

if TYPE_CHECKING:
    from producers.queue import JobQueue

RATES = "3000/minute"
BACKLOG = 1000
SINGLES_FROM = 1_000_000
BATCHES_FROM = 2_000_000
SIZE = 10
GRACE_S = 2.0


@dataclass
class Producer:
    """Hands jobs in, single ones and small batches side by side, and remembers what it was told.

    `taken` has the number of each job that was acknowledged and when; `on_disk` those said to be on Redis' disk, which
    only batches wait for; `refused` those that were not taken, and why.
    """

    queue: JobQueue
    every_s: float = 0.02
    taken: dict[int, float] = field(default_factory=dict)
    on_disk: set[int] = field(default_factory=set)
    refused: dict[int, str] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    def singles(self) -> None:
        """Until `stop` is set."""
        number = SINGLES_FROM
        while not self.stop.wait(self.every_s):
            number += 1
            try:
                self.queue.enqueue(job(number).model_copy(update={"batch": BATCH}))
            except QueueUnavailable as error:
                self.refused[number] = str(error)
            else:
                self.taken[number] = time.monotonic()

    def batches(self) -> None:
        """Until `stop` is set."""
        first = BATCHES_FROM
        while not self.stop.wait(self.every_s):
            first += SIZE
            numbers = range(first, first + SIZE)
            try:
                tally = self.queue.enqueue_many(map(job, numbers), batch=BATCH)
            except QueueUnavailable as error:
                self.refused |= dict.fromkeys(numbers, str(error))
            else:
                self.taken |= dict.fromkeys(numbers, time.monotonic())
                self.on_disk |= set(numbers) if tally.on_disk else set()

    def missing(self) -> list[int]:
        """The numbers of acknowledged jobs that the ledger does not know."""
        ledger = self.queue.ledger("default")
        return [number for number in self.taken if ledger.record(job(number).id) is None]


def run(how: str, away_s: float) -> dict[str, Any]:
    api = ("--rates", RATES, "--latency", "uniform:0:1", "--seed", "5")
    with Stack(api, {"WARROOMS_RATES": RATES}, valkey=AOF) as stack, queue_of(stack, RATES) as queue:
        queue.enqueue_many(jobs(BACKLOG), batch=BATCH)
        start_workers(stack, 2)
        producer = Producer(queue)
        threads = [threading.Thread(target=hands_in) for hands_in in (producer.singles, producer.batches)]
        for thread in threads:
            thread.start()
        try:
            time.sleep(5)
            if how == "kill":
                stack.valkey.kill()
            else:
                stack.valkey.lose_power()
            died = time.monotonic()
            time.sleep(away_s)
            stack.valkey.start()
            before = stack.stats()["arrivals"]
            resumed_s = seconds_until(lambda: stack.stats()["arrivals"] > before, "calls again")
            time.sleep(3)
        finally:
            producer.stop.set()
            for thread in threads:
                thread.join()
        missing = producer.missing()
        acknowledged = len(producer.taken)
        numbers = [*producer.taken, *producer.refused]
        queue.enqueue_many([*jobs(BACKLOG), *map(job, numbers)], batch=BATCH)  # as whoever was told would
        facts = outcome(stack, drain(queue.ledger("default")), BACKLOG + len(numbers))
    return {
        "how": how,
        "resumed_s": resumed_s,
        "acknowledged": acknowledged,
        "said_to_be_on_disk": len(producer.on_disk),
        "refused": len(producer.refused),
        "told": next(iter(producer.refused.values()), ""),
        "missing": len(missing),
        "missing_older_than_2_s": sum(producer.taken[number] < died - GRACE_S for number in missing),
        "missing_though_on_disk": len(producer.on_disk & set(missing)),
        **facts,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--how", action="append", choices=("kill", "power"))
    parser.add_argument("--away-s", type=float, default=5)
    options = parser.parse_args()
    for how in options.how or ("kill", "power"):
        report(**run(how, options.away_s))


if __name__ == "__main__":
    main()
