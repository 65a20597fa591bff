"""A thousand malformed requests from a generator: each is refused in a sentence, and the process goes on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from producers.parsing import FIELDS
from tests.commands import ID
from tests.web import OPS, SECRET, serving, web_app
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from worker.redis_store import RedisStore

ONE: Final = settings(max_examples=350, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | st.text(), inner, max_size=4),
    max_leaves=6,
)
Job = st.dictionaries(st.sampled_from(FIELDS), Json, min_size=1, max_size=7)
Body = (
    st.binary(max_size=200)
    | st.one_of(Json, Job).map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))
    | st.lists(Job.map(json.dumps) | st.text(), max_size=4).map(
        lambda lines: "\n".join(lines).encode("utf-8", "replace")
    )
)


@pytest.fixture
def web(store: RedisStore, valkey_url: str) -> Iterator[httpx.Client]:
    assert store.client.dbsize() == 0
    with serving(web_app(Settings(redis_url=valkey_url, integration_id=7), api_tokens=f"ops:{OPS}")) as client:
        yield client
        assert client.post("/v1/war-rooms", json={"incident_id": ID}).status_code == 202


def assert_refused(answer: httpx.Response) -> None:
    assert 400 <= answer.status_code < 500, answer.text
    said: dict[str, Any] = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert said["status"] == answer.status_code
    assert 0 < len(said["detail"]) < 1100
    assert answer.content.isascii()


@ONE
@given(body=Body)
def test_one_job(web: httpx.Client, body: bytes) -> None:
    assert_refused(web.post("/v1/war-rooms", content=body, headers={"content-type": "application/json"}))


@ONE
@given(body=Body, kind=st.sampled_from(["application/x-ndjson", "text/csv", "text/plain", "application/json"]))
def test_many_jobs(web: httpx.Client, body: bytes, kind: str) -> None:
    answer = web.post("/v1/war-rooms/bulk", content=body, headers={"content-type": kind})
    if answer.status_code != 200:
        assert_refused(answer)
        return
    *lines, last = (json.loads(line) for line in answer.text.splitlines())
    assert {line["status"] for line in lines} <= {"refused"}
    assert all(line["detail"] for line in lines)
    assert last["summary"]["refused"] == len(lines)


@ONE
@given(body=Body)
def test_an_event(web: httpx.Client, body: bytes) -> None:
    headers = {"content-type": "application/json", "X-Warrooms-Secret": SECRET}
    assert_refused(web.post("/webhooks/flashduty", content=body, headers=headers))
