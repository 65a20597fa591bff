"""Sentinels that name the primary: whoever they name is asked, at once, and what they and we say when there is none."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import pytest
import redis

from sandbox.sentinels import NAME, Sentinels
from sandbox.stack import until
from worker.errors import QueueUnavailable
from worker.ledger import Ledger
from worker.on_disk import OnDisk
from worker.redis_store import RedisStore
from worker.sentinels import ASK_EVERY_S, PrimaryPool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.stack import Valkey

PASSWORD: Final = "p@ss/w:rd?50%"
OF_THE_SENTINELS: Final = "s3nt;nel&50%"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentinels]:
    """With passwords that beg to be mangled."""
    folder = tmp_path_factory.mktemp("sentinels")
    with Sentinels(
        folder, password=PASSWORD, sentinel_password=OF_THE_SENTINELS, appendonly="yes", appendfsync="always"
    ) as watched:
        yield watched


@pytest.fixture
def store(watched: Sentinels) -> Iterator[RedisStore]:
    until(watched.synced, "the replicas", within_s=60)
    with closing(RedisStore(watched.url)) as store:
        yield store


def test_a_store_asks_whoever_the_sentinels_name(watched: Sentinels, store: RedisStore) -> None:
    assert _port(store) == watched.primary.port
    assert store.place == watched.place
    _says_no_secret(f"{store!r} {store.place}")


def test_it_follows_to_another_primary_though_the_old_one_still_answers(watched: Sentinels, store: RedisStore) -> None:
    old = _port(store)
    pool = store.client.connection_pool
    connections = [pool.get_connection() for _ in range(3)]  # open while the other one takes over
    watched.failover()
    until(lambda: watched.primary.port != old, "another primary")
    until(lambda: _port(store) == watched.primary.port, "the store to follow", within_s=10)
    for connection in connections:
        pool.release(connection)
    ports = set()
    for _ in range(3):
        connection = pool.get_connection()
        ports.add(connection.port)
    assert ports == {watched.primary.port}, "a connection to the old one came back into use"
    assert Ledger(store, "acc").beat("w1")


def test_a_pool_asks_them_twice_a_second_and_not_for_each_command(watched: Sentinels, store: RedisStore) -> None:
    before, began = _asked(watched), time.monotonic()
    store.ping()
    for _ in range(200):
        store.ping()
    most = 3 + (time.monotonic() - began) / ASK_EVERY_S
    assert _asked(watched) - before <= most


def test_while_there_is_no_primary_that_is_said_and_may_pass(watched: Sentinels, store: RedisStore) -> None:
    store.ping()
    old = watched.primary
    old.kill()
    with pytest.raises(QueueUnavailable, match=f"cannot reach Redis at {watched.place}") as caught:
        store.held(store.client.dbsize)
    assert caught.value.passing
    until(lambda: _answers(store), "another primary", within_s=30)
    assert _port(store) != old.port
    _forget_passwords_and_start(watched, old)


def test_sentinels_that_are_away_stop_nobody_who_is_connected(watched: Sentinels, store: RedisStore) -> None:
    store.ping()
    for process in watched.processes:
        process.freeze()
    try:
        began = time.monotonic()
        until(lambda: time.monotonic() > began + 2 * ASK_EVERY_S, "the pool to be due to ask again")
        store.ping()
        with closing(RedisStore(watched.url)) as new, pytest.raises(QueueUnavailable, match="no Sentinel answers"):
            new.ping()
    finally:
        for process in watched.processes:
            process.thaw()
    until(lambda: _answers(store), "all to be well")


def test_the_name_of_a_primary_that_they_do_not_know_is_said(watched: Sentinels) -> None:
    url = watched.url.replace(NAME, "another")
    with closing(RedisStore(url)) as store, pytest.raises(QueueUnavailable, match="know no primary 'another'"):
        store.ping()


@pytest.mark.parametrize(
    ("right", "said"),
    [
        ("p%40ss", "refuses the password; correct it in REDIS_URL"),
        ("s3nt", "the Sentinels of .* want another password"),
    ],
)
def test_a_wrong_password_is_told_by_whose_it_is(watched: Sentinels, right: str, said: str) -> None:
    url = watched.url.replace(right, "wr0ng")
    with closing(RedisStore(url)) as store, pytest.raises(QueueUnavailable, match=said) as caught:
        store.ping()
    assert not caught.value.passing
    _says_no_secret(str(caught.value))


@pytest.mark.parametrize(
    ("permitted", "problem"),
    [
        (("+sentinel|master", "+sentinel|get-master-addr-by-name"), ""),
        (("+sentinel|master",), r"does not permit this user what is needed: .*sentinel\|get-master-addr-by-name"),
        ((), r"does not permit this user what is needed: .*sentinel\|master"),
    ],
)
def test_a_user_of_the_sentinels_need_not_be_permitted_more(
    watched: Sentinels, permitted: tuple[str, ...], problem: str
) -> None:
    for port in watched.ports:
        with watched.client(port, OF_THE_SENTINELS) as client:
            client.execute_command("ACL", "SETUSER", "looker", "reset", "on", ">looking", *permitted)
    url = f"{watched.url.partition('?')[0]}?sentinel_username=looker&sentinel_password=looking"
    with closing(RedisStore(url)) as store:
        if not problem:
            store.ping()
            return
        with pytest.raises(QueueUnavailable, match=problem) as caught:
            store.ping()
    assert not caught.value.passing


def test_kept_means_that_the_replicas_have_it_too(watched: Sentinels, store: RedisStore) -> None:
    on_disk = OnDisk(store)
    store.client.set("told", "yes", ex=60)
    assert on_disk.wait() is True
    replicas = [valkey for valkey in watched.valkeys if valkey.port != watched.primary.port]
    on_disk = OnDisk(store)
    for replica in replicas:
        replica.freeze()
    try:
        store.client.set("told", "again", ex=60)
        assert OnDisk(store, sleep=lambda _: None).wait() is False, "no replica has it"
    finally:
        for replica in replicas:
            replica.thaw()
    until(lambda: on_disk.wait() is True, "the replicas to have it")


def test_a_pool_is_what_the_client_has(store: RedisStore) -> None:
    assert isinstance(store.client.connection_pool, PrimaryPool)


def _port(store: RedisStore) -> int:
    info: Any = store.client.info("server")
    return int(info["tcp_port"])


def _answers(store: RedisStore) -> bool:
    try:
        store.client.set("asked", "yes", ex=60)
    except redis.RedisError:
        return False
    return True


def _asked(watched: Sentinels) -> int:
    """How often the Sentinels were asked for the primary."""
    asked = 0
    for port in watched.ports:
        with watched.client(port, OF_THE_SENTINELS) as client:
            stats: Any = client.info("commandstats")
            asked += int(stats.get("cmdstat_sentinel|master", {}).get("calls", 0))
    return asked


def _forget_passwords_and_start(watched: Sentinels, valkey: Valkey) -> None:
    """It starts without a password, which its command line would show; then it is as it was."""
    valkey.start()
    with watched.client(valkey.port) as client:
        client.config_set("masterauth", PASSWORD)
        client.config_set("requirepass", PASSWORD)
    until(watched.synced, "it to follow", within_s=60)


def _says_no_secret(text: str) -> None:
    for secret in (PASSWORD, OF_THE_SENTINELS, "p%40ss", "s3nt"):
        assert secret not in text
