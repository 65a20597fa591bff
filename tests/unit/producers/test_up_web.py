"""Whether `warrooms up` starts a web process."""

from __future__ import annotations

import pytest

from producers.up import _wanted, with_port

ALL = {"worker": "w", "web": "x", "flower": "f"}


@pytest.mark.parametrize("name", ["WARROOMS_API_TOKENS", "WARROOMS_API_TOKENS_FILE"])
def test_with_tokens_there_is_a_web_process(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "something")
    assert _wanted(ALL) == ALL


def test_without_tokens_there_is_none_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WARROOMS_API_TOKENS", raising=False)
    monkeypatch.delenv("WARROOMS_API_TOKENS_FILE", raising=False)
    assert set(_wanted(ALL)) == {"worker", "flower"}
    assert "set WARROOMS_API_TOKENS first" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "at"),
    [
        ("warrooms web", "warrooms web --port 9000"),
        ("exec warrooms  web --host ::1 | tee web.log", "exec warrooms  web --port 9000 --host ::1 | tee web.log"),
        ("warrooms web --port 8081 --host ::1", "warrooms web --port 9000 --host ::1"),
        ("warrooms web --port=8081", "warrooms web --port 9000"),
        ("celery -A worker flower --port=5555", "celery -A worker flower --port=5555"),
    ],
)
def test_the_port_of_the_http_api_can_be_chosen_and_no_other(command: str, at: str) -> None:
    assert with_port(command, 9000) == at
