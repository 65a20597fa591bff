"""What each fault does to the ground when it begins, and how it ends. Each is a block: it hurts while it lasts."""

from __future__ import annotations

import json
import time
import uuid
from base64 import b64encode
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

from sandbox.stack import until
from worker.jobs import JobState

from .ground import BASE, QUEUE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from sandbox.stack import Process
    from worker.jobs import WarRoomJob

    from .ground import Ground

COPIES: Final = 20
KEPT: Final = 500
TOO_LITTLE_BYTES: Final = 1_000


class Fault(Protocol):
    """A function that makes such a block; `random` decides whom it hits."""

    def __call__(self, ground: Ground, random: Random, /) -> AbstractContextManager[None]: ...


FAULTS: Final[dict[str, Fault]] = {}


def _fault(hurt: Any) -> Fault:  # noqa: ANN401
    made: Fault = contextmanager(hurt)
    FAULTS[hurt.__name__] = made
    return made


# --- Redis, and the way to it ---


@_fault
def kill_valkey(ground: Ground, _random: Random) -> Iterator[None]:
    """SIGKILL; afterwards it comes back with its AOF."""
    ground.stack.valkey.kill()
    try:
        yield
    finally:
        ground.stack.valkey.start()


@_fault
def power_failure(ground: Ground, random: Random) -> Iterator[None]:
    """As kill_valkey, but what was not on the disk itself is gone too."""
    ground.stack.valkey.lose_power(random.uniform(0.1, 0.8))
    try:
        yield
    finally:
        ground.stack.valkey.start()


@_fault
def freeze_valkey(ground: Ground, _random: Random) -> Iterator[None]:
    """SIGSTOP, SIGCONT."""
    ground.stack.valkey.freeze()
    try:
        yield
    finally:
        ground.stack.valkey.thaw()


@_fault
def cut_connections(ground: Ground, _random: Random) -> Iterator[None]:
    """A RST to every connection of every worker and producer."""
    ground.stack.proxy.cut()
    yield


@_fault
def half_open(ground: Ground, _random: Random) -> Iterator[None]:
    """Every open connection swallows everything and never says so; new ones work."""
    ground.stack.proxy.freeze()
    try:
        yield
    finally:
        ground.stack.proxy.thaw()


@_fault
def black_hole(ground: Ground, _random: Random) -> Iterator[None]:
    """As half_open, and new connections are no better."""
    ground.stack.proxy.freeze(new_too=True)
    try:
        yield
    finally:
        ground.stack.proxy.thaw()


@_fault
def refuse_connections(ground: Ground, _random: Random) -> Iterator[None]:
    """Every connection is cut, and new ones are refused."""
    ground.stack.proxy.refuse()
    ground.stack.proxy.cut()
    try:
        yield
    finally:
        ground.stack.proxy.accept()


@_fault
def out_of_memory(ground: Ground, _random: Random) -> Iterator[None]:
    """Redis evicts nothing and refuses every write that takes memory; what is popped then is hard to write down."""
    redis = ground.stack.redis
    redis.config_set("maxmemory", int(redis.info("memory")["used_memory"]) - TOO_LITTLE_BYTES)
    try:
        yield
    finally:
        redis.config_set("maxmemory", 0)


# --- messages that should not be there ---


def keep_messages(ground: Ground) -> list[str]:
    """Some of the messages that stand in the queue now; they are kept for later."""
    seen = [str(message) for message in ground.stack.redis.lrange(QUEUE, -COPIES, -1)]
    ground.kept = (ground.kept + seen)[-KEPT:]
    return seen


@_fault
def copies(ground: Ground, random: Random) -> Iterator[None]:
    """Messages that stand in the queue stand in it twice, at either end."""
    for message in keep_messages(ground):
        push = random.choice((ground.stack.redis.lpush, ground.stack.redis.rpush))
        push(QUEUE, message)
    yield


@_fault
def stale_copies(ground: Ground, random: Random) -> Iterator[None]:
    """Messages of long ago come again, most of them of jobs that are finished."""
    for message in random.sample(ground.kept, min(COPIES, len(ground.kept))):
        ground.stack.redis.rpush(QUEUE, message)
    keep_messages(ground)
    yield


@_fault
def second_messages(ground: Ground, _random: Random) -> Iterator[None]:
    """Jobs that a worker has in hand get another message."""
    jobs = {job.id.partition(".")[2]: job for batch in ground.batches.values() for job in batch}
    with ground.stack.redis.pipeline(transaction=False) as asking:
        for short in jobs:
            asking.hget(f"{BASE}:job:{short}", "state")
        states = asking.execute()
    for job, state in zip(jobs.values(), states, strict=True):
        if state == JobState.OPENING:
            ground.stack.redis.rpush(QUEUE, message_for(job))
    yield


def message_for(job: WarRoomJob) -> str:
    """A message as a foreign Celery client makes it, with a delivery tag of its own."""
    kwargs = {"incident_id": job.incident_id, "integration_id": job.integration_id, "account": job.account}
    body = json.dumps([[], kwargs, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    return json.dumps(
        {
            "body": b64encode(body.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"lang": "py", "task": "warrooms.open", "id": job.id, "root_id": job.id},
            "properties": {
                "correlation_id": job.id,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": QUEUE},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": str(uuid.uuid4()),
            },
        }
    )


# --- the processes around it ---


def _dismiss(ground: Ground, random: Random) -> Process:
    worker = _one_of(ground, random)
    ground.dismissed.add(worker.name)
    return worker


def _one_of(ground: Ground, random: Random) -> Process:
    return random.choice(ground.workers or [ground.stack.start_worker(wait=False)])


@_fault
def kill_worker(ground: Ground, random: Random) -> Iterator[None]:
    """SIGKILL; another one takes its place."""
    _dismiss(ground, random).kill()
    ground.start_workers(1)
    yield


@_fault
def stop_worker(ground: Ground, random: Random) -> Iterator[None]:
    """SIGTERM, as in a deployment; the next one starts while it finishes what it has begun."""
    _dismiss(ground, random).ask()
    ground.start_workers(1)
    yield


@_fault
def freeze_worker(ground: Ground, random: Random) -> Iterator[None]:
    """SIGSTOP, SIGCONT: it may be declared dead meanwhile, and then it goes on with what it held."""
    worker = _one_of(ground, random)
    worker.freeze()
    try:
        yield
    finally:
        worker.thaw()


@_fault
def kill_producer(ground: Ground, random: Random) -> Iterator[None]:
    """SIGKILL in the middle of handing in; afterwards it is run again with the same jobs."""
    count = random.randint(50, 400)
    batch = f"killed-{len(ground.batches)}"
    start_producer(ground, count, batch, kill_after_s=random.uniform(0, 0.3))
    try:
        yield
    finally:
        start_producer_again(ground, batch)


def start_producer(
    ground: Ground, count: int, batch: str, *, over_s: float = 0.0, kill_after_s: float | None = None
) -> Process:
    """A process that hands in new jobs.

    Args:
        ground: where.
        count: how many jobs.
        batch: their batch, a new one.
        over_s: the seconds over which they are spread.
        kill_after_s: seconds after its first step at which it is killed; None lets it live.
    """
    ground.jobs(count, batch)
    producer = start_producer_again(ground, batch, over_s=over_s)
    if kill_after_s is not None:
        until(lambda: "begun" in producer.log.read_text(), f"producer {batch}", producer)
        time.sleep(kill_after_s)
        producer.kill()
    return producer


def start_producer_again(ground: Ground, batch: str, *, over_s: float = 0.0) -> Process:
    """A process that hands in a batch's jobs, which were handed in before."""
    jobs = ground.batches[batch]
    first = int(jobs[0].incident_id[8:], 16)
    options = {"seed": ground.seed, "first": first, "count": len(jobs), "batch": batch, "over-s": over_s}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return ground.stack.start(f"producer-{batch}-{uuid.uuid4().hex[:6]}", "tests.chaos.producer", *words)


@_fault
def server_errors(ground: Ground, random: Random) -> Iterator[None]:
    """The API answers half of the calls with 5xx, before or after it did what was asked."""
    for when in ("before", "after"):
        code = random.choice(("InternalError", "ServiceUnavailable"))
        ground.stack.fault(kind="error", code=code, when=when, probability=0.3)
    try:
        yield
    finally:
        ground.stack.clear_faults()
        cut_after_creating(ground)


def cut_after_creating(ground: Ground, share: float = 0.05) -> None:
    """From now on the API cuts this share of the connections after it created the room."""
    ground.stack.fault(kind="cut", when="after", probability=share, endpoints="/incident/war-room/create")
