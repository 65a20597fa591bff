"""Logs: one line per event, JSON or a console, and no traceback that shows a variable."""

from __future__ import annotations

import json
import logging
import sys
from typing import TYPE_CHECKING

import pytest
import structlog
from celery.worker.consumer import consumer

from worker import logs
from worker.settings import LogFormat

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "fd-secret-1234"


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in logs.QUIET}
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in logs.SELDOM:
        logging.getLogger(name).filters.clear()
    for name, was in levels.items():
        logging.getLogger(name).setLevel(was)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    out, err = capsys.readouterr()
    assert out == "", "standard output belongs to the programs"
    return [json.loads(line) for line in err.splitlines()]


def test_a_line_of_ours_and_one_of_a_library_look_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.JSON)
    structlog.get_logger("warrooms").info("opened", job="a.b.1", waited_s=0.25, room="战情室")
    logging.getLogger("celery").warning("hello %s", "world", extra={"job": "a.b.2"})
    ours, theirs = lines(capsys)
    assert ours.keys() - {"waited_s", "room"} == theirs.keys()
    assert (ours["event"], ours["job"], ours["level"], ours["logger"]) == ("opened", "a.b.1", "info", "warrooms")
    assert (ours["waited_s"], ours["room"]) == (0.25, "战情室")
    assert (theirs["event"], theirs["job"]) == ("hello world", "a.b.2")


def test_what_uvicorn_colours_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.JSON)
    logging.getLogger("uvicorn.error").info("Started %d", 7, extra={"color_message": "Started \x1b[36m%d\x1b[0m"})
    (said,) = lines(capsys)
    assert said["event"] == "Started 7"
    assert "color_message" not in said


def test_what_is_below_the_level_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.JSON, "WARNING")
    structlog.get_logger("warrooms").info("opened")
    structlog.get_logger("warrooms").warning("retrying")
    assert [line["event"] for line in lines(capsys)] == ["retrying"]


@pytest.mark.parametrize("name", logs.QUIET)
def test_talkative_libraries_are_quiet(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.JSON, logging.DEBUG)
    logging.getLogger(name).info("https://api/?app_key=%s", SECRET)
    assert lines(capsys) == []


def test_httpx_says_nothing_of_its_urls(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.JSON, logging.DEBUG)
    logging.getLogger("httpcore.connection").debug("connect %s", SECRET)
    assert lines(capsys) == []


def _fail() -> None:
    app_key = SECRET
    raise ValueError(len(app_key))


@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.CONSOLE])
def test_a_traceback_shows_no_variables(log_format: LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(log_format)
    try:
        _fail()
    except ValueError:
        structlog.get_logger("warrooms").exception("defect")
        logging.getLogger("celery").exception("defect")
    err = capsys.readouterr().err
    assert err.count("Traceback") == 2
    assert err.count("in _fail") == 2
    assert SECRET not in err.replace(f'"{SECRET}"', "")


def test_a_json_traceback_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.JSON)
    try:
        _fail()
    except ValueError:
        logging.getLogger("celery").exception("defect")
    (line,) = lines(capsys)
    assert "ValueError" in str(line["exception"])


@pytest.mark.parametrize(("terminal", "is_json"), [(False, True), (True, False)])
def test_auto_means_console_on_a_terminal(
    terminal: bool,  # noqa: FBT001
    is_json: bool,  # noqa: FBT001
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    logs.configure(LogFormat.AUTO)
    structlog.get_logger("warrooms").info("opened", job="a.b.1")
    assert capsys.readouterr().err.startswith("{") is is_json


def test_configuring_twice_writes_once(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.JSON)
    logs.configure(LogFormat.JSON)
    structlog.get_logger("warrooms").info("opened")
    assert len(lines(capsys)) == 1


def test_celery_says_twice_a_minute_that_it_cannot_connect_and_everything_else_at_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now_s = [1000.0]
    logs.configure(LogFormat.JSON)
    celery = logging.getLogger(logs.CONNECTING)
    celery.filters[:] = [logs.Seldom("Cannot connect to", lambda: now_s[0])]
    for _ in range(31):
        celery.error(consumer.CONNECTION_ERROR, "redis://", "refused", "Trying again")
        now_s[0] += 2
    celery.warning("another matter")
    events = [str(line["event"]).partition(":")[0] for line in lines(capsys)]
    assert events == ["consumer"] * 3 + ["another matter"]


@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.CONSOLE])
def test_broken_characters_from_outside_are_escaped_and_stop_no_line(
    log_format: LogFormat, capfd: pytest.CaptureFixture[str]
) -> None:
    logs.configure(log_format)
    structlog.get_logger("warrooms").error("refused a message", reason="\ud800: is not a field", task_id="\udcff")
    logging.getLogger("celery").error("a line of Celery's: %s", "\ud800")
    err = capfd.readouterr().err
    assert r"\ud800: is not a field" in err
    assert r"a line of Celery's: \ud800" in err
    assert "Traceback" not in err


def test_a_collector_that_is_away_is_a_line_twice_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    now_s = [1000.0]
    logs.configure(LogFormat.JSON)
    exporter = logging.getLogger(logs.EXPORTING)
    exporter.filters[:] = [logs.Seldom(logs.SELDOM[logs.EXPORTING], lambda: now_s[0])]
    for _ in range(31):
        exporter.warning("Transient error %s encountered while exporting spans batch, retrying in 1s.", SECRET)
        exporter.error("Failed to export spans batch due to timeout, max retries or shutdown.")
        now_s[0] += 2
    assert len(lines(capsys)) == 3


def test_a_line_that_is_no_json_is_written_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(LogFormat.JSON)
    circle: list[object] = []
    circle.append(circle)
    structlog.get_logger("warrooms").info("opened", circle=circle)
    (line,) = lines(capsys)
    assert "opened" in str(line["line"])
