"""A job that names no integration, where nobody has set one: what a worker has found serves doors without a key."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

import pytest

import producers
from producers.http.usual import Usual
from producers.queue import JobQueue
from sandbox.stack import until
from sandbox.valkey import Valkey
from tests.commands import ID
from tests.web import SECRET, serving, web_app
from worker.errors import InvalidJob, QueueUnavailable
from worker.im_integration import REASON_S, REMEMBERED_S, RENEW_BELOW_S, Memory
from worker.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from worker.redis_store import RedisStore

JOB: Final = f"default.{ID}.7"
TWO: Final = "2 have war rooms enabled: 7 (Ops, feishu), 8 (Chat, slack)"
UNKNOWN: Final = "its only IM integration is found by a worker that runs, or with its app key here"
KEY: Final = "warrooms:{default}:integration"


@pytest.fixture
def memory(store: RedisStore) -> Memory:
    return Memory(store, "default")


@pytest.fixture
def keyless(valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """One account, no app key, no integration."""
    for name in ("FLASHDUTY_APP_KEY", "FLASHDUTY_APP_KEY_FILE", "FLASHDUTY_INTEGRATION_ID", "WARROOMS_ACCOUNTS_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REDIS_URL", valkey_url)
    return Settings.load()


def test_a_found_one_is_remembered_for_an_hour_and_a_reason_for_minutes(memory: Memory, store: RedisStore) -> None:
    assert (memory.recall(), memory.is_old()) == (None, True)
    memory.keep(7)
    assert (memory.recall(), memory.is_old()) == (7, False)
    assert 0 < int(str(store.client.ttl(KEY))) <= REMEMBERED_S
    store.client.expire(KEY, RENEW_BELOW_S - 1)
    assert (memory.recall(), memory.is_old()) == (7, True)
    memory.keep(TWO)
    assert (memory.recall(), memory.is_old()) == (TWO, False)
    assert 0 < int(str(store.client.ttl(KEY))) <= REASON_S


def test_the_python_api_takes_what_a_worker_has_found(keyless: Settings, memory: Memory) -> None:
    memory.keep(7)
    assert keyless.accounts()["default"].integration_id is None
    producers._open_queue.cache_clear()
    try:
        assert producers.enqueue(incident_id=ID).job_id == JOB
    finally:
        producers._open_queue().close()
        producers._open_queue.cache_clear()


def test_a_door_says_which_there_are(keyless: Settings, memory: Memory) -> None:
    from producers.parsing import parse_job  # noqa: PLC0415

    memory.keep(TWO)
    with closing(JobQueue(keyless)) as queue, pytest.raises(InvalidJob) as refused:
        parse_job({"incident_id": ID}, queue.defaults)
    assert str(refused.value) == (
        "integration_id is missing and account 'default' has no default; "
        f"set FLASHDUTY_INTEGRATION_ID or give --integration; {TWO}"
    )


def test_http_and_webhook_take_what_a_worker_has_found_and_say_why_there_is_none(
    keyless: Settings, memory: Memory
) -> None:
    memory.keep(TWO)
    event = {"event_id": "e1", "event_type": "i_assign", "incident": {"incident_id": ID}}
    secret = {"X-Warrooms-Secret": SECRET}
    with serving(web_app(keyless, api_tokens="ops[enqueue]:ops-0123456789abcdef")) as web:
        refused = web.post("/v1/war-rooms", json={"incident_id": ID})
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "#/integration_id")
        assert TWO in refused.json()["detail"]
        assert TWO in web.post("/webhooks/flashduty", json=event, headers=secret).json()["detail"]
        memory.keep(7)
        until(lambda: web.post("/v1/war-rooms", json={"incident_id": ID}).status_code == 202, "the web to know it")
        assert web.post("/webhooks/flashduty", json=event, headers=secret).json()["job_id"] == JOB
        lines = web.post("/v1/war-rooms/bulk", content=ID, headers={"Content-Type": "text/plain"}).text
        assert JOB in lines
        page = web.get("/openapi.json").json()["paths"]["/v1/war-rooms"]["post"]
        body = page["requestBody"]["content"]["application/json"]["schema"]
        assert body["required"] == ["incident_id"]


def test_what_the_web_knew_stays_when_redis_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FLASHDUTY_APP_KEY", "FLASHDUTY_APP_KEY_FILE", "FLASHDUTY_INTEGRATION_ID", "WARROOMS_ACCOUNTS_FILE"):
        monkeypatch.delenv(name, raising=False)
    with Valkey(tmp_path / "valkey", port=None, pass_fds=()) as valkey:
        monkeypatch.setenv("REDIS_URL", valkey.url)
        queue = JobQueue(Settings.load())
        Memory(queue.store, "default").keep(7)
        usual = Usual(queue.defaults)
        assert usual.look()
    with closing(queue):
        with pytest.raises(QueueUnavailable):
            Memory(queue.store, "default").recall()
        assert usual.look()
        assert usual.now.integration_ids == {"default": 7}


def test_without_worker_and_key_it_says_who_would_find_it(keyless: Settings, store: RedisStore) -> None:
    assert store.client.dbsize() == 0
    with closing(JobQueue(keyless)) as queue:
        usual = Usual(queue.defaults)
        assert not usual.look()
        assert usual.now.why_none == {"default": UNKNOWN}
