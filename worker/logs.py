"""Logs: structlog over the standard library's logging, JSON lines or a readable console, one line per outcome."""

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


class _Whole(logging.StreamHandler[TextIO]):
    """Writes every line, with broken characters (half a surrogate pair, from a message's JSON) escaped."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).encode("utf-8", "backslashreplace").decode("utf-8")


def configure(log_format: LogFormat, level: int | str | None = None) -> None:
    """Sets the process's logging up, once, on standard error.

    Args:
        log_format: console, json, or auto: console on a terminal.
        level: the root level; INFO unless given.
    """
    as_json = log_format is LogFormat.JSON or (log_format is LogFormat.AUTO and not sys.stderr.isatty())
    handler = _Whole(sys.stderr)
    handler.setFormatter(_formatter(as_json=as_json))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    for name, text in SELDOM.items():
        logging.getLogger(name).filters[:] = [Seldom(text)]
    root.setLevel(level or logging.INFO)
    for name, quiet in QUIET.items():
        logging.getLogger(name).setLevel(quiet)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_FACTS,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


_FACTS: Final[tuple[structlog.typing.Processor, ...]] = (
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
)


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, default=repr)  # made once, and not for every line


def _as_json(facts: object, **_: object) -> str:
    return _ENCODER.encode(facts)


def _without_colours(_logger: object, _name: str, facts: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Uvicorn says some things twice, the second time with escapes for a terminal."""
    facts.pop("color_message", None)
    return facts


def _formatter(*, as_json: bool) -> logging.Formatter:
    steps: list[structlog.typing.Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        _without_colours,
    ]
    if as_json:
        steps += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_as_json)]
    else:
        # Plain tracebacks: the pretty ones print local variables, and one of them may be an app key.
        plain = structlog.dev.plain_traceback
        steps.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain))
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_FACTS, structlog.stdlib.ExtraAdder()], processors=steps
    )
