"""Accounts, workers and Redis instances as a discrete-event model: who asks whom, and who has to wait for whom.

A job's way: its account has a slot soon, so its message shows; a worker of its crew whose CPU and a thread are free
takes it (half of a job's CPU), Redis runs `take` (half of its time), the call leaves at the slot and is answered, the
worker finishes it (the other half), Redis runs `finish`. A worker is one CPU, a Redis is another one, each serves first
come, first served; but a worker finishes what it has in hand before it takes more, and takes urgent jobs first. What
both spend on accounts that have nothing to do makes them slower at all times.

A heap and no simpy: at some 100,000 jobs and six events each, a generator a job takes ten times as long.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from bench.constants import Constants
    from worker.rate_limit import Plan

EARLY_S: Final = 0.05
"""So long before its slot a message is taken, about."""

OVERLOADED: Final = 0.98
"""Who spends more than that on waiting is of no use."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A job comes, at a moment in seconds."""

    at_s: float
    account: int
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is there.

    Args:
        accounts: dealt out evenly over all crews.
        redis: instances.
        workers: of all of them, dealt out evenly, too.
        plan: each account's limits.
        threads: of a worker.
        crews: of each Redis: sets of workers, each of which serves accounts of its own.
    """

    accounts: int
    redis: int
    workers: int
    plan: Plan
    threads: int = 64
    crews: int = 1


@dataclass(slots=True)
class _Job:
    at_s: float
    urgent: bool
    account: _Account


@dataclass(slots=True)
class _Account:
    crew: _Crew
    tats_s: list[float]
    urgent: deque[_Job] = field(default_factory=deque)
    bulk: deque[_Job] = field(default_factory=deque)
    asks: bool = False  # its next message shows, or is about to


@dataclass(slots=True)
class _Worker:
    threads: int
    busy: bool = False
    used_s: float = 0.0
    answered: deque[_Job] = field(default_factory=deque)


@dataclass(slots=True)
class _Redis:
    script_s: float
    free_at: float = 0.0
    used_s: float = 0.0


@dataclass(slots=True)
class _Crew:
    workers: list[_Worker]
    redis: _Redis
    half_s: float  # of a job, in the time of one worker
    urgent: deque[_Account] = field(default_factory=deque)
    bulk: deque[_Account] = field(default_factory=deque)


@dataclass(slots=True)
class Outcome:
    """What became of it: the moments (came, room) of each job, and how much of each second each had to do."""

    rooms: list[tuple[float, float, bool, int]] = field(default_factory=list)
    ended_at: float = 0.0
    worker_used: float = 0.0
    redis_used: float = 0.0


class Overloaded(Exception):
    """Nothing is left for jobs: the accounts alone take all of a worker's, or a Redis', time."""


class Model:
    """One run.

    Args:
        fleet: what is there.
        constants: what everything costs.
        latency_s: draws how long a call takes.
    """

    def __init__(self, fleet: Fleet, constants: Constants, latency_s: Callable[[], float]) -> None:
        self._latency_s = latency_s
        self._limits = [(limit.interval_us / 1e6, limit.tolerance_us / 1e6) for limit in fleet.plan.limits]
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count, self._now = 0, 0.0
        crews = fleet.redis * fleet.crews
        each, crew = fleet.accounts / crews, fleet.workers / crews
        self.idle_worker = constants.idle_cpu_ms_per_s.at(each) / 1000
        self.idle_redis = fleet.crews * constants.idle_redis_us_per_s.at(each * crew) / 1e6
        if self.idle_worker > OVERLOADED * constants.cpu_most or self.idle_redis > OVERLOADED:
            raise Overloaded(f"idle: worker {self.idle_worker:.2f}, Redis {self.idle_redis:.2f} of its time")
        self._most = constants.cpu_most
        half_s = constants.cpu_ms_per_job.at(each) / 2000 / (self._most - self.idle_worker)
        script_s = constants.redis_us_per_job.at(each) / 2e6 / (1 - self.idle_redis)
        self._redis = [_Redis(script_s) for _ in range(fleet.redis)]
        self._crews = [_Crew([], self._redis[number % fleet.redis], half_s) for number in range(crews)]
        for number in range(fleet.workers):
            self._crews[number % crews].workers.append(_Worker(fleet.threads))
        tats = [-tolerance_s for _, tolerance_s in self._limits]
        self._accounts = [_Account(self._crews[n % crews], list(tats)) for n in range(fleet.accounts)]
        self._outcome = Outcome()

    def run(self, arrivals: Iterable[Arrival]) -> Outcome:
        """Until the last job has its room."""
        for arrival in arrivals:
            self._at(arrival.at_s, self._comes, self._accounts[arrival.account], arrival)
        while self._heap:
            self._now, _, call, args = heapq.heappop(self._heap)
            call(*args)
        out, span_s = self._outcome, max(self._now, 1e-9)
        out.ended_at = self._now
        workers = [worker for crew in self._crews for worker in crew.workers]
        out.worker_used = self.idle_worker + _mean(w.used_s for w in workers) / span_s * (self._most - self.idle_worker)
        out.redis_used = self.idle_redis + _mean(one.used_s for one in self._redis) / span_s * (1 - self.idle_redis)
        return out

    def _at(self, when_s: float, call: Callable[..., None], *args: object) -> None:
        self._count += 1
        heapq.heappush(self._heap, (when_s, self._count, call, args))

    def _comes(self, account: _Account, arrival: Arrival) -> None:
        job = _Job(self._now, arrival.urgent, account)
        (account.urgent if arrival.urgent else account.bulk).append(job)
        self._shows_later(account)

    def _shows_later(self, account: _Account) -> None:
        if not account.asks and (account.urgent or account.bulk):
            account.asks = True
            self._at(max(self._now, self._slot(account) - EARLY_S), self._shows, account)

    def _shows(self, account: _Account) -> None:
        crew = account.crew
        (crew.urgent if account.urgent else crew.bulk).append(account)
        free = [worker for worker in crew.workers if not worker.busy and worker.threads]
        if free:
            self._goes_on(crew, max(free, key=lambda worker: worker.threads))

    def _goes_on(self, crew: _Crew, worker: _Worker) -> None:
        """The worker's CPU is free: it finishes a job, or takes one."""
        if worker.answered:
            self._works(crew, worker, self._finished, worker.answered.popleft())
        elif worker.threads and (crew.urgent or crew.bulk):
            account = (crew.urgent or crew.bulk).popleft()
            worker.threads -= 1
            self._works(crew, worker, self._taken, account)

    def _works(self, crew: _Crew, worker: _Worker, then: Callable[..., None], what: _Job | _Account) -> None:
        worker.busy = True
        worker.used_s += crew.half_s
        self._at(self._now + crew.half_s, self._worked, crew, worker, then, what)

    def _worked(self, crew: _Crew, worker: _Worker, then: Callable[..., None], what: _Job | _Account) -> None:
        worker.busy = False
        redis = crew.redis
        redis.free_at = max(self._now, redis.free_at) + redis.script_s
        redis.used_s += redis.script_s
        self._at(redis.free_at, then, crew, worker, what)
        self._goes_on(crew, worker)

    def _taken(self, crew: _Crew, worker: _Worker, account: _Account) -> None:
        """Redis has said when: the call leaves then, and is answered."""
        job = (account.urgent or account.bulk).popleft()
        slot = max(self._now, self._slot(account))
        for at, (interval_s, _) in enumerate(self._limits):
            account.tats_s[at] = max(account.tats_s[at], slot) + interval_s
        account.asks = False
        self._shows_later(account)
        self._at(slot + self._latency_s(), self._answered, crew, worker, job)

    def _answered(self, crew: _Crew, worker: _Worker, job: _Job) -> None:
        worker.answered.append(job)
        if not worker.busy:
            self._goes_on(crew, worker)

    def _finished(self, crew: _Crew, worker: _Worker, job: _Job) -> None:
        worker.threads += 1
        self._outcome.rooms.append((job.at_s, self._now, job.urgent, id(job.account)))
        if not worker.busy:
            self._goes_on(crew, worker)

    def _slot(self, account: _Account) -> float:
        return max(tat - tolerance for tat, (_, tolerance) in zip(account.tats_s, self._limits, strict=True))


def _mean(values: Iterable[float]) -> float:
    all_of_them = list(values)
    return sum(all_of_them) / len(all_of_them) if all_of_them else 0.0
