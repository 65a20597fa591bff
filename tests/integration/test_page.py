"""The status page over loopback, as a browser without JavaScript uses it: signing in, rights, forms, headers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import anyio
import httpx
import pytest

from producers.http.attempts import AT_ONCE
from producers.http.boards import Boards, Eyes
from producers.http.page import asset
from producers.http.sessions import LASTS_S, Sessions
from producers.http.tokens import Tokens
from producers.http.visitors import COOKIE
from sandbox.processes import until
from sandbox.valkey import Valkey
from tests.commands import ID, JOB, fails, job, opens, queue
from tests.web import OPS, READER, SLOW, WRITER, serving, web_app
from worker.errors import QueueUnavailable
from worker.jobs import WarRoomJob
from worker.ledger import Ledger
from worker.rate_limit import plan_of
from worker.token_bucket import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from worker.redis_store import RedisStore
    from worker.settings import Settings

FORM: Final = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}
"""What a browser says of a form that our own page sends."""


@pytest.fixture
def browser(web: httpx.Client) -> Iterator[httpx.Client]:
    """Nobody is signed in, and no bearer token is sent."""
    with httpx.Client(base_url=web.base_url, trust_env=False, timeout=30) as client:
        yield client


def sign_in(browser: httpx.Client, token: str = OPS, **headers: str) -> httpx.Response:
    return browser.post("/login", data={"token": token}, headers=FORM | headers)


def csrf_of(page: httpx.Response) -> str:
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page.text)
    assert found, page.text
    return found[1]


def replay(browser: httpx.Client, headers: dict[str, str] | None = None, **fields: str) -> httpx.Response:
    csrf = fields.pop("csrf", None) or csrf_of(browser.get("/"))
    return browser.post("/replay", data={"csrf": csrf, **fields}, headers=FORM | (headers or {}))


def only_key(store: RedisStore) -> str:
    (key,) = store.client.scan_iter("warrooms:session:*")
    return str(key)


# --- signing in ---------------------------------------------------------------------------------------------------


def test_whoever_is_not_signed_in_sees_a_form_and_nothing_else(browser: httpx.Client, ledger: Ledger) -> None:
    queue(ledger, "secret-batch", range(1, 3))
    page = browser.get("/")
    assert page.status_code == 200
    assert 'type="password"' in page.text
    assert "secret-batch" not in page.text
    part = browser.get("/board")
    assert (part.status_code, part.text) == (401, "you are not signed in any more")


def test_a_token_opens_a_session_and_stands_neither_in_it_nor_in_redis(
    browser: httpx.Client, store: RedisStore, ledger: Ledger
) -> None:
    queue(ledger, "night", range(1, 3))
    answer = sign_in(browser)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    for said in ("HttpOnly", "SameSite=strict", "Path=/", f"Max-Age={LASTS_S}"):
        assert said in cookie
    assert "Secure" not in cookie
    page = browser.get("/")
    assert "signed in as <b>ops</b>" in page.text
    assert "night" in page.text
    key = only_key(store)
    assert 0 < store.client.ttl(key) <= LASTS_S
    kept = str(store.client.get(key))
    assert kept.startswith("ops ")
    id_ = browser.cookies[COOKIE]
    assert len(id_) >= 43
    assert id_ not in key + kept
    assert OPS not in key + kept + id_ + page.text


def test_over_https_the_cookie_goes_nowhere_else(browser: httpx.Client) -> None:
    assert "Secure" in sign_in(browser, **{"X-Forwarded-Proto": "https"}).headers["set-cookie"]


def test_a_wrong_token_is_refused_in_one_sentence(browser: httpx.Client, store: RedisStore) -> None:
    answer = sign_in(browser, "wrong-0123456789abcdef")
    assert answer.status_code == 401
    assert answer.text.count("This token is not known.") == 1
    assert "wrong-0123456789abcdef" not in answer.text
    assert "set-cookie" not in answer.headers
    assert store.client.dbsize() == 0


@pytest.mark.parametrize("token", ["", " ", "é", "x" * 10_000, "\x00"])
def test_a_strange_token_is_a_wrong_one(browser: httpx.Client, token: str) -> None:
    assert sign_in(browser, token).status_code == 401


def test_a_token_that_may_not_read_is_told_so(browser: httpx.Client) -> None:
    answer = sign_in(browser, WRITER)
    assert answer.status_code == 403
    assert "has not the right to read" in answer.text


def test_wrong_tokens_make_their_sender_wait_and_nobody_else(browser: httpx.Client, web: httpx.Client) -> None:
    for _ in range(AT_ONCE):
        assert sign_in(browser, "wrong").status_code == 401
    waits = sign_in(browser)
    assert waits.status_code == 429
    assert "Too many wrong tokens came from your address" in waits.text
    assert sign_in(browser, **{"X-Forwarded-For": "192.0.2.7"}).status_code == 303
    assert web.get("/v1/limits").status_code == 200


def test_signing_out_ends_the_session_everywhere(browser: httpx.Client, store: RedisStore) -> None:
    sign_in(browser)
    id_, csrf = browser.cookies[COOKIE], csrf_of(browser.get("/"))
    answer = browser.post("/logout", data={"csrf": csrf}, headers=FORM)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert COOKIE not in browser.cookies
    assert not list(store.client.scan_iter("warrooms:session:*"))
    assert browser.get("/board", headers={"Cookie": f"{COOKIE}={id_}"}).status_code == 401


def test_a_session_ends_by_itself(browser: httpx.Client, store: RedisStore) -> None:
    sign_in(browser)
    assert browser.get("/board").status_code == 200
    store.client.pexpire(only_key(store), 1)
    until(lambda: not list(store.client.scan_iter("warrooms:session:*")), "the end of the session")
    assert browser.get("/board").status_code == 401
    assert 'type="password"' in browser.get("/").text
    assert replay(browser, job=JOB, csrf="0" * 64).status_code == 401


@pytest.mark.parametrize("id_", ["", "x", "a" * 43, "../etc", "é"])
def test_a_made_up_session_is_none(browser: httpx.Client, id_: str) -> None:
    answer = browser.get("/board", headers=[(b"Cookie", f"{COOKIE}={id_}".encode())])
    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("now", "rights"),
    [
        (f"ops[enqueue+read+operate]:{OPS}", {"enqueue", "read", "operate"}),
        (f"ops[read]:{OPS}", {"read"}),
        (f"other[read]:{OPS}", None),
        ("ops[read]:another-0123456789", None),
    ],
)
def test_what_a_token_is_now_counts_and_not_what_it_was(store: RedisStore, now: str, rights: set[str] | None) -> None:
    then = Sessions(store, Tokens.parse(f"ops[enqueue+read+operate]:{OPS}", ["default"])).open(OPS)
    assert then is not None
    found = Sessions(store, Tokens.parse(now, ["default"])).find(then.id)
    assert (None if found is None else set(found.caller.rights)) == rights


# --- what is shown ------------------------------------------------------------------------------------------------


def test_the_page_shows_what_is_going_on(browser: httpx.Client, store: RedisStore, ledger: Ledger) -> None:
    queue(ledger, "night", range(1, 11))
    opens(ledger, job(1))
    fails(ledger, job(2))
    store.client.rpop("warrooms.default", 2)  # as the worker did before it claimed them
    ledger.beat("w1")
    TokenBucket(store, "slow", plan_of("6/minute")).hold("root@ops")
    sign_in(browser)
    text = " ".join(re.sub(r"<[^>]+>", " ", browser.get("/").text).split())
    for said in (
        "3 accounts, 1 in trouble, 8 jobs waiting",
        "draining",
        "paused by root@ops since",
        "night 2 of 10 2 of 10 1 in",
        "0 of 1,000 in the last minute",
        "To do for InvalidParameter: open it again",
        "Dead letters: 1",
    ):
        assert said in text


def test_the_newest_twenty_dead_letters_are_shown_of_all(browser: httpx.Client, ledger: Ledger) -> None:
    queue(ledger, "night", range(1, 26))
    for number in range(1, 26):
        fails(ledger, job(number))
    sign_in(browser)
    page = browser.get("/").text
    assert "Dead letters: 25" in page
    assert page.count('href="/replay?job=') == 20
    assert f"{25:024x}" in page
    assert f"{5:024x}" not in page


def test_a_token_sees_its_own_accounts_only(browser: httpx.Client, store: RedisStore, ledger: Ledger) -> None:
    queue(ledger, "not-theirs", range(1, 3))
    fails(ledger, job(1))
    mine = WarRoomJob(account="slow", incident_id=ID, integration_id=8)
    Ledger(store, "slow").enqueue([mine], "theirs")
    sign_in(browser, SLOW)
    page = browser.get("/").text
    assert "theirs" in page
    for other in ("not-theirs", "default", job(1)):
        assert other not in page
    assert "Replay" not in page
    assert browser.get("/replay", params={"job": job(1)}).status_code == 403


def test_a_board_is_read_once_for_all_who_look_within_two_seconds(
    browser: httpx.Client, store: RedisStore, ledger: Ledger
) -> None:
    sign_in(browser)
    ledger.enqueue([WarRoomJob(incident_id=ID, integration_id=7)], "night")
    browser.get("/board")

    def commands() -> int:
        stats: Any = store.client.info("stats")
        return int(stats["total_commands_processed"])

    before = commands()
    for _ in range(20):
        assert browser.get("/board").status_code == 200
    a_look = 3 * 8  # at least so many for three accounts
    assert commands() - before < 20 + 3 * 4 * a_look


# --- replay -------------------------------------------------------------------------------------------------------


@pytest.fixture
def dead(ledger: Ledger) -> list[str]:
    queue(ledger, "night", range(1, 5))
    queue(ledger, "day", range(5, 7))
    for number in range(1, 7):
        fails(ledger, job(number))
    return [job(number) for number in range(1, 7)]


def states(ledger: Ledger, jobs: list[str]) -> list[str]:
    return [record.state.value if record else "" for record in ledger.records(jobs)]


def test_a_dead_letter_is_replayed_after_a_question(browser: httpx.Client, ledger: Ledger, dead: list[str]) -> None:
    sign_in(browser)
    asked = browser.get("/replay", params={"job": dead[0]})
    assert "1 dead letter (job" in asked.text
    assert "InvalidParameter" in asked.text
    assert states(ledger, dead) == ["failed"] * 6
    done = browser.post("/replay", data={"csrf": csrf_of(asked), "job": dead[0]}, headers=FORM)
    assert (done.status_code, done.headers["location"]) == (303, "/#said")
    page = browser.get("/")
    assert "1 dead letter queued again" in page.text
    assert "Dead letters: 5" in page.text
    assert "queued again" not in browser.get("/").text
    assert states(ledger, dead) == ["queued"] + ["failed"] * 5


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"batch": "night"}, 4),
        ({"account": "default"}, 6),
        ({"account": "default", "code": "InvalidParameter"}, 6),
        ({"account": "default", "code": "Timeout"}, 0),
        ({"account": "slow"}, 0),
    ],
)
def test_all_of_a_batch_a_reason_or_an_account(
    browser: httpx.Client, ledger: Ledger, dead: list[str], fields: dict[str, str], count: int
) -> None:
    sign_in(browser)
    asked = browser.get("/replay", params=fields)
    assert (f"Queue {count} dead letters again" in asked.text) is (count > 0)
    assert ("No dead letter is left here" in asked.text) is (count == 0)
    assert replay(browser, None, **fields).status_code == 303
    assert states(ledger, dead).count("queued") == count
    assert f"{count} dead letters queued again" in browser.get("/").text


def test_a_dead_letter_that_was_replayed_meanwhile_is_said(browser: httpx.Client, dead: list[str]) -> None:
    sign_in(browser)
    replay(browser, job=dead[0])
    replay(browser, job=dead[0])
    assert f"0 dead letters queued again; {dead[0]} is no dead letter: it is queued" in browser.get("/").text


@pytest.mark.parametrize(
    ("headers", "csrf"),
    [
        ({}, "0" * 64),
        ({}, "é"),
        ({"Sec-Fetch-Site": "cross-site"}, None),
        ({"Sec-Fetch-Site": "same-site"}, None),
        ({"Sec-Fetch-Site": "cross-site"}, "0" * 64),
    ],
)
def test_a_form_that_another_site_sends_changes_nothing(
    browser: httpx.Client, ledger: Ledger, dead: list[str], headers: dict[str, str], csrf: str | None
) -> None:
    sign_in(browser)
    answer = replay(browser, headers, job=dead[0], csrf=csrf or csrf_of(browser.get("/")))
    assert answer.status_code == 403
    assert answer.headers["content-type"].startswith("text/html")
    assert states(ledger, dead) == ["failed"] * 6


def test_an_origin_of_another_host_is_refused_where_nothing_else_is_said(
    browser: httpx.Client, ledger: Ledger, dead: list[str]
) -> None:
    sign_in(browser)
    csrf = csrf_of(browser.get("/"))
    data = {"csrf": csrf, "job": dead[0]}
    assert browser.post("/replay", data=data, headers={"Origin": "https://evil.example"}).status_code == 403
    assert browser.post("/login", data={"token": OPS}, headers={"Origin": "https://evil.example"}).status_code == 403
    assert states(ledger, dead) == ["failed"] * 6
    assert browser.post("/replay", data=data, headers={"Origin": str(browser.base_url).rstrip("/")}).status_code == 303


def test_the_form_of_another_session_is_refused(browser: httpx.Client, ledger: Ledger, dead: list[str]) -> None:
    sign_in(browser)
    theirs = csrf_of(browser.get("/"))
    browser.cookies.clear()
    sign_in(browser)
    assert replay(browser, job=dead[0], csrf=theirs).status_code == 403
    assert states(ledger, dead) == ["failed"] * 6


def test_who_may_only_read_finds_no_button_and_no_way_around(
    browser: httpx.Client, ledger: Ledger, dead: list[str]
) -> None:
    sign_in(browser, READER)
    page = browser.get("/")
    assert "Dead letters: 6" in page.text
    assert "Replay" not in page.text
    assert replay(browser, job=dead[0]).status_code == 403
    assert states(ledger, dead) == ["failed"] * 6


def test_a_bearer_token_is_no_session(web: httpx.Client, ledger: Ledger, dead: list[str]) -> None:
    assert web.get("/board").status_code == 401
    assert web.post("/replay", data={"job": dead[0], "csrf": ""}, headers=FORM).status_code == 401
    assert states(ledger, dead) == ["failed"] * 6


@pytest.mark.parametrize(
    ("params", "status"),
    [({}, 422), ({"batch": "a b"}, 422), ({"account": "none"}, 404), ({"job": "x"}, 200), ({"strange": "1"}, 422)],
)
def test_what_makes_no_sense_is_said_on_a_page(browser: httpx.Client, params: dict[str, str], status: int) -> None:
    sign_in(browser)
    answer = browser.get("/replay", params=params)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    ("body", "media_type", "status"),
    [
        (b"a=1", "application/json", 415),
        (b"a=\xff", "application/x-www-form-urlencoded", 400),
        (b"a=%ff", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a%d=1" % n for n in range(100)), "application/x-www-form-urlencoded", 400),
        (b"", "application/x-www-form-urlencoded", 401),
    ],
)
def test_what_is_no_form_is_said_on_a_page(browser: httpx.Client, body: bytes, media_type: str, status: int) -> None:
    answer = browser.post("/login", content=body, headers=FORM | {"Content-Type": media_type})
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")


# --- headers, files, neighbours -----------------------------------------------------------------------------------


def test_every_answer_of_the_page_keeps_it_to_itself(browser: httpx.Client) -> None:
    answers = [browser.get("/"), browser.get("/board"), browser.get("/replay"), sign_in(browser, "wrong")]
    answers += [sign_in(browser), browser.get("/"), browser.get("/board"), browser.get("/login")]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self'")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"


def test_the_files_of_the_page_come_from_here_and_may_be_kept(browser: httpx.Client) -> None:
    page = browser.get("/").text
    sign_in(browser)
    page += browser.get("/").text
    links = set(re.findall(r'(?:src|href)="([^"#?]+)', page)) - {"/"}
    assert {asset("style.css"), asset("live.js"), asset("icon.svg")} == links
    for link in links:
        answer = browser.get(link)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert browser.get("/assets/page.py").status_code == 404


def test_the_page_is_not_in_the_description_of_the_api(browser: httpx.Client) -> None:
    paths = browser.get("/openapi.json").json()["paths"]
    assert not {
        path for path in paths if not path.startswith(("/v1/", "/webhooks/", "/healthz", "/readyz", "/metrics"))
    }


def test_without_redis_the_page_says_so_and_comes_back(settings: Settings, tmp_path: Path) -> None:
    with Valkey(tmp_path / "own") as valkey:
        own = settings.model_copy(update={"redis_url": valkey.url})
        with serving(web_app(own)) as web, httpx.Client(base_url=web.base_url, trust_env=False, timeout=30) as browser:
            sign_in(browser)
            assert browser.get("/board").status_code == 200
            valkey.kill()
            page = browser.get("/")
            assert page.status_code == 503
            assert "cannot reach Redis" in page.text
            assert 'http-equiv="refresh" content="5; url=/"' in page.text
            part = browser.get("/board")
            assert part.status_code == 503
            assert part.text.startswith("cannot reach Redis")
            assert sign_in(browser).status_code == 503
            valkey.start()
            assert sign_in(browser).status_code == 303


def test_a_board_that_could_not_be_read_is_not_asked_for_again_at_once() -> None:
    class Desk:
        asked = 0

        @property
        def bucket(self) -> object:
            Desk.asked += 1
            raise QueueUnavailable("cannot reach Redis")

    now_s = [0.0]
    boards = Boards([Desk()], lambda _board, _eyes: "", lambda: now_s[0])  # type: ignore[list-item]
    for _ in range(3):
        with pytest.raises(QueueUnavailable):
            anyio.run(boards.see, Eyes(None, operates=False))
    assert Desk.asked == 1
    now_s[0] += 2
    with pytest.raises(QueueUnavailable):
        anyio.run(boards.see, Eyes(None, operates=False))
    assert Desk.asked == 2
