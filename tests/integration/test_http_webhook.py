"""Flashduty's webhook over loopback: rooms for events, an answer in time whatever Redis does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from producers.http.events import recorder
from producers.http.hand_over import HandOver
from sandbox.stack import until
from sandbox.valkey import Valkey
from tests.commands import ID, JOB, fails
from tests.web import OPS, SECRET, serving, web_app
from worker.jobs import JobState, Lane
from worker.ledger import Ledger
from worker.redis_store import RedisStore
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

EVENT: Final[dict[str, Any]] = {
    "event_id": "fac0599a2a25529ba2362c0c184b6cfb",
    "event_type": "i_assign",
    "event_time": 1775912222661,
    "incident": {"incident_id": ID, "incident_severity": "Critical", "integration_id": 99, "title": "Disk full"},
}


def send(web: httpx.Client, query: str = "", secret: str = SECRET, **fields: Any) -> httpx.Response:  # noqa: ANN401
    return web.post(f"/webhooks/flashduty{query}", json=EVENT | fields, headers={"X-Warrooms-Secret": secret})


def test_an_assigned_incident_gets_its_room_before_every_backlog(web: httpx.Client, ledger: Ledger) -> None:
    answer = send(web)
    assert (answer.status_code, answer.json()) == (200, {"result": "queued", "job_id": JOB, "reason": None})
    record = ledger.record(JOB)
    assert record is not None
    assert (record.job.lane, record.job.integration_id) == (Lane.URGENT, 7)  # not the alert source's


def test_an_event_opens_one_room_however_often_it_comes(web: httpx.Client, ledger: Ledger) -> None:
    send(web)
    assert send(web).json()["result"] == "duplicate"
    fails(ledger, JOB)
    assert send(web).json()["result"] == "duplicate"
    record = ledger.record(JOB)
    assert record is not None
    assert record.state is JobState.FAILED  # a late copy is no wish to try again
    assert send(web, event_id="another").json()["result"] == "queued"


def test_a_duplicate_names_the_job_that_was_made_whatever_it_asks_for(web: httpx.Client, ledger: Ledger) -> None:
    send(web)
    other = f"{ID[:-1]}f"
    again = send(web, incident={"incident_id": other}).json()
    assert (again["result"], again["job_id"]) == ("duplicate", JOB)
    assert ledger.record(f"default.{other}.7") is None


def test_a_duplicate_of_an_event_whose_job_is_not_known_names_none(web: httpx.Client, store: RedisStore) -> None:
    send(web)
    (mark,) = store.client.scan_iter("warrooms:*:event:*")
    store.client.set(mark, "1", keepttl=True)  # as an earlier version marked it
    assert send(web).json() == {
        "result": "duplicate",
        "job_id": None,
        "reason": f"event {EVENT['event_id']} was recorded before",
    }


def test_the_account_is_a_query_parameter(web: httpx.Client) -> None:
    assert send(web, "?account=slow").json()["job_id"] == f"slow.{ID}.8"
    assert send(web, "?account=nowhere").status_code == 404


def test_other_events_are_acknowledged_and_nothing_is_left_of_them(web: httpx.Client, store: RedisStore) -> None:
    answer = send(web, event_type="i_of_the_future", incident={"what": "ever"})
    assert answer.status_code == 200
    assert answer.json()["result"] == "ignored"
    assert store.client.dbsize() == 0


def test_events_and_severities_can_be_chosen(store: RedisStore, settings: Settings) -> None:
    assert store.client.dbsize() == 0
    with serving(web_app(settings, webhook_events="i_new, i_reopen", webhook_severities="critical")) as web:
        assert send(web).json()["result"] == "ignored"
        assert send(web, event_type="i_reopen").json()["result"] == "queued"
        mild = {"incident_id": ID, "incident_severity": "Info"}
        assert send(web, event_type="i_new", incident=mild).json()["result"] == "ignored"


@pytest.mark.parametrize("secret", ["", "x", SECRET[:-1], SECRET + "x", OPS])
def test_without_the_secret_nobody_gets_in(web: httpx.Client, store: RedisStore, secret: str) -> None:
    assert send(web, secret=secret).status_code == 401
    assert web.post("/webhooks/flashduty", json=EVENT).status_code == 401
    assert send(web, "?account=!!", secret).status_code == 401
    assert store.client.dbsize() == 0


def test_without_a_secret_of_ours_there_is_no_webhook(store: RedisStore, settings: Settings) -> None:
    assert store.client.dbsize() == 0
    with serving(web_app(settings, webhook_secret="")) as web:
        answer = send(web, secret="")
        assert answer.status_code == 404
        assert "set WARROOMS_WEBHOOK_SECRET" in answer.json()["detail"]


def test_a_malformed_event_is_refused_by_field(web: httpx.Client) -> None:
    answer = send(web, incident={"incident_id": "x"})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == ["#/incident/incident_id"]


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    with Valkey(tmp_path / "valkey") as valkey:
        yield valkey


@pytest.mark.parametrize("how", ["frozen", "gone"])
def test_an_event_outlives_a_redis_that_is_away(valkey: Valkey, how: str) -> None:
    app = web_app(Settings(redis_url=valkey.url, integration_id=7), api_tokens=f"ops:{OPS}")
    # The parts are frozen: another hand-over, with less patience, is another web.
    app.state.web = _impatient(app.state.web)
    with serving(app) as web:
        valkey.freeze() if how == "frozen" else valkey.kill()
        answer = send(web)
        assert answer.status_code == 503
        assert answer.json()["type"] == "urn:warrooms:problem:held-in-memory"
        valkey.thaw() if how == "frozen" else valkey.start()
        store = RedisStore(valkey.url)
        ledger = Ledger(store, "default")
        until(lambda: ledger.record(JOB) is not None, "the event that was held")
        store.close()


def _impatient(web: Any) -> Any:  # noqa: ANN401
    from dataclasses import replace  # noqa: PLC0415

    return replace(web, hand_over=HandOver(recorder(web.queue), wait_s=0.2))


def test_a_compressed_event_is_refused_and_the_header_named(web: httpx.Client) -> None:
    headers = {"X-Warrooms-Secret": SECRET, "content-encoding": "gzip"}
    answer = web.post("/webhooks/flashduty", content=b"\x1f\x8b", headers=headers)
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")
    assert "Content-Encoding is 'gzip'" in answer.json()["detail"]


def test_strange_fields_that_nobody_reads_do_not_matter(web: httpx.Client, ledger: Ledger) -> None:
    text = json.dumps(EVENT)[:-1] + ', "labels": {"a": 1, "a": 2}, "x": NaN, "n": ' + "9" * 5000 + "}"
    answer = web.post(
        "/webhooks/flashduty",
        content=b"\xef\xbb\xbf" + text.encode(),
        headers={"X-Warrooms-Secret": SECRET, "content-type": "text/plain"},
    )
    assert (answer.status_code, answer.json()["result"]) == (200, "queued")
    assert ledger.record(JOB) is not None
