"""The app key is in no log, no message, no event, no record: not even when the API says it back."""

from __future__ import annotations

import base64
import html
import json
import re
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote, quote_plus

import httpx
import pytest
import redis

from sandbox.processes import spawn
from sandbox.stack import ROOT, until
from worker.jobs import JobState

from .house import CREATE, House
from .watched import PASSWORD, Watched

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY: Final = "k&y/of+ops%41#?<\"quoted'>ü;~:@"
FORMS: Final = tuple(
    {
        KEY,
        quote(KEY, safe=""),
        quote(KEY),
        quote_plus(KEY),
        quote(KEY, safe="").lower(),
        quote(quote(KEY, safe=""), safe=""),
        html.escape(KEY),
        json.dumps(KEY)[1:-1],
        json.dumps(KEY, ensure_ascii=False)[1:-1],
        KEY.encode("unicode_escape").decode(),
        base64.b64encode(KEY.encode()).decode(),
    }
)
BASE64: Final = re.compile(r"[A-Za-z0-9+/]{16,}={0,2}")


class Wiretap:
    """Everything any client says to Redis, and so every message and every Celery event."""

    def __init__(self, url: str) -> None:
        self.lines: list[str] = []
        self._client = redis.Redis.from_url(url)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._listening = threading.Event()

    def start(self) -> None:
        self._thread.start()
        assert self._listening.wait(10)

    def _listen(self) -> None:
        with self._client.monitor() as monitor:  # type: ignore[no-untyped-call]
            self._listening.set()
            try:
                for heard in monitor.listen():
                    self.lines.append(heard["command"])
            except (redis.ConnectionError, ValueError, OSError):
                pass  # Redis has ended


class Collector:
    """Takes the traces, as a collector of OpenTelemetry does: what it was sent, as bytes."""

    def __init__(self) -> None:
        self.sent = bytearray()
        sent = self.sent

        class Taker(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent.extend(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Taker)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as taker:
        yield taker


@pytest.fixture(scope="module")
def flower_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("flower")


@pytest.fixture(scope="module")
def house(collector: Collector) -> Iterator[House]:
    """It is traced and shows its metrics."""
    env = {
        "FLASHDUTY_APP_KEY": KEY,
        "WARROOMS_METRICS_ADDRESS": "127.0.0.1:0",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_TRACES_SAMPLER": "always_on",
    }
    with House(api=("--app-key", KEY, "--incidents", "3"), env=env) as house:
        yield house


@pytest.fixture(scope="module")
def flower(house: House, flower_folder: Path) -> Iterator[Watched]:
    """One that sees everything, has the key in its environment, says all it can, and keeps what it knows."""
    options = ("--persistent=true", f"--db={flower_folder / 'flower'}", "--logging=debug")
    with Watched(house.stack.env, flower_folder, *options) as watched:
        yield watched


@pytest.fixture(scope="module")
def told(house: House, flower: Watched) -> tuple[House, Wiretap]:
    """A worker at level DEBUG whose API says the key back in every way it can."""
    wiretap = Wiretap(house.stack.redis_url)
    wiretap.start()
    house.start_workers(1, "--loglevel", "DEBUG")
    flower.wait_for_workers(1)
    _provoke(house)
    return house, wiretap


def _provoke(house: House) -> None:
    kinds: tuple[dict[str, Any], ...] = (
        {"kind": "echo", "code": "InvalidParameter"},
        {"kind": "echo", "code": "InternalError", "calls": 1},
        {"kind": "echo", "code": "InternalError", "calls": 1, "when": "after"},
        {"kind": "echo", "code": "RequestTooFrequently", "calls": 1},
        {"kind": "echo", "code": "OK", "status": 200, "calls": 1},
        {"kind": "error", "code": "BadRequest", "message": f"no {KEY} and no {quote(KEY, safe='')}"},
        {"kind": "error", "code": "AccessDenied", "message": f"{html.escape(KEY)} {quote(quote(KEY))}"},
        {"kind": "html", "echo_key": True, "calls": 2},
        {"kind": "html", "echo_key": True, "status": 400, "calls": 1},
        {"kind": "cut", "when": "after", "calls": 1},
        {"kind": "garbage", "calls": 1},
        {"kind": "empty-data", "endpoints": CREATE},
        {"kind": "over-long", "calls": 1},
    )
    jobs = house.jobs(len(kinds))
    for job, rule in zip(jobs, kinds, strict=True):
        house.stack.fault(incident_id=job.incident_id, **rule)
    plain = house.job()
    house.enqueue(*jobs, plain)
    house.stack.redis.lpush("warrooms.default", "junk")
    house.finish(*jobs, plain)
    house.assert_one_room_each(plain)


def _assert_no_key(text: str, where: str) -> None:
    pieces = [text, *_decoded(text)]
    for piece in pieces:
        for form in FORMS:
            at = piece.find(form)
            assert at < 0, f"{where}: …{piece[max(0, at - 200) : at + 100]}…"


def _decoded(text: str) -> list[str]:
    """What may be base64 in it, decoded: kombu's message bodies are."""
    found = (match.group().rstrip("=") for match in BASE64.finditer(text))
    return [base64.b64decode(piece[: len(piece) // 4 * 4]).decode(errors="replace") for piece in found]


def test_the_key_is_in_no_log_line_at_level_debug(told: tuple[House, Wiretap]) -> None:
    log = told[0].log()
    assert '"level": "debug"' in log
    assert "[app key]" in log, "it was said back, and taken out"
    _assert_no_key(log, "the worker's log")


def test_the_key_is_in_no_metric_of_the_worker(told: tuple[House, Wiretap]) -> None:
    address = re.search(r"metrics at (http://127\.0\.0\.1:\d+/metrics)", told[0].log())
    assert address is not None
    shown = httpx.get(address[1], trust_env=False).text
    assert 'outcome="opened"' in shown
    assert 'code="NotJson"' in shown
    assert 'warrooms_throttled_total{account="default"} 1.0' in shown
    _assert_no_key(shown, "the worker's metrics")


def test_the_key_is_in_no_trace(told: tuple[House, Wiretap], collector: Collector) -> None:
    path = b"/incident/war-room/create"
    until(lambda: path in collector.sent and b"warrooms.slot_wait_s" in collector.sent, "the spans of a job")
    assert told[0].stack.api_url.encode() + path in collector.sent
    _assert_no_key(collector.sent.decode("utf-8", "replace"), "the traces")
    assert b"app_key" not in collector.sent


def test_an_outcome_is_one_line_with_everything_that_people_ask_for(told: tuple[House, Wiretap]) -> None:
    lines = [json.loads(line) for line in told[0].log().splitlines() if line.startswith("{")]
    opened = [line for line in lines if line["event"] == "opened"]
    assert len({line["job"] for line in opened}) == len(opened)
    for line in opened:
        assert line["request_id"]
        assert (line["account"], line["lane"], line["outcome"], line["code"]) == ("default", "bulk", "opened", "OK")
        assert {"attempt", "waited_s", "latency_s", "took_s"} <= line.keys()


def test_the_key_is_in_nothing_that_redis_was_told(told: tuple[House, Wiretap]) -> None:
    house, wiretap = told
    job = house.job()
    house.open(job)

    def heard() -> str:
        text = "\n".join(wiretap.lines)
        return "\n".join([text, *_decoded(text)])

    # The wiretap hears messages and events in clear, or it would prove nothing.
    until(lambda: job.incident_id in heard() and '"type": "task-received"' in heard(), "the events of a job")
    assert '"type": "task-succeeded"' in heard()
    _assert_no_key(heard(), "Redis traffic")


def test_the_key_is_in_no_value_that_redis_keeps(told: tuple[House, Wiretap]) -> None:
    client = told[0].stack.redis
    kept = {name: _value(client, name) for name in client.scan_iter()}
    assert any("[app key]" in text for text in kept.values())
    for name, text in kept.items():
        _assert_no_key(f"{name} {text}", name)


def _value(client: Any, name: str) -> str:  # noqa: ANN401
    match client.type(name):
        case "hash":
            return str(client.hgetall(name))
        case "list":
            return str(client.lrange(name, 0, -1))
        case "set":
            return str(client.smembers(name))
        case "zset":
            return str(client.zrange(name, 0, -1))
        case "string":
            return str(client.get(name))
        case "none":
            return ""  # its time was over since the scan named it
        case kind:
            raise AssertionError(f"{name} is a {kind}")


COMMANDS: Final = (
    ("status",),
    ("status", "--json"),
    ("failed", "list"),
    ("failed", "list", "--json"),
    ("failed", "refused"),
    ("limit", "resume"),
    ("doctor",),
    ("doctor", "--json"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_key_is_in_nothing_that_the_commands_print(told: tuple[House, Wiretap], command: tuple[str, ...]) -> None:
    house = told[0]
    warrooms = str(Path(sys.executable).parent / "warrooms")
    done = subprocess.run([warrooms, *command], env=house.stack.env, capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    _assert_no_key(done.stdout + done.stderr, f"warrooms {' '.join(command)}")


@pytest.mark.parametrize("command", [("integrations",), ("backlog", "--since", "1d", "--without-room")], ids=" ".join)
def test_what_asks_the_api_itself_does_not_print_what_it_says_back(
    told: tuple[House, Wiretap], command: tuple[str, ...]
) -> None:
    """The key, and the secrets of the integrations."""
    house = told[0]
    for code in ("InternalError", "InvalidParameter"):
        house.stack.fault(kind="echo", code=code, calls=1)
    warrooms = str(Path(sys.executable).parent / "warrooms")
    shown = ""
    for _ in range(2):
        done = subprocess.run([warrooms, *command], env=house.stack.env, capture_output=True, text=True, check=False)
        shown += done.stdout + done.stderr
    assert "[app key]" in shown, "it was said back, and taken out"
    _assert_no_key(shown, f"warrooms {' '.join(command)}")
    kept = [_value(house.stack.redis, name) for name in house.stack.redis.scan_iter()]
    for secret in ("secret-push-key", "secret-setting"):
        assert not any(secret in text for text in (shown, *kept))


TOKEN: Final = "t0ken/of+ops-that.nobody_may~see=="
SECRET: Final = "s3cret of the webhook, nobody's"
OTHERS: Final = (TOKEN, SECRET, PASSWORD, "secret-push-key", "secret-setting")


@pytest.fixture(scope="module")
def web(told: tuple[House, Wiretap], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Path]]:
    """The web process beside the worker, with its log."""
    log = tmp_path_factory.mktemp("web") / "web.log"
    ours = {"WARROOMS_API_TOKENS": f"ops[enqueue+read+operate]:{TOKEN}", "WARROOMS_WEBHOOK_SECRET": SECRET}
    command = [str(Path(sys.executable).parent / "warrooms"), "web", "--port", "0"]
    process = spawn("web", command, log, told[0].stack.env | ours | {"WARROOMS_LOG_FORMAT": "json"}, ROOT)
    try:
        until(lambda: "startup complete" in log.read_text(), "the web process", process)
        url = log.read_text().split('"url": "')[1].split('"')[0]
        with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
            yield client, log
    finally:
        process.stop()


def test_no_secret_is_in_what_the_web_process_answers_shows_prints_or_keeps(
    told: tuple[House, Wiretap], web: tuple[httpx.Client, Path], flower: Watched
) -> None:
    house, wiretap = told
    client, log = web
    known = {"Authorization": f"Bearer {TOKEN}"}
    urgent, event = house.job(), {"event_id": "e1", "event_type": "i_assign", "incident": {}}
    wrong = {"incident_id": urgent.incident_id, "integration_id": 1, "member_ids": [KEY]}
    event["incident"] = {"incident_id": house.job().incident_id}
    answers = [
        client.post("/v1/war-rooms", json={"incident_id": urgent.incident_id}, headers=known),
        client.post("/v1/war-rooms", json=wrong, headers=known),
        client.post("/webhooks/flashduty", json=event, headers={"X-Warrooms-Secret": SECRET}),
        client.post("/login", data={"token": f"{TOKEN}x"}, headers={"Sec-Fetch-Site": "same-origin"}),
        client.post("/login", data={"token": TOKEN}, headers={"Sec-Fetch-Site": "same-origin"}),
        client.get("/"),
        client.get("/board"),
        *(client.get(path, headers=known) for path in ("/metrics", "/v1/failed", "/v1/limits", "/docs", "/nothing")),
    ]
    assert [answer.status_code for answer in answers] == [202, 422, 200, 401, 303, 200, 200, 200, 200, 200, 200, 404]
    assert "warrooms_queue_length" in answers[7].text
    session = client.cookies["warrooms_session"]
    said = [f"{answer.text}\n{html.unescape(answer.text)}\n{answer.headers}" for answer in answers]
    said = [text.replace(session, "") for text in said]
    kept = [f"{name} {_value(house.stack.redis, name)}" for name in house.stack.redis.scan_iter()]
    everything = {
        "the answers": "\n".join(said[:1] + said[2:]),  # what a client says in a wrong field comes back to it
        "the web's log": log.read_text(),
        "the worker's log": house.log(),
        "Flower's log": flower.log(),
        "Redis' values": "\n".join(kept),
        "Redis traffic": "\n".join(wiretap.lines),
    }
    assert "warrooms:session:" in everything["Redis' values"]
    for where, text in everything.items():
        _assert_no_key(text, where)
        for secret in (*OTHERS, session):
            for form in (
                secret,
                quote(secret, safe=""),
                html.escape(secret),
                base64.b64encode(secret.encode()).decode(),
            ):
                assert form not in text, where


def test_the_key_is_in_no_process_list(told: tuple[House, Wiretap]) -> None:
    house = told[0]
    for worker in house.stack.workers:
        assert isinstance(worker.popen.args, list)
        _assert_no_key(" ".join(map(str, worker.popen.args)), "the command line")


def test_the_key_is_in_nothing_that_flower_shows_prints_or_keeps(
    told: tuple[House, Wiretap], flower: Watched, flower_folder: Path
) -> None:
    house, _ = told
    job = house.job()
    house.fault("echo", job, code="Unauthorized", calls=1)
    house.enqueue(job)
    until(lambda: any("HTTP 401" in (row["result"] or "") for row in flower.rows_of(job)), "the refusal in Flower")
    house.probe_now()
    house.finish(job)
    until(lambda: {"SUCCESS", "FAILURE", "RETRY"} <= {task["state"] for task in flower.tasks()}, "every kind of end")
    tasks = flower.tasks()
    assert any("[app key]" in (task["exception"] or "") for task in tasks), "it was said back, and taken out"
    (worker,) = flower.get("/api/workers?refresh=1").json()
    pages = ["/api/tasks", "/", "/workers?json=1", "/api/workers", f"/worker/{worker}", "/broker", "/metrics"]
    pages += [f"/task/{task['uuid']}" for task in tasks]
    for page in pages:
        text = flower.get(page).text
        _assert_no_key(f"{text}\n{html.unescape(text)}", page)
    _assert_no_key(str(flower.rows()), "the page of tasks")
    assert flower.end(signal.SIGTERM) == 0
    kept = b"".join(file.read_bytes() for file in flower_folder.glob("flower*") if file.suffix != ".log")
    assert tasks[0]["uuid"].encode() in kept, "or it would prove nothing"
    assert b"[app key]" in kept
    _assert_no_key(kept.decode(errors="replace"), "Flower's database")
    log = flower.log()
    assert "Capturing events" in log, "it is at level DEBUG"
    _assert_no_key(log, "Flower's log")
    assert PASSWORD not in log


def test_without_a_connection_the_log_has_no_key(told: tuple[House, Wiretap]) -> None:
    house, _ = told
    house.stack.api.stop()
    job = house.job()
    house.enqueue(job)
    (record,) = house.finish(job)
    assert (record.state, record.code, record.attempts) == (JobState.FAILED, "NotConnected", 6)
    assert "check FLASHDUTY_BASE_URL" in record.hint
    _assert_no_key(house.log(), "the worker's log")
