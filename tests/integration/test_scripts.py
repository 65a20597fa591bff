"""Scripts know their server: what is restarted, or takes over, is sent them with its own run id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from sandbox.valkey import Valkey
from worker.errors import QueueUnavailable
from worker.redis_store import RedisStore
from worker.scripts import Script, Scripts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TEXT: Final = "return { RUN, KEYS[1], ARGV[1] }"


def run_id(store: RedisStore) -> str:
    info: Any = store.client.info("server")
    return str(info["run_id"])


def script_of(store: RedisStore, text: str = TEXT) -> Script:
    return Script(store._scripts, text, store.held)


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    with Valkey(tmp_path / "valkey") as valkey:
        yield valkey


def test_a_script_knows_its_server(store: RedisStore) -> None:
    assert script_of(store)(["k"], ["a"]) == [run_id(store), "k", "a"]


def test_it_is_sent_once(store: RedisStore) -> None:
    script = script_of(store, f"{TEXT} -- once")
    store.client.config_resetstat()
    for _ in range(3):
        script(["k"], ["a"])
    stats: Any = store.client.info("commandstats")
    assert stats["cmdstat_script|load"]["calls"] == 1
    assert stats["cmdstat_evalsha"]["calls"] == 3


def test_a_server_that_was_told_to_forget_is_sent_it_again(store: RedisStore) -> None:
    script = script_of(store)
    script(["k"], ["a"])
    store.client.script_flush()
    assert script(["k"], ["b"]) == [run_id(store), "k", "b"]


def test_a_server_that_was_restarted_has_only_scripts_with_its_own_id(valkey: Valkey) -> None:
    store = RedisStore(valkey.url)
    script = script_of(store)
    (before, _, _) = script(["k"], ["a"])
    valkey.kill()
    valkey.start()
    (after, _, _) = script(["k"], ["a"])
    assert (after, after != before) == (run_id(store), True)
    store.close()


def test_in_a_pipeline_it_is_sent_again_too(store: RedisStore) -> None:
    from worker.reading import Reading  # noqa: PLC0415

    script = script_of(store)
    reading = Reading(lambda pipe: script.later(pipe, ["k"], ["a"]), lambda replies: replies[0])
    assert store.together([reading]) == [[run_id(store), "k", "a"]]
    store.client.script_flush()
    assert store.together([reading, reading]) == [[run_id(store), "k", "a"]] * 2


def test_a_connection_that_died_with_its_server_is_replaced(valkey: Valkey) -> None:
    store = RedisStore(valkey.url)
    script_of(store)(["k"], ["a"])
    valkey.kill()
    valkey.start()
    assert script_of(store, f"{TEXT} -- another")(["k"], ["a"])[0] == run_id(store)
    store.close()


def test_without_redis_it_is_unavailable(valkey: Valkey) -> None:
    store = RedisStore(valkey.url)
    valkey.kill()
    with pytest.raises(QueueUnavailable, match="cannot reach Redis"):
        script_of(store)(["k"], ["a"])
    store.close()


@pytest.mark.parametrize(
    ("info", "problem"),
    [("redis_version:6.2.14\r\nrun_id:abc\r\n", "older than 7.0"), ("redis_version:7.2.4\r\n", "names no run_id")],
)
def test_a_server_that_cannot_be_told_from_another_is_refused(info: str, problem: str) -> None:
    store = RedisStore("redis://127.0.0.1:1")
    scripts = Scripts(lambda: store.client)
    connection = _Answers(info)
    with pytest.raises(QueueUnavailable, match=problem), store.errors():
        scripts._send_over(connection, TEXT)
    assert connection.disconnected


class _Answers:
    """A connection that answers one thing."""

    def __init__(self, answer: str) -> None:
        self.answer = answer
        self.disconnected = False

    def send_command(self, *_: str) -> None:
        """Sent."""

    def read_response(self) -> str:
        return self.answer

    def disconnect(self) -> None:
        self.disconnected = True
