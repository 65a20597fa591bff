"""One HTTP answer -> its data, or the leaf of the error tree. Pure, but for the time of a Retry-After date.

429                      RateLimited, whatever the body says
3xx                      AccountRefused: the API redirects nobody, so this is not its address
not the API's JSON       OutcomeUnknown: a gateway answered, the API may have done its work
2xx, no failing code     success; `data` may be anything, null or absent
the rest                 by `error.code`, then by the status (errors.error_for)
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from worker.errors import (
    SUCCESS_CODES,
    AccountRefused,
    FlashdutyError,
    OutcomeUnknown,
    RateLimited,
    error_for,
    hint_for,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.flashduty.app_key import AppKey

MAX_RETRY_AFTER_S: Final = 3600.0
MAX_MESSAGE: Final = 300
MAX_NAME: Final = 100

_CHECK_URL: Final = "check FLASHDUTY_BASE_URL: it must be the API's own address"
_GATEWAY: Final = "a gateway or proxy answered instead of the API; if it goes on, check FLASHDUTY_BASE_URL"


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """What came back, raw: it may echo the key, so it has no repr. `body` is None if it was too large."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None


@dataclass(frozen=True, slots=True, repr=False)
class Envelope:
    """A success. `data` is what the API put there, without the key; it may hold other secrets, so no repr."""

    data: object
    request_id: str


def unfold(answer: Answer, key: AppKey) -> Envelope | FlashdutyError:
    """The success in the answer, or its error: returned, not raised, for this frame sees the raw body."""
    parsed = _api_json(answer.body, key.redact)
    fail = _Failure(answer, parsed or {}, key.redact)
    if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
        return fail.of(RateLimited, fail.code or "TooManyRequests", fail.message or "too many requests")
    if 300 <= answer.status < 400:  # noqa: PLR2004
        return fail.of(AccountRefused, "Redirected", "the server redirects to another address", _CHECK_URL)
    if answer.body is None:
        return fail.of(OutcomeUnknown, "BodyTooLarge", "the answer is larger than any of the API's", _GATEWAY)
    if parsed is None:
        return fail.of(OutcomeUnknown, "NotJson", "the answer is not the API's JSON", _GATEWAY)
    if 200 <= answer.status < 300 and not fail.code:  # noqa: PLR2004
        return Envelope(parsed.get("data"), fail.request_id)
    leaf = error_for(fail.code, answer.status)
    return fail.of(leaf, fail.code or "NoCode", fail.message or "the API gives no reason", hint_for(fail.code))


def wrong_shape(request_id: str, status: int) -> OutcomeUnknown:
    """A success whose `data` is not what the API documents."""
    return OutcomeUnknown(
        "the answer's data has not the documented shape",
        code="NotJson",
        status=status,
        request_id=request_id,
        hint=_GATEWAY,
    )


class _Failure:
    """The parts of a failed answer that an error keeps: short, on one line, without the key."""

    def __init__(self, answer: Answer, parsed: Mapping[str, object], redact: Callable[[str], str]) -> None:
        error = parsed.get("error")
        fields = error if isinstance(error, dict) else {}
        header = redact(answer.headers.get("Flashcat-Request-Id", ""))
        self._answer = answer
        code = _line(fields.get("code"), MAX_NAME)
        self.code = "" if code.lower() in SUCCESS_CODES else code
        self.message = _line(fields.get("message"), MAX_MESSAGE)
        self.request_id = _line(parsed.get("request_id"), MAX_NAME) or _line(header, MAX_NAME)

    def of(self, leaf: type[FlashdutyError], code: str, message: str, hint: str = "") -> FlashdutyError:
        return leaf(
            message,
            code=code,
            status=self._answer.status,
            request_id=self.request_id,
            retry_after_s=retry_after_s(self._answer.headers, time.time()),
            hint=hint,
        )


def _api_json(body: bytes | None, redact: Callable[[str], str]) -> dict[str, object] | None:
    """The API's envelope without the key; None if the body is something else."""
    try:
        parsed = _clean(json.loads(body or b""), redact)
    except (ValueError, RecursionError):
        return None
    if not isinstance(parsed, dict) or not parsed.keys() & {"request_id", "data", "error"}:
        return None
    return parsed if isinstance(parsed.get("error"), dict | None) else None


def _clean(value: object, redact: Callable[[str], str]) -> object:
    """The value with every text redacted and fit for UTF-8 (JSON may hold half a surrogate pair)."""
    if isinstance(value, str):
        return redact(value.encode(errors="replace").decode())
    if isinstance(value, dict):
        return {str(_clean(name, redact)): _clean(item, redact) for name, item in value.items()}
    if isinstance(value, list):
        return [_clean(item, redact) for item in value]
    return value


def _line(value: object, longest: int) -> str:
    """A text or a number as one line; empty for nothing, a mark for anything else."""
    if value is None:
        return ""
    if not isinstance(value, str | int):
        return "?"
    text = " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def retry_after_s(headers: Mapping[str, str], now: float) -> float | None:
    """What `Retry-After` asks for, in seconds, at most an hour; None if it is absent or makes no sense.

    A date counts from the server's own `Date`, so that our clock's error does not matter, else from `now`.
    """
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text, re.ASCII):
        return min(float(text), MAX_RETRY_AFTER_S)
    until = _timestamp(text)
    if until is None:
        return None
    sent = _timestamp(headers.get("Date", ""))
    wait_s = until - (now if sent is None else sent)
    return min(wait_s, MAX_RETRY_AFTER_S) if wait_s >= 0 else None


def _timestamp(http_date: str) -> float | None:
    try:
        return parsedate_to_datetime(http_date).timestamp()
    except (ValueError, OverflowError):
        return None
