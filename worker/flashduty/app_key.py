"""The app key of one call: masked when shown, removed from what comes back, kept out of httpx's logs."""

from __future__ import annotations

import html
import json
import logging
from typing import Final
from urllib.parse import quote, quote_plus, unquote_plus

from worker.errors import SettingsError

MASK: Final = "[app key]"

LOGGERS: Final = (
    "httpx",
    "httpcore",
    "httpcore.connection",
    "httpcore.http11",
    "httpcore.http2",
    "httpcore.proxy",
    "httpcore.socks",
)
"""The loggers of httpx and httpcore: a filter is not inherited, so each needs its own."""


class AppKey:
    """One account's key for one call. No repr, format or attribute listing shows it."""

    __slots__ = ("_key",)

    def __init__(self, key: str) -> None:
        self._key = key

    def __repr__(self) -> str:
        return f"AppKey({MASK})"

    def fault(self) -> SettingsError | None:
        """Why the key cannot be one, never showing it; returned, so that no traceback has it in a frame."""
        if not self._key:
            return SettingsError("the app key is empty: set FLASHDUTY_APP_KEY or FLASHDUTY_APP_KEY_FILE")
        if any(character.isspace() or not character.isprintable() for character in self._key):
            return SettingsError("the app key contains a space, a line break or a control character")
        return None

    def query(self) -> bytes:
        """The query string that authenticates a call, percent-encoded."""
        return b"app_key=" + quote(self._key, safe="").encode("ascii")

    def redact(self, text: str) -> str:
        """The text without the key: plain, URL-encoded, as HTML or as a JSON string.

        Where an encoding we did not foresee still decodes to the key, the whole text goes.
        """
        for form in self._forms():
            text = text.replace(form, MASK)
        decoded = unquote_plus(text)
        hidden = self._key in decoded or self._key in html.unescape(unquote_plus(decoded))
        return MASK if hidden else text

    def _forms(self) -> list[str]:
        encoded = {quote(self._key, safe=""), quote_plus(self._key), quote(self._key)}
        as_text = {self._key, html.escape(self._key), json.dumps(self._key)[1:-1]}
        return sorted(encoded | {form.lower() for form in encoded} | as_text, key=len, reverse=True)


class _WarningsOnly(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING


_WARNINGS_ONLY: Final = _WarningsOnly()


def quiet_http_loggers() -> None:
    """Drop what httpx and httpcore log below WARNING, whatever level anyone sets.

    Their lines hold the reason phrase and all headers of an answer, which may echo the key. A filter on the
    logger, because a level is the application's to change.
    """
    for name in LOGGERS:
        logging.getLogger(name).addFilter(_WARNINGS_ONLY)
