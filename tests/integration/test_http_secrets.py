"""No token and no webhook secret is in a log line, an answer, an error or Redis."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from typing import TYPE_CHECKING, Final

import httpx
import pytest

from producers.http.settings import WebSettings
from sandbox.processes import spawn
from sandbox.stack import until
from tests.commands import ID, WARROOMS
from worker.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from worker.redis_store import RedisStore

TOKEN: Final = "t0ken-that-nobody-may-see"
SECRET: Final = "s3cret-that-nobody-may-see"


def forms(secret: str) -> set[str]:
    digest = hashlib.sha256(secret.encode())
    return {secret, base64.b64encode(secret.encode()).decode(), digest.hexdigest(), repr(digest.digest())[2:-1]}


def assert_silent(text: str) -> None:
    assert not [form for secret in (TOKEN, SECRET) for form in forms(secret) if form in text]


def test_a_web_process_says_no_secret(env: dict[str, str], store: RedisStore, tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    ours = {"WARROOMS_API_TOKENS": f"ops[enqueue+read+operate]:{TOKEN}", "WARROOMS_WEBHOOK_SECRET": SECRET}
    web = spawn("web", [WARROOMS, "web", "--port", "0"], log, env | ours | {"WARROOMS_LOG_FORMAT": "json"})
    try:
        until(lambda: "startup complete" in log.read_text(), "the web process", web)
        url = log.read_text().split('"url": "')[1].split('"')[0]
        with httpx.Client(base_url=url, trust_env=False) as client:
            said = [answer.text + str(answer.headers) for answer in _answers(client)]
    finally:
        assert web.stop() == 0
    assert len(said) == 14
    assert_silent("\n".join(said))
    assert_silent(log.read_text())
    for key in store.client.scan_iter("*"):
        assert_silent(str(key) + str(store.client.dump(str(key))))
    assert "web.replayed" in log.read_text()


def _answers(client: httpx.Client) -> list[httpx.Response]:
    known, webhook = {"Authorization": f"Bearer {TOKEN}"}, {"X-Warrooms-Secret": SECRET}
    job = {"incident_id": ID}
    event = {"event_id": "e", "event_type": "i_assign", "incident": job}
    return [
        client.post("/v1/war-rooms", json=job, headers=known | {"Idempotency-Key": "k"}),
        client.post("/v1/war-rooms", json={"incident_id": "x"}, headers=known),
        client.post("/v1/war-rooms", content=b"\xff", headers=known | {"content-type": "application/json"}),
        client.post("/v1/war-rooms", json=job, headers={"Authorization": f"Basic {TOKEN}"}),
        client.post("/v1/war-rooms", json=job, headers={"Authorization": f"Bearer {TOKEN}x"}),
        client.post("/v1/war-rooms/bulk", content=ID, headers=known | {"content-type": "text/plain"}),
        client.post("/v1/failed/replay", json={"all": True}, headers=known),
        client.get("/v1/failed", headers=known),
        client.get("/v1/limits", headers=known),
        client.get("/openapi.json", headers=known),
        client.get("/nothing", headers=known),
        client.post("/webhooks/flashduty", json=event, headers=webhook),
        client.post("/webhooks/flashduty", json=event, headers={"X-Warrooms-Secret": SECRET + "x"}),
        client.post("/webhooks/flashduty", json={}, headers=webhook),
    ]


@pytest.mark.parametrize(
    ("ours", "says"),
    [
        ({}, "set WARROOMS_API_TOKENS, for instance"),
        ({"WARROOMS_API_TOKENS": TOKEN}, "entry 1: it is not name:token"),
        ({"WARROOMS_API_TOKENS": f"ops:{TOKEN}@"}, "entry 1: it is not name:token"),
        ({"WARROOMS_API_TOKENS_FILE": TOKEN}, "the file that WARROOMS_API_TOKENS_FILE names: No such file"),
        ({"WARROOMS_API_TOKENS": f"ops:{TOKEN}", "WARROOMS_MAX_BACKLOG": SECRET}, "WARROOMS_MAX_BACKLOG"),
        (
            {"WARROOMS_API_TOKENS": f"ops:{TOKEN}", "WARROOMS_WEBHOOK_SECRET": f"{SECRET}\N{SNOWMAN}"},
            "WARROOMS_WEBHOOK_SECRET: needs at least 16 characters of printable ASCII",
        ),
    ],
)
def test_a_web_process_that_must_not_start_says_why_and_no_secret(
    env: dict[str, str], ours: dict[str, str], says: str
) -> None:
    done = subprocess.run([WARROOMS, "web"], env=env | ours, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 2
    assert says in done.stderr
    assert_silent(done.stdout + done.stderr)
    debug = env | ours | {"WARROOMS_DEBUG": "1"}
    again = subprocess.run([WARROOMS, "web"], env=debug, capture_output=True, text=True, timeout=30, check=False)
    assert "Traceback" in again.stderr
    assert_silent(again.stderr)


def test_tokens_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"# who may ask\nops[read]:{TOKEN}\n")
    settings = WebSettings(api_tokens_file=file)
    found = settings.tokens(["default"]).caller(TOKEN)
    assert found is not None
    assert found.name == "ops"
    assert_silent(repr(settings) + str(settings.model_dump()))


@pytest.mark.parametrize(
    "secret", ["~", "fifteen letters", "sixteen letters\u00e9", " sixteen letters", "sixteen\tletters!"]
)
def test_a_webhook_secret_that_is_guessed_or_that_no_header_carries_is_refused(
    monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("WARROOMS_WEBHOOK_SECRET", secret)
    with pytest.raises(SettingsError, match="at least 16 characters of printable ASCII") as caught:
        WebSettings.load()
    assert secret not in str(caught.value)


def test_a_webhook_secret_may_have_any_sign_that_a_header_carries() -> None:
    assert WebSettings(webhook_secret="sixteen, letters").webhook_secret.get_secret_value() == "sixteen, letters"


def test_a_port_that_is_taken_is_said_in_a_sentence(env: dict[str, str]) -> None:
    import socket  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ours = env | {"WARROOMS_API_TOKENS": f"ops:{TOKEN}"}
        done = subprocess.run(
            [WARROOMS, "web", "--port", port], env=ours, capture_output=True, text=True, timeout=30, check=False
        )
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in done.stderr


def test_settings_that_are_wrong_are_named() -> None:
    with pytest.raises(SettingsError, match="must not be open to everybody"):
        WebSettings(api_tokens="").tokens(["default"])
