"""What a call gets when a fault rule hits it."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from sandbox.envelope import NoReply, Outcome, Reply, encode, failure, success
from sandbox.errors import ApiError
from sandbox.faults import FaultRule, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.envelope import JsonObject

OVER_LONG_BYTES: Final = 10 * 1024 * 1024 + 1


def retry_after(wait_s: float, *, http_date: bool = False) -> tuple[tuple[str, str], ...]:
    """The Retry-After header, rounded up to whole seconds; as a date if asked."""
    if http_date:
        return (("Retry-After", formatdate(math.ceil(time.time() + wait_s), usegmt=True)),)
    return (("Retry-After", str(math.ceil(wait_s))),)


def strike(rule: FaultRule, request_id: str, target: str, carry_out: Callable[[], Reply]) -> Outcome:
    """Answer one call as the rule says.

    Args:
        rule: the rule that hit.
        request_id: the call's.
        target: the request's path and query, with the app key.
        carry_out: does what was asked and gives the true answer.
    """
    real = carry_out() if rule.after else None
    if rule.kind is Kind.CUT:
        return NoReply.RESET if rule.reset else NoReply.CLOSE
    if rule.kind is Kind.HANG:
        return NoReply.HANG
    if rule.kind in _INSTEAD:
        return _INSTEAD[rule.kind](rule, request_id, target)
    # What remains bends a success; a call that fails on its own keeps its error.
    true = success(request_id, {}) if real is None else real
    return true if true.status != 200 else _bent(rule.kind, true)  # noqa: PLR2004


def _too_frequent(rule: FaultRule, request_id: str, _target: str) -> Reply:
    seconds = rule.retry_after_s
    headers = () if seconds is None else retry_after(seconds, http_date=rule.http_date)
    return failure(request_id, ApiError("RequestTooFrequently"), headers)


def _error(rule: FaultRule, request_id: str, _target: str) -> Reply:
    return failure(request_id, ApiError(rule.code, rule.message, rule.status))


def _echo(rule: FaultRule, request_id: str, target: str) -> Reply:
    message = f"upstream failed: POST http://api.flashcat.cloud{target}"
    return failure(request_id, ApiError(rule.code, message, rule.status))


def _html(rule: FaultRule, _request_id: str, target: str) -> Reply:
    status = rule.status or 504
    url = f"<p>{target}</p>" if rule.echo_key else ""
    page = f"<html><head><title>{status}</title></head><body><h1>Gateway Time-out</h1>{url}</body></html>"
    return Reply(status, page.encode(), content_type="text/html")


def _garbage(_rule: FaultRule, request_id: str, _target: str) -> Reply:
    return Reply(200, b'{"request_id": "cut short', request_id)


_INSTEAD: Final[dict[Kind, Callable[[FaultRule, str, str], Reply]]] = {
    Kind.TOO_FREQUENT: _too_frequent,
    Kind.LIMIT_PAUSE: _too_frequent,
    Kind.ERROR: _error,
    Kind.ECHO: _echo,
    Kind.HTML: _html,
    Kind.GARBAGE: _garbage,
}


def _bent(kind: Kind, real: Reply) -> Reply:
    envelope: JsonObject = json.loads(real.body)
    if kind is Kind.EMPTY_DATA:
        envelope["data"] = {}
    elif kind is Kind.NULL_DATA:
        envelope["data"] = None
    elif kind is Kind.NO_DATA:
        del envelope["data"]
    elif kind is Kind.OK_CODE:
        envelope["error"] = {"code": "OK", "message": ""}
    else:
        envelope["padding"] = "x" * OVER_LONG_BYTES
    return replace(real, body=encode(envelope))
