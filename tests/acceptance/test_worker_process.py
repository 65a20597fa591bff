"""The worker as a process: how it stops, how it refuses to start, how it waits for Redis."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
import redis

from producers.queue import JobQueue
from sandbox.stack import INTEGRATION_ID, embedded_redis, until
from worker.jobs import JobState
from worker.settings import Settings

from .house import CREATE, House

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT: Final = Path(__file__).parent.parent.parent
WORKER: Final = (sys.executable, "-m", "celery", "-A", "worker", "worker", "--without-mingle", "--without-gossip")


@pytest.fixture(scope="module")
def halting() -> Iterator[House]:
    """Slow enough to be stopped in the middle; the API takes its time too."""
    with House(rates="1800/minute", api_rates="6000/minute", api=("--latency", "constant:0.4")) as house:
        yield house


@pytest.mark.parametrize(
    ("how", "code"),
    [(signal.SIGTERM, 0), (signal.SIGINT, 1)],  # 1 is Celery's own choice for Ctrl-C, after the same warm shutdown
    ids=["SIGTERM", "Ctrl-C"],
)
def test_a_stopped_worker_finishes_its_calls_and_leaves_the_rest_to_the_next(
    halting: House, how: signal.Signals, code: int
) -> None:
    house = halting
    house.fresh()
    jobs = house.jobs(36)
    house.enqueue(*jobs)
    worker = house.stack.start_worker(wait=False)
    until(lambda: house.progress().with_room >= 3, "some rooms", worker)
    assert worker.stop(how) == code
    progress = house.progress()
    assert progress.states[JobState.OPENING] == 0, "no call is left without its end"
    assert progress.states[JobState.QUEUED] > 0, "the rest stays queued"
    assert house.calls() == {CREATE: progress.with_room}
    next_one = house.stack.start_worker(wait=False)
    house.finish(*jobs)
    assert house.calls() == {CREATE: 36}, "no call was repeated"
    house.assert_one_room_each(*jobs)
    house.assert_counters_balance(*jobs)
    assert next_one.stop() == 0
    assert "Traceback" not in house.log()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT], ids=lambda how: how.name)
def test_a_second_signal_repeats_no_call(halting: House, second: signal.Signals) -> None:
    """Celery hands what is running back to the queue on some of them, and goes on running it."""
    house = halting
    house.fresh()
    jobs = house.jobs(24)
    house.enqueue(*jobs)
    worker = house.stack.start_worker(wait=False)
    other = house.stack.start_worker()
    until(lambda: house.stack.stats()["in_flight"] >= 4, "calls under way", worker)
    worker.popen.terminate()
    until(lambda: "Warm shutdown" in worker.log.read_text() or worker.popen.poll() is not None, "the first signal")
    worker.stop(second)
    house.finish(*jobs)
    assert house.calls()[CREATE] == 24, "no call was repeated"
    house.assert_one_room_each(*jobs)
    house.overdue()
    house.assert_counters_balance(*jobs)
    assert other.stop() == 0


def test_a_worker_outlives_a_redis_that_refuses_for_a_while(halting: House) -> None:
    """As in a failover: the server turns into a replica, and back. Celery by itself would end the worker."""
    house = halting
    house.fresh()
    jobs = house.jobs(30)
    house.enqueue(*jobs)
    worker = house.stack.start_worker(wait=False)
    until(lambda: house.progress().with_room >= 2, "some rooms", worker)
    house.stack.redis.replicaof("127.0.0.1", 1)
    until(lambda: "read only replica" in worker.log.read_text(), "the worker to notice", worker)
    house.stack.redis.replicaof("NO", "ONE")
    house.finish(*jobs, within_s=60)
    house.assert_one_room_each(*jobs)
    assert worker.stop() == 0


def test_a_killed_workers_jobs_are_opened_by_the_next_and_none_twice(halting: House) -> None:
    house = halting
    house.fresh()
    jobs = house.jobs(20)
    house.enqueue(*jobs)
    worker = house.stack.start_worker(wait=False)
    until(lambda: house.stack.stats()["in_flight"] >= 3, "calls under way", worker)
    worker.popen.kill()
    worker.popen.wait()
    dead = [job for job in jobs if house.record(job).state is JobState.OPENING]
    next_one = house.stack.start_worker(wait=False)
    records = house.finish(*jobs)
    states = {job.id: record.state for job, record in zip(jobs, records, strict=True)}
    assert JobState.FOUND in {states[job.id] for job in dead}, "the API had carried out what nobody heard of"
    house.assert_one_room_each(*jobs)
    assert next_one.stop() == 0


START_ERRORS: Final[dict[str, tuple[dict[str, str], int, str]]] = {
    "no app key": ({"FLASHDUTY_APP_KEY": ""}, 2, "no app key for account 'default': set FLASHDUTY_APP_KEY"),
    "a key with a line break": ({"FLASHDUTY_APP_KEY": "a b"}, 2, "the app key contains a space"),
    "rates that are none": ({"WARROOMS_RATES": "a lot"}, 2, "'a lot' is no list of rates"),
    "a concurrency that is none": ({"WARROOMS_CONCURRENCY": "many"}, 2, "WARROOMS_CONCURRENCY"),
    "a base URL that is none": ({"FLASHDUTY_BASE_URL": "ftp://x"}, 2, "FLASHDUTY_BASE_URL must be http"),
    "a Redis URL that is none": ({"REDIS_URL": "http://:wrong-password@x"}, 2, "REDIS_URL is no Redis address"),
    "a bad accounts file": ({"WARROOMS_ACCOUNTS_FILE": "{bad}"}, 2, "accounts.one.app_key: unknown name"),
    "a wrong Redis password": ({"REDIS_URL": "{locked}"}, 3, "refuses the password"),
}


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory, shared: House) -> dict[str, tuple[int, str]]:
    """Exit code and output of a worker for each start error; four at a time."""
    folder = tmp_path_factory.mktemp("start")
    (folder / "bad.toml").write_text('[accounts.one]\napp_key = "the-key-itself"\n')
    outcomes: dict[str, tuple[int, str]] = {}
    with embedded_redis(folder / "valkey") as url, redis.Redis.from_url(url) as client:
        client.config_set("requirepass", "right-password")
        places = {"{bad}": str(folder / "bad.toml"), "{locked}": url.replace("redis://", "redis://:wrong-password@")}
        waiting = list(START_ERRORS)
        while waiting:
            batch, waiting = waiting[:4], waiting[4:]
            started = {name: _start(shared, START_ERRORS[name][0], places) for name in batch}
            for name, popen in started.items():
                outcomes[name] = _end_of(popen)
    return outcomes


def _start(shared: House, more: Mapping[str, str], places: Mapping[str, str]) -> subprocess.Popen[str]:
    env = {**shared.stack.env, **{name: places.get(value, value) for name, value in more.items()}}
    return subprocess.Popen(
        WORKER, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def _end_of(popen: subprocess.Popen[str]) -> tuple[int, str]:
    try:
        out, _ = popen.communicate(timeout=15)
    except subprocess.TimeoutExpired:  # it runs, although it should not: its exit code will say so
        popen.kill()
        out, _ = popen.communicate()
    return popen.returncode, out


@pytest.mark.parametrize("name", START_ERRORS)
def test_a_worker_that_cannot_start_says_why_in_one_sentence(refused: dict[str, tuple[int, str]], name: str) -> None:
    _, code, sentence = START_ERRORS[name]
    got, out = refused[name]
    assert got == code, out
    assert "Traceback" not in out
    (said,) = [line for line in out.splitlines() if line.startswith("warrooms: ")]
    assert sentence in said
    assert "wrong-password" not in out
    assert "the-key-itself" not in out


def test_a_worker_waits_for_a_redis_that_comes_later(shared: House, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    url = f"redis://127.0.0.1:{port}/0"
    log = tmp_path / "worker.log"
    with log.open("w") as sink:
        worker = subprocess.Popen(
            WORKER, env={**shared.stack.env, "REDIS_URL": url}, cwd=ROOT, stdout=sink, stderr=subprocess.STDOUT
        )
    try:
        until(lambda: "Cannot connect" in log.read_text(), "the worker to miss its Redis")
        assert worker.poll() is None
        with embedded_redis(tmp_path / "valkey", port=port) as came:
            assert came == url
            queue = JobQueue(Settings(redis_url=url, rates="6000/minute", integration_id=INTEGRATION_ID))
            job = shared.job()
            queue.enqueue(job)
            ledger = queue.ledger("default")
            until(lambda: ledger.progress().states[JobState.OPENED] == 1, "the room")
            queue.close()
            worker.terminate()
            assert worker.wait(30) == 0
    finally:
        worker.kill()
        worker.wait()
    assert len(shared.rooms(job)) == 1
    assert "Traceback" not in log.read_text()
