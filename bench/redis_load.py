"""Workers without HTTP: pops messages, takes and finishes jobs, over many connections, as fast as Redis answers.

    python -m bench.redis_load FIRST ACCOUNTS CONNECTIONS SECONDS     # REDIS_URL, the jobs of all accounts are queued

Each connection has one command under way, as a thread of a worker has. Prints jobs, and how long a script took from the
asking to the answer.
"""

from __future__ import annotations

import os
import selectors
import socket
import sys
import time
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import redis

from bench.accounts_stack import names
from bench.common import REAL_RATES, report
from bench.replay import Tape, script
from worker.rate_limit import plan_of
from worker.scripts import Scripts

if TYPE_CHECKING:
    from collections.abc import Iterator

POP, TAKE, FINISH = range(3)
CHUNK: Final = 65_536


@dataclass
class Hand:
    """A connection, and the job that goes over it."""

    socket: socket.socket
    tape: Tape
    number: int = 0
    step: int = POP
    asked_at: float = 0.0


def main() -> None:
    first, accounts, connections = (int(text) for text in sys.argv[1:4])
    url, seconds = os.environ["REDIS_URL"], float(sys.argv[4])
    client = redis.Redis.from_url(url)
    digest = Scripts(lambda: client).digest(script())
    plan = plan_of(REAL_RATES)
    jobs = _jobs([Tape(name, plan, digest) for name in names(accounts, first)])
    took_s, finished = _drain(url, connections, jobs, seconds)
    took_s.sort()
    at = [round(1e6 * took_s[int(len(took_s) * share)]) for share in (0.5, 0.99)]
    report(jobs=finished, script_us_p50=at[0], script_us_p99=at[1])


def _jobs(tapes: list[Tape]) -> Iterator[tuple[Tape, int]]:
    number = 0
    for tape in cycle(tapes):
        yield tape, number
        number += tape is tapes[-1]


def _drain(url: str, connections: int, jobs: Iterator[tuple[Tape, int]], seconds: float) -> tuple[list[float], int]:
    parts, took_s, finished = urlsplit(url), list[float](), 0
    ready = selectors.DefaultSelector()
    for _ in range(connections):
        sock = socket.create_connection((parts.hostname or "", parts.port or 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        hand = Hand(sock, *next(jobs))
        ready.register(sock, selectors.EVENT_READ, hand)
        sock.sendall(hand.tape.pop)
    ends_at = time.perf_counter() + seconds
    while time.perf_counter() < ends_at:
        for key, _ in ready.select(1):
            hand = key.data
            answer, now = hand.socket.recv(CHUNK), time.perf_counter()
            if not answer or answer.startswith((b"-", b"*-")):
                raise RuntimeError(f"step {hand.step} of job {hand.number}: {answer[:200]!r}")
            if hand.step == POP:
                hand.step, question = TAKE, hand.tape.take(hand.number)
            elif hand.step == TAKE:
                took_s.append(now - hand.asked_at)
                hand.step, question = FINISH, hand.tape.finish(hand.number)
            else:
                took_s.append(now - hand.asked_at)
                finished += 1
                hand.tape, hand.number = next(jobs)
                hand.step, question = POP, hand.tape.pop
            hand.asked_at = time.perf_counter()
            hand.socket.sendall(question)
    return took_s, finished


if __name__ == "__main__":
    main()
