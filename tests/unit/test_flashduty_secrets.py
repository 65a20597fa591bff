"""The app key appears nowhere: not in logs, errors, tracebacks with locals, reprs, nor in what a server echoes."""

from __future__ import annotations

import io
import json
import logging
import traceback
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, quote_plus

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.traceback import Traceback

from worker.errors import FlashdutyError, SettingsError, WarroomsError
from worker.flashduty import Flashduty
from worker.flashduty.app_key import MASK, AppKey
from worker.jobs import WarRoomJob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JOB = WarRoomJob(incident_id="69da451ef77b1b51f40e83ee", integration_id=1)
KEY = "s3cr3t+K&y/%=é'\"<~>"
FORMS = (KEY, quote(KEY, safe=""), quote(KEY), quote_plus(KEY), "s3cr3t")


def everything_about(error: BaseException) -> str:
    """All that a log, a crash reporter or a debugger shows of an error, and of all errors behind it."""
    page = io.StringIO()
    shown = Traceback.from_exception(
        type(error), error, error.__traceback__, show_locals=True, locals_max_length=1000, locals_max_string=100_000
    )
    Console(file=page, width=500, no_color=True).print(shown)
    text = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    chain = [error]
    while chain[-1].__cause__ or chain[-1].__context__:
        chain.append(chain[-1].__cause__ or chain[-1].__context__)  # type: ignore[arg-type]
    told = [f"{link} {link!r} {link.args} {vars(link)}" for link in chain]
    return page.getvalue() + without_this_file(text) + " ".join(told)


def without_this_file(text: str) -> str:
    """The frames of this test file hold the key by design: they stand for the server and the secret store."""
    kept, ours = [], False
    for line in text.splitlines():
        if line.startswith("  File "):
            ours = __file__ in line
        if not ours:
            kept.append(line)
    return "\n".join(kept)


def clean(text: str) -> bool:
    return not any(form in text for form in FORMS)


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """The text of every log line at DEBUG, of every logger, however its level was set."""
    page, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(page), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    for name in ("httpx", "httpcore", "httpcore.http11", "httpcore.connection"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield page
    root.removeHandler(handler)
    root.setLevel(level)


def client(handler: Callable[[httpx.Request], httpx.Response], key: str = KEY) -> Flashduty:
    return Flashduty(base_url="https://api.test", app_key=lambda: key, transport=lambda: httpx.MockTransport(handler))


def fails_with(error: Exception) -> Callable[[httpx.Request], httpx.Response]:
    def handler(request: httpx.Request) -> httpx.Response:
        if isinstance(error, httpx.RequestError):
            error.request = request
        raise error from ValueError(str(request.url))

    return handler


def answers(
    status: int, body: str | bytes, headers: dict[str, str] | None = None
) -> Callable[[httpx.Request], httpx.Response]:
    def handler(_: httpx.Request) -> httpx.Response:
        reason = {"reason_phrase": f"no {quote(KEY)}".encode()}
        return httpx.Response(status, content=body, headers=headers, extensions=reason)

    return handler


def enveloped(text: str, code: str = "BadRequest") -> str:
    return json.dumps({"request_id": f"r {text}", "error": {"code": f"{code}{text}", "message": f"no: {text}"}})


ECHO = f"https://api.test/incident/war-room/create?app_key={quote(KEY, safe='')}"
ECHOED_ID = {"Flashcat-Request-Id": quote(KEY)}

TROUBLE = {
    "connection refused": fails_with(httpx.ConnectError("refused")),
    "connect timeout": fails_with(httpx.ConnectTimeout("slow")),
    "read timeout": fails_with(httpx.ReadTimeout("slow")),
    "cut, with the answer in the error": fails_with(httpx.RemoteProtocolError(f"illegal line {ECHO}")),
    "another error": fails_with(RuntimeError(ECHO)),
    "status error": fails_with(
        httpx.HTTPStatusError(ECHO, request=httpx.Request("POST", ECHO), response=httpx.Response(500))
    ),
    "html 504": answers(504, f"<html>{ECHO}</html>", ECHOED_ID),
    "429": answers(429, enveloped(KEY)),
    "refused": answers(400, enveloped(KEY)),
    "refused, encoded": answers(400, enveloped(ECHO)),
    "refused, plus-encoded": answers(400, enveloped(quote_plus(KEY).lower())),
    "unknown code with 200": answers(200, enveloped(KEY, "New")),
    "redirect": answers(302, "", {"Location": ECHO} | ECHOED_ID),
    "empty room": answers(200, json.dumps({"request_id": KEY, "data": {}})),
    "wrong shape": answers(200, json.dumps({"request_id": KEY, "data": [KEY]})),
    "too large": answers(200, KEY * 1000),
}


@pytest.mark.parametrize("handler", TROUBLE.values(), ids=TROUBLE.keys())
def test_no_trouble_shows_the_key(handler: Callable[[httpx.Request], httpx.Response], logged: io.StringIO) -> None:
    duty = Flashduty(
        base_url="https://api.test",
        app_key=lambda: KEY,
        transport=lambda: httpx.MockTransport(handler),
        max_body_bytes=5_000,
    )
    with pytest.raises(FlashdutyError) as caught:
        duty.create(JOB)
    logging.getLogger("worker").error("failed", exc_info=caught.value)
    assert clean(everything_about(caught.value))
    assert clean(logged.getvalue())
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_an_error_raised_while_another_is_handled_leads_only_to_that_one() -> None:
    duty = client(TROUBLE["connection refused"])
    outer = ValueError("outer")

    def call_while_handling() -> None:
        try:
            raise outer
        except ValueError:
            duty.create(JOB)

    with pytest.raises(FlashdutyError) as caught:
        call_while_handling()
    assert caught.value.__context__ is outer
    assert outer.__context__ is None


def test_what_a_success_echoes_is_redacted(logged: io.StringIO) -> None:
    room = {"chat_id": f"oc {KEY}", "chat_name": ECHO, "share_link": f"https://im/?k={quote_plus(KEY)}"}
    reply = client(answers(200, json.dumps({"request_id": KEY, "data": room}))).create(JOB)
    assert clean(repr(reply))
    assert reply.value.chat_id == f"oc {MASK}"
    assert reply.value.share_link == f"https://im/?k={MASK}"
    assert reply.request_id == MASK
    assert clean(logged.getvalue())


def integrations_with_secrets() -> Flashduty:
    item = {"integration_id": "not a number", "integration_key": "s3cr3t", "settings": {"token": "s3cr3t"}}
    return client(answers(200, json.dumps({"request_id": "R", "data": {"items": [item]}})), key="another")


def test_the_secrets_of_integrations_stay_out_of_errors(logged: io.StringIO) -> None:
    duty = integrations_with_secrets()
    with pytest.raises(FlashdutyError) as caught:
        duty.integrations()
    assert clean(everything_about(caught.value))
    assert clean(logged.getvalue())


def test_reprs_mask_the_key() -> None:
    duty, key = client(TROUBLE["429"]), AppKey(KEY)
    with pytest.raises(FlashdutyError):
        duty.create(JOB)
    addresses = duty._wire._addresses
    shown = f"{duty} {duty!r} {vars(duty)} {vars(duty._wire)} {vars(addresses)} {key} {key!r}"
    assert clean(shown)
    assert MASK in str(vars(addresses)), "it is kept there"
    for secret in (key, *addresses._made.values()):
        assert not hasattr(secret, "__dict__")


@pytest.mark.parametrize("key", ["", " ", "s3cr3t key", "s3cr3t\n", "\ts3cr3t", "s3cr3t\x00", "s3cr3t\udc80"])
def test_a_key_that_cannot_be_one_is_a_settings_error_that_does_not_show_it(key: str) -> None:
    duty = client(TROUBLE["429"], key)
    with pytest.raises(SettingsError, match="the app key") as caught:
        duty.create(JOB)
    shown = without_this_file(
        "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    )
    assert clean(shown)
    assert clean(str(caught.value))


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=30))
def test_any_key_arrives_as_it_is_and_is_found_in_any_echo(key: str) -> None:
    seen: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        query = request.url.query.decode("ascii")
        seen.append(query)
        forms = [key, query.removeprefix("app_key="), quote(key), quote_plus(key), quote(key, safe="!*'();:@&=+$,")]
        return httpx.Response(400, json={"error": {"code": "x", "message": " ".join(forms)}})

    with pytest.raises(WarroomsError) as caught:
        client(handler, key).create(JOB)
    assert parse_qs(seen[0], strict_parsing=True) == {"app_key": [key]}
    if len(key) > len(MASK):
        assert key not in str(caught.value)
        assert quote(key) not in str(caught.value)


@pytest.mark.parametrize(
    "echo",
    [KEY, quote(KEY), quote_plus(KEY), quote(quote(KEY)), quote(KEY, safe="").lower(), "%73" + KEY[1:]],
)
def test_every_encoding_of_the_key_is_redacted(echo: str) -> None:
    assert clean(AppKey(KEY).redact(f"before {echo} after"))


def test_other_text_is_not_touched() -> None:
    assert AppKey(KEY).redact("100% of /a+b & <c>") == "100% of /a+b & <c>"
