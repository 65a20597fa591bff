"""Logs: JSON lines or a readable console, one line per outcome; ours and those of libraries look the same.

What libraries say comes through the standard library's logging. Our own lines are written by structlog alone: by way of
a LogRecord each would cost a job four times as much.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import time
from typing import TYPE_CHECKING, Final, TextIO

import structlog

from worker.settings import LogFormat

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY_S: Final = 30.0

QUIET: Final = {
    "celery.worker.strategy": logging.WARNING,  # "Task received": the outcome's line says more
    "celery.app.trace": logging.WARNING,  # "Task succeeded": same
    "celery.worker.consumer.mingle": logging.WARNING,
    "celery.worker.consumer.gossip": logging.WARNING,
    "httpx": logging.WARNING,  # would log every call's URL
    "httpcore": logging.WARNING,
    "opentelemetry.exporter": logging.ERROR,  # each try to reach a collector that is away, with its URL
}

CONNECTING: Final = "celery.worker.consumer.consumer"
EXPORTING: Final = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
SELDOM: Final = {CONNECTING: "Cannot connect to", EXPORTING: "Failed to export"}
"""What says the same again and again while something is away, and how it begins."""


class Seldom(logging.Filter):
    """Lets a library say twice a minute that something is away; Celery tries every two seconds.

    Args:
        text: what those lines have in them.
        clock: monotonic seconds.
    """

    def __init__(self, text: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._text = text
        self._clock = clock
        self._next_s = -math.inf

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this line is written."""
        if self._text not in str(record.msg):
            return True
        due = self._clock() >= self._next_s
        if due:
            self._next_s = self._clock() + EVERY_S
        return due


def _whole(line: str) -> str:
    """The line with broken characters (half a surrogate pair, from a message's JSON) escaped."""
    return line if line.isascii() else line.encode("utf-8", "backslashreplace").decode("utf-8")


class _Whole(logging.StreamHandler[TextIO]):
    """Writes every line of the standard library's logging."""

    def format(self, record: logging.LogRecord) -> str:
        return _whole(super().format(record))


class _Lines:
    """Writes every line of structlog's, each in one piece; the name is that of the logger."""

    def __init__(self, handler: _Whole, name: str) -> None:
        self.name = name
        self._handler = handler

    def msg(self, line: str) -> None:
        handler = self._handler
        handler.acquire()
        try:
            handler.stream.write(_whole(line) + handler.terminator)
            handler.stream.flush()
        except (OSError, ValueError):
            pass  # nobody reads us, or it is closed: no reason to stop, as the standard library's handlers see it
        finally:
            handler.release()

    debug = info = warning = error = critical = msg


def configure(log_format: LogFormat, level: int | str | None = None) -> None:
    """Sets the process's logging up, once, on standard error.

    Args:
        log_format: console, json, or auto: console on a terminal.
        level: the root level; INFO unless given.
    """
    as_json = log_format is LogFormat.JSON or (log_format is LogFormat.AUTO and not sys.stderr.isatty())
    handler = _Whole(sys.stderr)
    steps = _json_steps() if as_json else _console_steps()
    foreign = structlog.stdlib.ProcessorFormatter
    handler.setFormatter(
        foreign(
            foreign_pre_chain=[*_FACTS, structlog.stdlib.ExtraAdder()],
            processors=[foreign.remove_processors_meta, _without_colours, *steps],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    for name, text in SELDOM.items():
        logging.getLogger(name).filters[:] = [Seldom(text)]
    root.setLevel(level or logging.INFO)
    for name, quiet in QUIET.items():
        logging.getLogger(name).setLevel(quiet)
    structlog.configure(
        processors=[*_FACTS, *steps],
        logger_factory=lambda name="warrooms": _Lines(handler, name),
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        cache_logger_on_first_use=True,
    )


_FACTS: Final[tuple[structlog.typing.Processor, ...]] = (
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, default=repr)  # made once, and not for every line


def _as_json(facts: object, **_: object) -> str:
    try:
        return _ENCODER.encode(facts)
    except (TypeError, ValueError):  # a key that is no text, a circle: a line must not stop who writes it
        return _ENCODER.encode({"event": "a line that cannot be written as JSON", "line": repr(facts)})


def _json_steps() -> list[structlog.typing.Processor]:
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_as_json)]


def _console_steps() -> list[structlog.typing.Processor]:
    # Plain tracebacks: the pretty ones print local variables, and one of them may be an app key.
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]


def _without_colours(_logger: object, _name: str, facts: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Uvicorn says some things twice, the second time with escapes for a terminal."""
    facts.pop("color_message", None)
    return facts
