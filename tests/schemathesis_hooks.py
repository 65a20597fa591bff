"""What schemathesis has to know of us: it cannot write CSV, and it would use one Idempotency-Key for two bodies."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any, Final

import schemathesis
from schemathesis.core import NotSet

if TYPE_CHECKING:
    from schemathesis import Case, HookContext, SerializationContext

FIRST: Final = {
    "application/x-ndjson": '{"incident_id": "69da451ef77b1b51f40e83ee"}',
    "text/csv": "incident_id,urgent\n69da451ef77b1b51f40e83ee,true",
    "text/plain": "69da451ef77b1b51f40e83ee",
}
"""A line that makes any text a bulk body: what schemathesis has generated are the lines behind it."""


@schemathesis.serializer(*FIRST)
def as_it_is(_context: SerializationContext, value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


@schemathesis.hook
def before_call(_context: HookContext, case: Case[Any], _kwargs: dict[str, Any]) -> None:
    if case.media_type in FIRST and not isinstance(case.body, bytes | NotSet):
        case.body = f"{FIRST[case.media_type]}\n{case.body}"
    headers = case.headers
    if headers and re.fullmatch("[!-~]{1,255}", str(headers.get("idempotency-key", ""))):
        headers["idempotency-key"] = uuid.uuid4().hex
