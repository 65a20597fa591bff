"""The heartbeat: a worker is heard, says goodbye with empty hands only, and tells a restarted Redis what it knows."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from sandbox.stack import embedded_redis, until
from tests.fakes import A_ROOM, a_job
from worker import bootstrap, heartbeat
from worker.errors import QueueUnavailable
from worker.gate import Gate
from worker.heartbeat import Heartbeat
from worker.jobs import JobState
from worker.ledger import Ledger
from worker.records import Claim
from worker.redis_store import RedisStore
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from worker.bootstrap import Runtime

ACCOUNTS: Final = """
[accounts.acc]
app_key_env = "FLASHDUTY_APP_KEY"
rates = "600/minute"
[accounts.other]
app_key_env = "FLASHDUTY_APP_KEY"
rates = "600/minute"
"""


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Runtime]]:
    file = tmp_path / "accounts.toml"
    file.write_text(ACCOUNTS)
    monkeypatch.setenv("WARROOMS_ACCOUNTS_FILE", str(file))
    monkeypatch.setenv("FLASHDUTY_APP_KEY", "key")
    with ExitStack() as opened:

        def build(url: str) -> Runtime:
            monkeypatch.setenv("REDIS_URL", url)
            runtime = bootstrap.build(Settings.load(), "w1", Gate())
            opened.callback(runtime.close)
            opened.callback(runtime.stopping.set)
            return runtime

        yield build


@pytest.fixture
def runtime(build: Callable[[str], Runtime], store: RedisStore, valkey_url: str) -> Runtime:
    assert store.client.dbsize() == 0
    return build(valkey_url)


def heard(runtime: Runtime, account: str = "acc") -> bool:
    return runtime.worker in runtime.desks[account].ledger.workers()


def take(runtime: Runtime, number: int = 1) -> Claim:
    ledger = runtime.desks["acc"].ledger
    ledger.enqueue([a_job(number)])
    claim = ledger.claim(a_job(number), runtime.worker)
    assert isinstance(claim, Claim)
    assert ledger.begin(claim, sent=True)
    return claim


def state(runtime: Runtime, number: int = 1) -> JobState | None:
    record = runtime.desks["acc"].ledger.record(a_job(number).id)
    return None if record is None else record.state


def test_a_worker_is_heard_for_each_account_from_its_start_to_its_end(runtime: Runtime, valkey_url: str) -> None:
    beating = Heartbeat(runtime, valkey_url)
    assert not heard(runtime)
    beating.start()
    assert heard(runtime)
    assert heard(runtime, "other")
    beating.stop()
    assert not heard(runtime)
    assert not heard(runtime, "other")
    assert not beating._thread.is_alive()


def test_the_thread_beats_again_and_again_whatever_goes_wrong(
    runtime: Runtime, valkey_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Troubled(Ledger):
        def beat(self, worker: str) -> str:
            beats.append(worker)
            if len(beats) == 2:
                raise ZeroDivisionError
            if len(beats) == 3:
                raise QueueUnavailable("cannot reach Redis")
            return super().beat(worker)

    beats: list[str] = []
    monkeypatch.setattr(heartbeat, "EVERY_S", 0.01)
    troubled = replace(runtime.desks["acc"], ledger=Troubled(runtime.store, "acc"))
    beating = Heartbeat(replace(runtime, desks={"acc": troubled, "other": runtime.desks["other"]}), valkey_url)
    beating.start()
    until(lambda: len(beats) >= 5, "beats after both kinds of trouble")
    beating.stop()
    assert "ZeroDivisionError" in caplog.text


def test_a_worker_that_still_has_a_job_in_hand_says_no_goodbye(runtime: Runtime, valkey_url: str) -> None:
    """Its call may still be under way: the others wait until it no longer can be."""
    beating = Heartbeat(runtime, valkey_url)
    beating.start()
    take(runtime)
    beating.stop()
    assert heard(runtime)
    assert not heard(runtime, "other")


def test_a_worker_whose_jobs_have_ended_says_goodbye(runtime: Runtime, valkey_url: str) -> None:
    beating = Heartbeat(runtime, valkey_url)
    beating.start()
    runtime.desks["acc"].ledger.has_room(take(runtime), JobState.OPENED, A_ROOM, "r")
    beating.stop()
    assert not heard(runtime)


def test_while_redis_is_what_it_was_there_is_nothing_to_tell(
    runtime: Runtime, store: RedisStore, valkey_url: str
) -> None:
    beating = Heartbeat(runtime, valkey_url)
    beating.beat()
    take(runtime)
    store.client.delete(*store.client.keys("*:job:*"), "warrooms:{acc}:claims", "warrooms:{acc}:account")
    beating.beat()
    assert state(runtime) is None
    beating._store.close()


def test_a_redis_that_was_restarted_and_has_forgotten_everything_is_told(
    build: Callable[[str], Runtime], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with embedded_redis(tmp_path / "first") as url:
        runtime = build(url)
        beating = Heartbeat(runtime, url)
        beating.beat()
        in_hand, done = take(runtime, 1), take(runtime, 2)
        assert runtime.desks["acc"].ledger.has_room(done, JobState.OPENED, A_ROOM, "req")
    beating.beat()
    port = int(url.rsplit(":", 1)[1].partition("/")[0])
    with embedded_redis(tmp_path / "second", port=port) as again:
        assert again == url
        beating.beat()
        assert (state(runtime, 1), state(runtime, 2)) == (JobState.OPENING, JobState.OPENED)
        record = runtime.desks["acc"].ledger.record(a_job(2).id)
        assert record is not None
        assert (record.room, record.request_id) == (A_ROOM, "req")
        assert heard(runtime)
        assert caplog.text.count("Redis was restarted or failed over") == 2, "once for each account"
        beating.beat()
        assert caplog.text.count("Redis was restarted or failed over") == 2
        assert runtime.desks["acc"].ledger.has_room(in_hand, JobState.OPENED, A_ROOM, "r")
        beating._store.close()


def test_what_could_not_be_told_is_told_with_the_next_beat(
    runtime: Runtime, store: RedisStore, valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails_once(ledger: Ledger, worker: str) -> None:
        monkeypatch.undo()
        raise QueueUnavailable(f"cannot reach Redis for {worker} of {ledger.account}")

    beating = Heartbeat(runtime, valkey_url)
    beating.beat()
    take(runtime)
    store.client.delete(*store.client.keys("*:job:*"), "warrooms:{acc}:claims", "warrooms:{acc}:account")
    beating._servers["acc"] = "another"
    monkeypatch.setattr(Ledger, "reconcile", fails_once)
    beating.beat()
    assert state(runtime) is None
    beating.beat()
    assert state(runtime) is JobState.OPENING
    beating._store.close()


def test_a_worker_beats_over_a_connection_of_its_own(runtime: Runtime, valkey_url: str) -> None:
    beating = Heartbeat(runtime, valkey_url)
    runtime.store.client.connection_pool.disconnect()
    beating.start()
    assert heard(runtime)
    beating.stop()
    with pytest.raises(QueueUnavailable):
        _over_nothing(beating).beat("w1")


def _over_nothing(beating: Heartbeat) -> Ledger:
    return beating._ledgers[0].over(RedisStore("redis://127.0.0.1:1/0"))
