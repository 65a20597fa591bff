from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import pytest
import redis

from sandbox.stack import Process, Stack, StackError, Valkey, embedded_redis, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    with Valkey(tmp_path / "valkey", appendonly="yes", appendfsync="always") as valkey:
        yield valkey


@pytest.fixture
def client(valkey: Valkey) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey.url, decode_responses=True, socket_timeout=0.2, retry=None) as client:
        yield client


def test_a_killed_one_comes_back_on_its_port_with_what_was_on_disk(valkey: Valkey, client: redis.Redis) -> None:
    client.set("kept", "yes")
    url, pid = valkey.url, valkey.process.popen.pid
    valkey.kill()
    assert valkey.process.popen.returncode == -9
    with pytest.raises(redis.ConnectionError):
        client.ping()
    valkey.start()
    assert valkey.url == url
    assert valkey.process.popen.pid != pid
    assert client.get("kept") == "yes"


def test_without_power_what_was_synced_is_kept_and_the_rest_is_lost(tmp_path: Path) -> None:
    valkey = Valkey(tmp_path / "valkey", appendonly="yes", appendfsync="everysec")
    with valkey, redis.Redis.from_url(valkey.url, decode_responses=True, retry=None) as client:
        client.config_set("appendfsync", "always")
        client.set("synced", "yes")
        client.config_set("appendfsync", "everysec")
        acknowledged: list[int] = []
        counting = threading.Thread(target=_count, args=(valkey.url, acknowledged))
        counting.start()
        valkey.lose_power(0.4)
        counting.join()
        valkey.start()
        assert client.get("synced") == "yes"
        assert int(client.get("counted") or 0) < acknowledged[-1], "some answers were promises only"


def _count(url: str, acknowledged: list[int]) -> None:
    with contextlib.suppress(redis.RedisError), redis.Redis.from_url(url, retry=None) as client:
        while True:
            acknowledged.append(int(client.incr("counted")))


def test_a_stopped_one_comes_back_too(valkey: Valkey, client: redis.Redis) -> None:
    client.set("kept", "yes")
    valkey.stop()
    assert valkey.process.popen.returncode == 0
    valkey.start()
    assert client.get("kept") == "yes"


def test_a_start_of_one_that_runs_does_nothing(valkey: Valkey) -> None:
    process = valkey.process
    valkey.start()
    assert valkey.process is process


def test_a_frozen_one_answers_nothing_until_it_is_thawed(valkey: Valkey, client: redis.Redis) -> None:
    client.ping()
    valkey.freeze()
    with pytest.raises(redis.TimeoutError):
        client.ping()
    valkey.thaw()
    until(lambda: bool(client.ping()), "it to answer again")


def test_a_frozen_one_ends_with_its_block(tmp_path: Path) -> None:
    with Valkey(tmp_path) as valkey:
        valkey.freeze()
        process = valkey.process
    assert process.popen.returncode == 0, "it was not killed, it heard SIGTERM"


def test_one_that_was_never_started_has_no_process(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="never started"):
        Valkey(tmp_path).kill()


def test_one_that_cannot_start_says_its_last_words_and_leaves_nothing(tmp_path: Path) -> None:
    valkey = Valkey(tmp_path, appendfsync="sometimes")
    with pytest.raises(StackError, match="argument"), valkey:
        pass
    assert not valkey.process.alive


def test_who_loses_the_race_for_a_port_takes_another(tmp_path: Path) -> None:
    late = Valkey(tmp_path / "late")
    with Valkey(tmp_path / "early", port=late.port) as early, late:
        assert early.port != late.port
        assert late.process.alive


def test_an_address_is_enough_for_most(tmp_path: Path) -> None:
    with embedded_redis(tmp_path, maxmemory="77mb") as url, redis.Redis.from_url(url) as client:
        assert client.config_get("maxmemory") == {"maxmemory": str(77 * 1024 * 1024)}


def test_a_stack_behind_a_proxy_stays_reachable_directly() -> None:
    with Stack(valkey={"appendonly": "yes"}, through_proxy=True) as stack:
        assert stack.redis.config_get("appendonly") == {"appendonly": "yes"}
        assert (stack.redis_url, stack.env["REDIS_URL"]) == (stack.valkey.url, stack.proxy.url)
        with redis.Redis.from_url(stack.env["REDIS_URL"], decode_responses=True) as through:
            through.set("said", "through the proxy")
        stack.proxy.refuse()
        assert stack.redis.get("said") == "through the proxy"


def test_a_frozen_or_killed_worker_ends_with_its_stack() -> None:
    with Stack() as stack:
        workers: list[Process] = [stack.start_worker(wait=False) for _ in range(2)]
        workers[0].freeze()
        assert workers[1].kill() == -9
        assert [worker.alive for worker in workers] == [True, False]
        assert [worker.name for worker in workers] == ["w1", "w2"]
    assert not any(worker.alive for worker in workers)
