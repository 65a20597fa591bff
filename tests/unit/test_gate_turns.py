"""Several workers with a backlog: how often they ask for each slot, and that none is lost. In simulated time."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final

import pytest

from worker.gate import Gate, GatedCycle
from worker.jobs import Lane
from worker.slots import Lines

INTERVAL_S: Final = 0.06
SLACK_S: Final = 0.18
HORIZON_S: Final = 0.125
ANSWER_S: Final = (0.002, 0.004)
QUEUE: Final = "warrooms.a"


@dataclass
class World:
    """A clock, a bucket at 1,000 a minute, and workers with a backlog that never ends."""

    random: random.Random
    now_s: float = 0.0
    free_at: float = 0.0
    asks: int = 0
    slots: int = 0
    _events: list[tuple[float, int, str, Worker]] = field(default_factory=list)
    _number: int = 0

    def at(self, when: float, what: str, worker: Worker) -> None:
        self._number += 1
        heappush(self._events, (max(when, self.now_s), self._number, what, worker))

    def run(self, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            self.now_s, _, what, worker = heappop(self._events)
            if worker.lives:
                getattr(worker, what)()
        self.now_s = until

    def soon(self) -> float:
        return self.now_s + self.random.uniform(*ANSWER_S)

    def ask(self) -> tuple[float | None, Lines]:
        """The wait for a slot, None if it is too far ahead; and the next one."""
        self.asks += 1
        self.free_at = max(self.free_at, self.now_s - SLACK_S)
        wait_s = max(0.0, self.free_at - self.now_s)
        if wait_s > HORIZON_S:
            return None, Lines(wait_s, wait_s, 0.0)
        self.free_at += INTERVAL_S
        self.slots += 1
        next_s = self.free_at - self.now_s
        return wait_s, Lines(next_s, next_s, 0.0)


class Worker:
    """A gate, and the loop and the threads of a worker around it."""

    def __init__(self, world: World) -> None:
        self.lives = True
        self._world = world
        self._gate = Gate(clock=lambda: world.now_s)
        self._gate.add("a", INTERVAL_S, [(QUEUE, Lane.BULK)], slack_s=SLACK_S)
        self._gate.wake = lambda: world.at(world.now_s, "turn", self)
        self._gate.wake_in = lambda seconds: world.at(world.now_s + seconds, "turn", self)
        self._cycle = GatedCycle([QUEUE], self._gate)
        self._fetches = False
        world.at(world.random.uniform(0, 0.2), "turn", self)

    def turn(self) -> None:
        self._gate.look()
        if not self._fetches and self._cycle.consume(1):
            self._fetches = True
            self._world.at(self._world.soon(), "message", self)

    def message(self) -> None:
        self._fetches = False
        self._cycle.rotate(QUEUE)
        self._cycle.answered()
        self._world.at(self._world.soon(), "ask", self)
        self.turn()

    def ask(self) -> None:
        wait_s, lines = self._world.ask()
        self._gate.learn("a", lines)
        self._gate.asked(QUEUE)
        if wait_s is None:
            self._world.at(self._world.now_s + lines.bulk_s - HORIZON_S / 2, "ask", self)


def world_of(workers: int) -> tuple[World, list[Worker]]:
    world = World(random.Random(workers))
    return world, [Worker(world) for _ in range(workers)]


@pytest.mark.parametrize(("workers", "asks"), [(1, 1.0), (2, 1.0), (3, 1.02), (5, 1.1), (10, 1.6)])
def test_of_several_workers_each_comes_in_its_turn(workers: int, asks: float) -> None:
    world, _ = world_of(workers)
    world.run(5.0)
    world.asks = world.slots = 0
    world.run(65.0)
    assert world.slots >= 60 / INTERVAL_S - 2, "slots are lost"
    assert world.asks / world.slots <= asks + 0.005, "each ask is a script too many for Redis"


@pytest.mark.parametrize(("workers", "left"), [(3, 1), (10, 1), (10, 5), (30, 1)])
def test_those_who_are_left_lose_hardly_a_slot(workers: int, left: int) -> None:
    world, all_of_them = world_of(workers)
    world.run(30.0)
    world.slots = 0
    for worker in all_of_them[left:]:
        worker.lives = False
    world.run(90.0)
    assert world.slots >= 60 / INTERVAL_S - 10
