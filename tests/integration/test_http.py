"""The HTTP API over loopback, with a real Valkey: what each operation does and how it refuses."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import pytest
from anyio import to_thread

from producers.http import idempotency
from sandbox.valkey import Valkey
from tests.commands import ID, JOB, fails, opens, queue
from tests.web import OPS, READER, SECRET, SLOW, WRITER, bearer, serving, web_app
from worker.errors import OutcomeUnknown
from worker.jobs import JobState, Lane
from worker.rate_limit import plan_of
from worker.settings import Settings
from worker.token_bucket import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx

    from worker.ledger import Ledger
    from worker.redis_store import RedisStore

UNSUPPORTED: Final = "unsupported-media-type"
USUAL_THREADS: Final = 40
"""What anyio has for whoever names no others."""

OTHER: Final = f"{ID[:-1]}f"
LOST: Final = OutcomeUnknown("no complete answer", code="Timeout")


def open_(web: httpx.Client, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:  # noqa: ANN401
    return web.post("/v1/war-rooms", json={"incident_id": ID} | fields, headers=headers or {})


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json"
    said: dict[str, Any] = answer.json()
    assert (answer.status_code, said["status"], said["type"]) == (status, status, f"urn:warrooms:problem:{kind}"), said
    assert said["detail"]
    return said


# --- one job ------------------------------------------------------------------------------------------------------


def test_a_job_is_queued_and_the_answer_says_where_it_is(web: httpx.Client, ledger: Ledger) -> None:
    ledger.beat("w1")
    answer = open_(web, urgent=True, batch="b")
    assert answer.status_code == 202
    assert answer.headers["location"] == f"/v1/jobs/{JOB}"
    receipt = answer.json()
    assert (receipt["job_id"], receipt["status"], receipt["position"]) == (JOB, "queued", 0)
    assert receipt["starts_at"]
    record = ledger.record(JOB)
    assert record is not None
    assert (record.state, record.job.lane, record.batches) == (JobState.QUEUED, Lane.URGENT, ("b",))


def test_a_job_that_is_there_is_answered_with_200_and_with_its_room(web: httpx.Client, ledger: Ledger) -> None:
    open_(web)
    again = open_(web)
    assert (again.status_code, again.json()["status"]) == (200, "already queued")
    opens(ledger, JOB)
    done = open_(web)
    assert (done.status_code, done.json()["status"]) == (200, "already open")
    assert (done.json()["chat_id"], done.json()["share_link"]) == ("oc_1", "https://im.example/1")
    assert done.headers["location"] == f"/v1/jobs/{JOB}"


def test_a_wrong_body_is_refused_with_each_field_by_its_pointer(web: httpx.Client, store: RedisStore) -> None:
    said = problem(open_(web, incident_id="x", member_ids=[1, "y"], urgnt=True), 422, "invalid")
    assert [error["pointer"] for error in said["errors"]] == ["#/urgnt", "#/incident_id", "#/member_ids/1"]
    assert said["errors"][0]["detail"] == "'urgnt' is not a field of a job; did you mean 'urgent'?"
    assert store.client.dbsize() == 0


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"[]", "must be an object"),
        (b'{"incident_id": "\xff"}', "is not UTF-8"),
        (b'{"incident_id": 1, "incident_id": 2}', "stands twice"),
        (b'{"incident_id": NaN}', "NaN is no JSON number"),
        (b"[" * 100_000, "nested too deep"),
    ],
)
def test_a_body_that_cannot_be_read_is_malformed(web: httpx.Client, body: bytes, says: str) -> None:
    answer = web.post("/v1/war-rooms", content=body, headers={"content-type": "application/json"})
    assert says in problem(answer, 400, "malformed")["detail"]


def test_a_body_of_another_type_is_refused(web: httpx.Client) -> None:
    problem(web.post("/v1/war-rooms", data={"incident_id": ID}), 415, UNSUPPORTED)


BODIES: Final = {
    "/v1/war-rooms": ("application/json", {"incident_id": ID}),
    "/v1/war-rooms/bulk": ("application/json", [{"incident_id": ID}]),
    "/v1/failed/replay": ("application/json", {"all": True}),
}


@pytest.mark.parametrize("path", BODIES)
def test_a_byte_order_mark_is_no_part_of_a_body(web: httpx.Client, path: str) -> None:
    kind, value = BODIES[path]
    answer = web.post(path, content=b"\xef\xbb\xbf" + json.dumps(value).encode(), headers={"content-type": kind})
    assert answer.status_code < 300, answer.text


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"content-encoding": "gzip"}, "the header Content-Encoding is 'gzip'; send the body uncompressed"),
        ({"content-encoding": "identity, br"}, "the header Content-Encoding is 'identity, br'"),
        (
            {"content-type": "application/json; charset=ISO-8859-1"},
            "the header Content-Type has the charset 'ISO-8859-1'; send the body in UTF-8",
        ),
        ({"content-type": 'application/json;x=y;Charset="utf-16"'}, "the charset 'utf-16'"),
    ],
)
def test_a_body_in_another_coding_or_charset_is_refused(
    web: httpx.Client, store: RedisStore, path: str, headers: dict[str, str], says: str
) -> None:
    kind, value = BODIES[path]
    answer = web.post(path, content=json.dumps(value), headers={"content-type": kind} | headers)
    assert says in problem(answer, 415, UNSUPPORTED)["detail"]
    assert store.client.dbsize() == 0


@pytest.mark.parametrize("path", BODIES)
def test_a_body_may_say_that_it_is_as_usual(web: httpx.Client, path: str) -> None:
    kind, value = BODIES[path]
    for charset in ("utf-8", '"UTF-8"', "utf8"):
        headers = {"content-type": f"{kind}; charset={charset}", "content-encoding": "identity"}
        assert web.post(path, content=json.dumps(value), headers=headers).status_code < 300


def test_strange_characters_come_back_escaped(web: httpx.Client) -> None:
    answer = web.post("/v1/war-rooms", content=b'{"\\ud800\\u001b": 1}', headers={"content-type": "application/json"})
    problem(answer, 422, "invalid")
    assert answer.content.isascii()
    assert b"\x1b" not in answer.content


def test_a_large_body_is_refused_whether_it_says_so_or_not(web: httpx.Client) -> None:
    large = b" " * (1024 * 1024 + 1)
    headers = {"content-type": "application/json"}
    said = problem(web.post("/v1/war-rooms", content=large, headers=headers), 413, "too-large")
    assert said["detail"] == "the body is larger than 1,048,576 bytes"
    problem(web.post("/v1/war-rooms", content=iter([large]), headers=headers), 413, "too-large")
    problem(web.post("/v1/failed/replay", content=iter([large]), headers=headers), 413, "too-large")


# --- Idempotency-Key ----------------------------------------------------------------------------------------------


def test_the_same_key_and_body_get_the_same_answer(web: httpx.Client, ledger: Ledger) -> None:
    key = {"Idempotency-Key": "k-1"}
    first = open_(web, key)
    opens(ledger, JOB)
    again = open_(web, key)
    assert (again.status_code, again.json()) == (202, first.json())
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers


def test_the_same_key_with_another_body_is_refused(web: httpx.Client) -> None:
    key = {"Idempotency-Key": "k-1"}
    open_(web, key)
    problem(open_(web, key, incident_id=OTHER), 422, "idempotency-key-reused")


def test_keys_of_different_tokens_have_nothing_to_do_with_each_other(web: httpx.Client) -> None:
    key = {"Idempotency-Key": "k-1"}
    open_(web, key)
    answer = open_(web, key | bearer(WRITER), incident_id=OTHER)
    assert (answer.status_code, answer.json()["job_id"]) == (202, f"default.{OTHER}.7")


def test_a_request_that_was_refused_uses_its_key_up_not(web: httpx.Client) -> None:
    key = {"Idempotency-Key": "k-1"}
    problem(open_(web, key, incident_id="x"), 422, "invalid")
    assert open_(web, key).status_code == 202


def test_a_request_that_is_under_way_is_a_conflict(web: httpx.Client, store: RedisStore) -> None:
    body = json.dumps({"incident_id": ID}, separators=(",", ":")).encode()
    request = idempotency.Request("ops", "k-1", body)
    idempotency.Answers(store).begin(request)
    answer = web.post(
        "/v1/war-rooms", content=body, headers={"Idempotency-Key": "k-1", "content-type": "application/json"}
    )
    problem(answer, 409, "in-progress")
    assert answer.headers["retry-after"] == "1"


# --- who may do what ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{"Authorization": ""}, {"Authorization": "Basic eA=="}, bearer("x" * 20)])
def test_without_a_known_token_nobody_gets_in(web: httpx.Client, headers: dict[str, str]) -> None:
    answer = open_(web, headers)
    problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_who_asks_stands_before_what_is_asked(web: httpx.Client) -> None:
    nobody = {"Authorization": ""}
    key = {"Idempotency-Key": "\x7f" * 300}
    asks = [
        web.post("/v1/war-rooms?batch=x&batch=y", content=b"\xff", headers=nobody | key),
        web.post("/v1/war-rooms/bulk?batch=a%20b", content=b"\xff", headers=nobody),
        web.post("/v1/failed/replay?x=1&x=2", content=b"\xff", headers=nobody),
        web.get("/v1/failed?limit=x&limt=2", headers=nobody),
        web.get(f"/v1/jobs/{'x' * 300}", headers=nobody),
        web.get("/v1/batches/!!", headers=nobody),
        web.get("/v1/limits?x=1&x=2", headers=nobody),
        web.post("/webhooks/flashduty?account=!!", content=b"\xff"),
    ]
    assert [answer.status_code for answer in asks] == [401] * len(asks)


@pytest.mark.parametrize(
    ("token", "allowed"),
    [(OPS, {"enqueue", "read", "operate"}), (READER, {"read"}), (WRITER, {"enqueue"}), (SLOW, {"enqueue", "read"})],
)
def test_a_token_may_do_what_it_says(web: httpx.Client, token: str, allowed: set[str]) -> None:
    headers = bearer(token)
    statuses = {
        "enqueue": web.post("/v1/war-rooms", json={"incident_id": ID}, headers=headers).status_code,
        "read": web.get("/v1/failed", headers=headers).status_code,
        "operate": web.post("/v1/failed/replay", json={"all": True}, headers=headers).status_code,
    }
    assert {right for right, status in statuses.items() if status != 403} == allowed
    bulk = web.post("/v1/war-rooms/bulk", content=ID, headers=headers | {"content-type": "text/plain"})
    assert (bulk.status_code != 403) == ("enqueue" in allowed)
    reads = [web.get(path, headers=headers).status_code for path in ("/v1/limits", "/v1/jobs/x", "/v1/batches/x")]
    assert (403 not in reads) == ("read" in allowed)


def test_other_accounts_do_not_exist_for_a_token_that_has_its_own(web: httpx.Client, ledger: Ledger) -> None:
    mine = bearer(SLOW)
    assert open_(web, mine).json()["job_id"] == f"slow.{ID}.8"
    said = problem(open_(web, mine, account="default"), 422, "invalid")
    assert said["detail"] == "account 'default' is not known; known accounts: slow"
    queue(ledger, "b", [1])
    fails(ledger, "default.000000000000000000000001.7")
    problem(web.get("/v1/jobs/default.000000000000000000000001.7", headers=mine), 404, "not-found")
    problem(web.get("/v1/batches/b", headers=mine), 404, "not-found")
    problem(web.get("/v1/failed?account=default", headers=mine), 404, "not-found")
    assert web.get("/v1/failed", headers=mine).json() == {"failed_jobs": [], "next_cursor": None}
    assert [one["account"] for one in web.get("/v1/limits", headers=mine).json()["accounts"]] == ["slow"]
    lines = bulk(web, "application/x-ndjson", json.dumps({"incident_id": ID, "account": "acc"}), mine)
    assert lines[0]["detail"] == "account 'acc' is not known; known accounts: slow"


# --- bulk ---------------------------------------------------------------------------------------------------------


def bulk(
    web: httpx.Client, kind: str, content: str | bytes, headers: dict[str, str] | None = None, batch: str = "b"
) -> list[dict[str, Any]]:
    answer = web.post(
        f"/v1/war-rooms/bulk?batch={batch}", content=content, headers={"content-type": kind} | (headers or {})
    )
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-ndjson"), answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("application/x-ndjson", f'{{"incident_id": "{ID}"}}\n{{"incident_id": "x"}}\n{{"incident_id": "{OTHER}"}}\n'),
        ("application/json", f'[{{"incident_id": "{ID}"}}, {{"incident_id": "x"}}, {{"incident_id": "{OTHER}"}}]'),
        ("text/plain; charset=utf-8", f"{ID}\nx\n{OTHER}"),
        ("text/csv", f"incident_id,urgent\n{ID},\nx,\n{OTHER},true\n"),
    ],
)
def test_every_line_is_answered_and_a_bad_one_stops_nobody(
    web: httpx.Client, ledger: Ledger, kind: str, content: str
) -> None:
    *lines, last = bulk(web, kind, content)
    first = 2 if "csv" in kind else 1
    assert [line["line"] for line in lines] == [first, first + 1, first + 2]
    assert [line["status"] for line in lines] == ["queued", "refused", "queued"]
    assert lines[1]["errors"] == [{"field": "incident_id", "detail": lines[1]["detail"]}]
    summary = last["summary"]
    assert (summary["batch"], summary["lines"], summary["queued"], summary["refused"]) == ("b", 3, 2, 1)
    assert summary["error"] is None
    progress = ledger.batch("b")
    assert progress is not None
    assert progress.total == 2


def test_many_chunks_come_in_order_and_a_repeat_doubles_nothing(web: httpx.Client, ledger: Ledger) -> None:
    text = "".join(f"{number:024x}\n" for number in range(1, 1502))
    *lines, _ = bulk(web, "text/plain", text)
    assert [line["line"] for line in lines] == list(range(1, 1502))
    assert [line["position"] for line in lines] == list(range(1501))
    *again, last = bulk(web, "text/plain", text)
    assert {line["status"] for line in again} == {"already queued"}
    assert last["summary"]["already_queued"] == 1501
    assert ledger.progress().waiting == 1501


def test_a_body_that_cannot_be_read_at_all_is_malformed(web: httpx.Client) -> None:
    cases: list[tuple[str, str | bytes, str]] = [
        ("text/csv", "name\nx\n", "is no CSV header"),
        ("text/plain", "", "is empty"),
        ("application/json", "{}", "must be a JSON array"),
        ("application/json", "[]", "is empty"),
        ("application/x-ndjson", b"\x1f\x8b", "is compressed with gzip"),
    ]
    for kind, content, says in cases:
        answer = web.post("/v1/war-rooms/bulk", content=content, headers={"content-type": kind})
        assert says in problem(answer, 400, "malformed")["detail"]


def test_what_was_read_before_the_end_stands(web: httpx.Client, ledger: Ledger) -> None:
    *lines, last = bulk(web, "text/plain", f"{ID}\n" + "\0\n" * 3 + OTHER)
    assert [line["status"] for line in lines] == ["queued", "refused", "refused"]
    assert "the rest was not read" in last["summary"]["error"]
    assert ledger.record(JOB) is not None


def test_a_bulk_body_has_a_limit_of_its_own(store: RedisStore, settings: Settings) -> None:
    assert store.client.dbsize() == 0
    text = f"{ID}\n" * 100
    with serving(web_app(settings, max_body_bytes=1024, max_bulk_bytes=3000)) as web:
        assert bulk(web, "text/plain", text)[-1]["summary"]["lines"] == 100
        answer = web.post("/v1/war-rooms/bulk", content=iter([text.encode()] * 2), headers={"content-type": "text/csv"})
        problem(answer, 413, "too-large")


def test_a_bulk_of_an_unknown_type_or_batch_name_is_refused(web: httpx.Client) -> None:
    problem(web.post("/v1/war-rooms/bulk", content=ID), 415, "unsupported-media-type")
    said = problem(
        web.post("/v1/war-rooms/bulk?batch=a%20b", content=ID, headers={"content-type": "text/plain"}), 422, "invalid"
    )
    assert said["errors"][0]["field"] == "batch"


# --- back-pressure ------------------------------------------------------------------------------------------------


def test_a_full_backlog_still_knows_its_jobs_and_repeats_fill_none(
    store: RedisStore, settings: Settings, ledger: Ledger
) -> None:
    queue(ledger, "b", range(1, 4))
    assert store.client.dbsize() > 0
    with serving(web_app(settings, max_backlog=4)) as web:
        assert open_(web).status_code == 202
        assert [open_(web).status_code for _ in range(6)] == [200] * 6, "it is there, full or not"
        problem(open_(web, incident_id=OTHER), 429, "backlog-full")


def test_a_bulk_with_an_idempotency_key_has_one_batch_however_often_it_comes(web: httpx.Client) -> None:
    headers = {"content-type": "text/plain", "idempotency-key": "k1"}
    answers = [web.post("/v1/war-rooms/bulk", content=ID, headers=headers) for _ in range(2)]
    names = {json.loads(answer.text.splitlines()[-1])["summary"]["batch"] for answer in answers}
    assert len(names) == 1


def test_a_misspelt_parameter_is_refused(web: httpx.Client) -> None:
    answer = web.post("/v1/war-rooms/bulk?bacth=x", content=ID, headers={"content-type": "text/plain"})
    assert "bacth is no parameter here; the parameters are batch" in problem(answer, 422, "invalid")["detail"]


def test_a_full_backlog_says_when_to_ask_again_and_lets_live_incidents_through(
    store: RedisStore, settings: Settings, ledger: Ledger
) -> None:
    queue(ledger, "b", range(1, 4))
    assert store.client.dbsize() > 0
    with serving(web_app(settings, max_backlog=4)) as web:
        assert open_(web).status_code == 202
        answer = open_(web, incident_id=OTHER)
        said = problem(answer, 429, "backlog-full")
        assert "4 waiting jobs, and takes new ones below 4 (WARROOMS_MAX_BACKLOG)" in said["detail"]
        assert int(answer.headers["retry-after"]) >= 1
        assert open_(web, incident_id=OTHER, urgent=True).status_code == 202
        refused = web.post("/v1/war-rooms/bulk", content="a" * 24, headers={"content-type": "text/plain"})
        problem(refused, 429, "backlog-full")
        text = f'{{"incident_id": "{"a" * 24}", "urgent": true}}\n{{"incident_id": "{"b" * 24}"}}'
        urgent, held_back, last = bulk(web, "application/x-ndjson", text)
        assert (urgent["status"], held_back["status"]) == ("queued", "held back")
        assert last["summary"]["held_back"] == 1
        assert last["summary"]["retry_after_s"] >= 1


# --- reading ------------------------------------------------------------------------------------------------------


def test_a_job_and_a_batch_can_be_looked_up(web: httpx.Client, ledger: Ledger) -> None:
    open_(web, batch="b")
    opens(ledger, JOB)
    job = web.get(f"/v1/jobs/{JOB}").json()
    assert (job["state"], job["room"]["chat_id"]) == ("opened", "oc_1")
    batch = web.get("/v1/batches/b").json()
    assert (batch["total"], batch["done"], batch["opened"]) == (1, 1, 1)
    problem(web.get("/v1/jobs/x"), 404, "not-found")
    problem(web.get(f"/v1/jobs/default.{OTHER}.7"), 404, "not-found")
    problem(web.get(f"/v1/jobs/nowhere.{OTHER}.7"), 404, "not-found")
    problem(web.get("/v1/batches/other"), 404, "not-found")


def test_dead_letters_come_by_pages_and_filters(web: httpx.Client, ledger: Ledger) -> None:
    queue(ledger, "b", range(1, 4))
    queue(ledger, "c", range(4, 6))
    for number in range(1, 6):
        job_id = f"default.{number:024x}.7"
        fails(ledger, job_id, LOST) if number == 2 else fails(ledger, job_id)
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = web.get("/v1/failed", params=query).json()
        seen += [job["job_id"] for job in page["failed_jobs"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert seen == [record.job.id for record in ledger.dead_letters()]
    assert len(set(seen)) == 5

    def count(**query: str) -> int:
        return len(web.get("/v1/failed", params=query).json()["failed_jobs"])

    assert (count(batch="b"), count(code="timeout"), count(batch="other")) == (3, 1, 0)
    assert (count(newer_than="1h"), count(older_than="1h"), count(account="acc")) == (5, 0, 0)
    assert len(web.get("/v1/failed?code=timeout&code=InvalidParameter").json()["failed_jobs"]) == 5


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limt=2", "limt"),
        ("limit=2&limit=3", "limit"),
        ("limit=501", "limit"),
        ("cursor=x", "cursor"),
    ],
)
def test_a_wrong_query_is_refused_by_name(web: httpx.Client, query: str, field: str) -> None:
    said = problem(web.get(f"/v1/failed?{query}"), 422, "invalid")
    assert [error["field"] for error in said["errors"]] == [field]


def test_dead_letters_are_queued_again(web: httpx.Client, ledger: Ledger) -> None:
    queue(ledger, "b", range(1, 5))
    ids = [f"default.{number:024x}.7" for number in range(1, 5)]
    for job_id in ids[:3]:
        fails(ledger, job_id)

    def replay(**which: Any) -> dict[str, Any]:  # noqa: ANN401
        done: dict[str, Any] = web.post("/v1/failed/replay", json=which).json()
        return done

    assert replay(all=True, dry_run=True)["selected"] == 3
    assert replay(batch="other")["replayed"] == 0
    first = replay(batch="b", limit=1)
    assert (first["replayed"], first["more"], first["by_code"]) == (1, True, {"InvalidParameter": 1})
    named = replay(job_ids=[ids[1], ids[3], "x", f"default.{OTHER}.7"])
    assert named["replayed"] == 1
    assert [miss.split(":")[0] for miss in named["misses"]] == [
        f"{ids[3]} is no dead letter",
        "'x' is no job id",
        f"there is no job default.{OTHER}.7",
    ]
    assert replay(all=True)["replayed"] == 1
    assert ledger.progress().states[JobState.QUEUED] == 4


@pytest.mark.parametrize("body", [{}, {"limit": 3}, {"all": False}, {"all": None}, {"batch": None}, {"batches": "b"}])
def test_a_replay_must_be_told_which(web: httpx.Client, body: dict[str, Any]) -> None:
    problem(web.post("/v1/failed/replay", json=body), 422, "invalid")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "is not JSON"),
        (b"[]", 'must be an object like {"batch": "\u2026"}, got a list'),
        (b'{"batch": "\xff"}', "is not UTF-8"),
        (b'{"batch": "a", "batch": "b"}', "'batch' stands twice"),
        (b'{"all": true, "limit": NaN}', "NaN is no JSON number"),
    ],
)
def test_a_replay_is_read_as_strictly_as_a_job(web: httpx.Client, body: bytes, says: str) -> None:
    answer = web.post("/v1/failed/replay", content=body, headers={"content-type": "application/json"})
    assert says in problem(answer, 400, "malformed")["detail"]
    problem(web.post("/v1/failed/replay", content=body, headers={"content-type": "text/plain"}), 415, UNSUPPORTED)


def test_a_wrong_replay_is_refused_with_each_field_by_its_pointer(web: httpx.Client) -> None:
    said = problem(web.post("/v1/failed/replay", json={"codes": ["a", 7], "btch": "b"}), 422, "invalid")
    assert [error["pointer"] for error in said["errors"]] == ["#/codes/1", "#/btch"]


def test_limits_say_how_the_accounts_stand(web: httpx.Client, ledger: Ledger) -> None:
    queue(ledger, "b", [1, 2])
    limits = {one["account"]: one for one in web.get("/v1/limits").json()["accounts"]}
    assert set(limits) == {"acc", "default", "slow"}
    assert limits["default"]["allowed_per_minute"] == 1000
    assert limits["default"]["waiting"] == {"urgent": 0, "bulk": 2, "opening": 0, "retrying": 0, "most": 1_000_000}
    assert limits["slow"]["allowed_per_minute"] == 6


def test_what_is_not_there_is_a_problem_too(web: httpx.Client) -> None:
    nothing = web.get("/v1/nothing")
    problem(nothing, 404, "not-found")
    assert nothing.json()["detail"].startswith("there is no such path; the API is described at /docs")
    answer = web.delete("/v1/limits")
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "GET"


# --- Redis is away ------------------------------------------------------------------------------------------------


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    with Valkey(tmp_path / "valkey") as valkey:
        yield valkey


ASKS: Final[dict[str, Callable[[httpx.Client], httpx.Response]]] = {
    "enqueue": open_,
    "with a key": lambda web: open_(web, {"Idempotency-Key": "k"}),
    "bulk": lambda web: web.post("/v1/war-rooms/bulk", content=ID, headers={"content-type": "text/plain"}),
    "job": lambda web: web.get(f"/v1/jobs/{JOB}"),
    "batch": lambda web: web.get("/v1/batches/b"),
    "failed": lambda web: web.get("/v1/failed"),
    "replay": lambda web: web.post("/v1/failed/replay", json={"all": True}),
    "limits": lambda web: web.get("/v1/limits"),
    "readyz": lambda web: web.get("/readyz"),
}


def test_without_redis_every_request_says_so_and_when_to_come_back(valkey: Valkey) -> None:
    with serving(
        web_app(Settings(redis_url=valkey.url, integration_id=7), api_tokens=f"ops[enqueue+read+operate]:{OPS}")
    ) as web:
        assert web.get("/readyz").json() == {"status": "ready"}
        valkey.kill()
        for name, ask in ASKS.items():
            answer = ask(web)
            assert "cannot reach Redis at 127.0.0.1" in problem(answer, 503, "unavailable")["detail"], name
            assert int(answer.headers["retry-after"]) > 0
        assert web.get("/healthz").json() == {"status": "ok"}
        valkey.start()
        assert open_(web).status_code == 202


def test_readers_that_hang_keep_no_live_incident_waiting(store: RedisStore, settings: Settings) -> None:
    assert store.client.dbsize() == 0
    app, frozen, hanging = web_app(settings), threading.Event(), threading.Barrier(USUAL_THREADS + 1)

    async def read() -> None:
        await to_thread.run_sync(lambda: (hanging.wait(), frozen.wait()))

    app.add_api_route("/frozen", read)
    event = {"event_id": "e", "event_type": "i_assign", "incident": {"incident_id": OTHER}}
    with serving(app) as web, ThreadPoolExecutor(USUAL_THREADS) as readers:
        asked = [readers.submit(web.get, "/frozen") for _ in range(USUAL_THREADS)]
        try:
            hanging.wait(timeout=30)
            assert web.get("/readyz").status_code == 200
            assert open_(web, {"Idempotency-Key": "k"}, urgent=True).status_code == 202
            answer = web.post("/webhooks/flashduty", json=event, headers={"X-Warrooms-Secret": SECRET})
            assert answer.json()["result"] == "queued"
            assert not any(one.done() for one in asked)
        finally:
            hanging.abort()
            frozen.set()


def test_limits_tell_a_persons_pause_and_no_time_that_nobody_knows(web: httpx.Client, store: RedisStore) -> None:
    bucket = TokenBucket(store, "default", plan_of("50/second;1000/minute"))
    bucket.hold("ann")
    limits = {one["account"]: one for one in web.get("/v1/limits").json()["accounts"]}
    told = limits["default"]
    assert (told["pause_s"], told["next_slot_s"], told["paused"]["by"]) == (None, None, "ann")
