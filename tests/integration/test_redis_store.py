"""Redis and its errors: what is said, to whom, and never the password."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import a_job
from worker.errors import QueueUnavailable, SettingsError
from worker.ledger import Ledger
from worker.redis_store import PLACE_UNREADABLE, RedisStore, place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PASSWORD: Final = "p4ss-w0rd"


@pytest.fixture
def guarded(store: RedisStore, valkey_url: str) -> Iterator[Callable[[str, str], RedisStore]]:
    """Opens the database as the user `desk`, who may do nothing but PING."""
    store.client.acl_setuser(
        "desk", enabled=True, passwords=[f"+{PASSWORD}"], keys=["*"], commands=["+ping", "+client"], reset=True
    )
    opened: list[RedisStore] = []

    def open_as(user: str, password: str) -> RedisStore:
        opened.append(RedisStore(valkey_url.replace("redis://", f"redis://{user}:{password}@")))
        return opened[-1]

    yield open_as
    for each in opened:
        each.close()
    store.client.acl_deluser("desk")


@pytest.fixture
def nowhere() -> str:
    """An address where nobody listens."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_a_wrong_password_will_not_pass_by_itself(guarded: Callable[[str, str], RedisStore]) -> None:
    store = guarded("desk", "wr0ng")
    with pytest.raises(QueueUnavailable, match="refuses the password; correct it in REDIS_URL") as caught:
        store.ping()
    assert not caught.value.passing
    _says_no_secret(caught.value, store, "wr0ng")


def test_a_missing_permission_will_not_pass_by_itself(guarded: Callable[[str, str], RedisStore]) -> None:
    store = guarded("desk", PASSWORD)
    store.ping()
    with pytest.raises(QueueUnavailable, match="does not permit this user") as caught:
        Ledger(store, "acc").beat("w1")
    assert not caught.value.passing
    _says_no_secret(caught.value, store, PASSWORD)


def test_a_redis_that_is_not_there_may_come_back(nowhere: str) -> None:
    store = RedisStore(f"redis://user:{PASSWORD}@{nowhere}/3")
    with pytest.raises(
        QueueUnavailable, match=r"cannot reach Redis at .*/3 \(Connection refused\); is it running"
    ) as caught:
        store.ping()
    assert caught.value.passing
    _says_no_secret(caught.value, store, PASSWORD)


def test_a_host_that_nobody_knows_may_come_back() -> None:
    with pytest.raises(QueueUnavailable, match=r"cannot reach Redis at warrooms\.invalid:6379") as caught:
        RedisStore("redis://warrooms.invalid").ping()
    assert caught.value.passing


def test_a_redis_that_is_still_loading_may_come_back(store: RedisStore) -> None:
    with pytest.raises(QueueUnavailable, match="LOADING") as caught, store.errors():
        raise redis.BusyLoadingError("LOADING Redis is loading the dataset in memory")
    assert caught.value.passing


def test_a_redis_that_is_full_is_told_of_without_our_scripts(store: RedisStore) -> None:
    store.client.config_set("maxmemory", "1")
    try:
        with pytest.raises(QueueUnavailable) as caught:
            Ledger(store, "acc").enqueue([a_job()], None)
    finally:
        store.client.config_set("maxmemory", "0")
    said = f"Redis at {store.place} refuses: command not allowed when used memory > 'maxmemory'; see: warrooms doctor"
    assert str(caught.value) == said
    assert caught.value.passing


@pytest.mark.parametrize(
    "tail",
    [
        "",
        ".",
        ". script: on @user_script:130.",
        f" script: {'0af9' * 10}, on @user_script:7.",
        " script: on @user_script:1",
    ],
)
def test_where_in_a_script_redis_refused_is_not_said(store: RedisStore, tail: str) -> None:
    with pytest.raises(QueueUnavailable, match=r"refuses: no room; see: warrooms doctor$"), store.errors():
        raise redis.ResponseError(f"no room{tail}")


def test_a_redis_that_is_too_slow_may_come_back(store: RedisStore) -> None:
    with pytest.raises(QueueUnavailable, match="no answer in time") as caught, store.errors():
        raise redis.TimeoutError("Timeout reading from socket")
    assert caught.value.passing


def test_a_script_that_redis_forgot_is_sent_again(store: RedisStore) -> None:
    ledger = Ledger(store, "acc")
    for _ in range(2):
        assert ledger.beat("w1")
        store.client.script_flush()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://localhost",
        f"redis://:{PASSWORD}/x@localhost:6379/0",
        f"redis://:12/{PASSWORD}@localhost:6379/0",
        f"redis://:#{PASSWORD}@localhost:6379/0",
        f"redis://:{PASSWORD}@localhost:99999",
        f"redis://:{PASSWORD}@localhost/zero",
        f"redis://:{PASSWORD}@localhost/0?colour=red",
        f"redis://:{PASSWORD}@localhost/0?socket_timeout=soon",
        f"redis://:{PASSWORD}@[::1/0",
    ],
)
def test_what_is_no_address_is_refused_before_anything_is_tried(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^REDIS_URL is no Redis address: ") as caught:
        RedisStore(url)
    assert PASSWORD not in str(caught.value)
    assert (caught.value.__cause__, caught.value.__suppress_context__ or caught.value.__context__ is None) == (
        None,
        True,
    )


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=4).map(lambda text: f"<{text}>"))
def test_no_password_is_ever_in_the_place(password: str) -> None:
    assert password not in place_of(f"redis://user:{password}@localhost:6379/0")
    assert password not in place_of(f"redis://:{password}@[::1]:6379/0")
    assert place_of(f"rediss://user:{quote(password, safe='')}@r.example:1/7") == "r.example:1/7"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://localhost", "localhost:6379"),
        ("redis://", "localhost:6379"),
        ("redis://u:p@r.example:6380/2?socket_timeout=1", "r.example:6380/2"),
        ("unix://u:p@/run/redis.sock?db=1", "/run/redis.sock"),
        ("redis://:p/q@r.example/0", PLACE_UNREADABLE),
    ],
)
def test_the_place_is_for_people(url: str, place: str) -> None:
    assert place_of(url) == place


# --- holding ------------------------------------------------------------------------------------------------------


def test_a_producer_fails_at_once(nowhere: str) -> None:
    with pytest.raises(QueueUnavailable):
        RedisStore(f"redis://{nowhere}").held(_tries([], succeed_at=2))


def test_a_worker_holds_until_redis_is_back(nowhere: str) -> None:
    holds: list[int] = []
    calls: list[int] = []
    store = RedisStore(f"redis://{nowhere}", hold=_holding(holds))
    assert store.held(_tries(calls, succeed_at=4)) == "there"
    assert (holds, len(calls)) == ([1, 2, 3], 4)


def test_who_held_is_told_once_that_redis_is_back_and_who_did_not_is_not(nowhere: str) -> None:
    back: list[str] = []
    store = RedisStore(f"redis://{nowhere}", hold=lambda _tries, _error: True, back=lambda: back.append("back"))
    store.held(_tries([], succeed_at=1))
    assert back == []
    store.held(_tries([], succeed_at=3))
    assert back == ["back"]


def test_a_worker_that_must_stop_holds_no_longer(nowhere: str) -> None:
    calls: list[int] = []
    store = RedisStore(f"redis://{nowhere}", hold=lambda tries, _error: tries < 3)
    with pytest.raises(QueueUnavailable):
        store.held(_tries(calls, succeed_at=9))
    assert len(calls) == 3


def test_whoever_holds_is_told_what_will_not_pass(guarded: Callable[[str, str], RedisStore], valkey_url: str) -> None:
    guarded("desk", PASSWORD)
    passing: list[bool] = []

    def give_up(_tries: int, error: QueueUnavailable) -> bool:
        passing.append(error.passing)
        return False

    url = valkey_url.replace("redis://", "redis://desk:wr0ng@")
    store = RedisStore(url, hold=give_up)
    with pytest.raises(QueueUnavailable):
        store.held(store.client.ping)
    assert passing == [False]


def test_a_defect_is_not_held_for(store: RedisStore) -> None:
    with pytest.raises(ZeroDivisionError):
        store.held(lambda: 1 // 0)


def _holding(holds: list[int]) -> Callable[[int, QueueUnavailable], bool]:
    def hold(tries: int, _error: QueueUnavailable) -> bool:
        holds.append(tries)
        return True

    return hold


def _tries(calls: list[int], succeed_at: int) -> Callable[[], str]:
    def call() -> str:
        calls.append(1)
        if len(calls) < succeed_at:
            raise redis.ConnectionError("Error 111 connecting to nowhere. Connection refused.")
        return "there"

    return call


def _says_no_secret(error: QueueUnavailable, store: RedisStore, secret: str) -> None:
    assert secret not in str(error)
    assert secret not in repr(error)
    assert secret not in repr(store)
    assert error.__cause__ is None
