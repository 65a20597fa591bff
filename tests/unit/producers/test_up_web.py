"""Whether `warrooms up` starts a web process."""

from __future__ import annotations

import pytest

from producers.up import _wanted

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
