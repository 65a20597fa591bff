"""The order in which a call is judged; knows nothing of sockets.

At the head: stamp, route, method, app key, pause, limits. With the body: fault, content type, size, JSON,
fields, and then the deed. What the head refuses is answered at once; everything else takes its latency, and
the deed is done at its end: a caller that gave up before then has a room it does not know of yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from sandbox import fields
from sandbox.api import ENDPOINTS, Backend, Caller
from sandbox.envelope import NoReply, Outcome, Reply, failure, success
from sandbox.errors import ApiError
from sandbox.faults import FaultRule, Kind
from sandbox.faulty import retry_after, strike
from sandbox.models import SECOND_US
from sandbox.stats import ABANDONED, CUT, HUNG, Ledger, Verdict

if TYPE_CHECKING:
    from sandbox.envelope import JsonObject
    from sandbox.state import Account, State

MAX_BODY_BYTES: Final = 1024 * 1024
_UNKNOWN: Final = Caller("", 0)


@dataclass(slots=True)
class Call:
    """One call between its head and its answer.

    Args:
        target: path and query as sent.
        path: the endpoint.
        content_type: as sent; empty if none.
        caller: the account behind the key.
        request_id: in the answer.
        refusal: the answer that the head already decided; None if the call was accepted.
        ledger: where the call was written down; a reset in between starts another.
        backend: what the call acts on; same.
        number: the call's number in the ledger.
        settled: whether its end is written down.
    """

    # asyncio shows the arguments of a callback that fails: the key must not be among them.
    target: str = field(repr=False)
    path: str
    content_type: str
    caller: Caller
    request_id: str
    refusal: Reply | None
    ledger: Ledger
    backend: Backend
    number: int
    settled: bool = False

    def settle(self, outcome: Outcome | None) -> None:
        """Write down how the call ended; None if its caller left first."""
        if not self.settled:
            self.settled = True
            self.ledger.settle(self.number, _status(outcome))

    def leave(self) -> None:
        """The call is no longer in flight; if nothing else ended it, its caller did."""
        self.settle(None)
        self.ledger.leave()


def _status(outcome: Outcome | None) -> int:
    if outcome is None:
        return ABANDONED
    if isinstance(outcome, Reply):
        return outcome.status
    return HUNG if outcome is NoReply.HANG else CUT


@dataclass(frozen=True, slots=True)
class Deed:
    """What is left to do for a call.

    Args:
        delay_s: seconds to wait first.
        call: the call.
        body: its body.
        rule: the fault that hit it, if any.
    """

    delay_s: float
    call: Call
    body: bytes
    rule: FaultRule | None = None

    def carry_out(self) -> Outcome:
        """Do it and answer. Called once, after the delay."""
        call = self.call
        if call.refusal is not None:
            return call.refusal
        if self.rule is not None:
            return strike(self.rule, call.request_id, call.target, self._answer)
        return self._answer()

    def _answer(self) -> Reply:
        call = self.call
        try:
            _check_content(call.content_type, self.body)
            data = ENDPOINTS[call.path](call.backend, call.caller, fields.json_object(self.body))
        except ApiError as error:
            return failure(call.request_id, error)
        return success(call.request_id, data)


def _check_content(content_type: str, body: bytes) -> None:
    if content_type.partition(";")[0].strip().lower() != "application/json" and (body or content_type):
        raise ApiError("InvalidContentType")
    if len(body) > MAX_BODY_BYTES:
        raise ApiError("EntityTooLarge")


class Gateway:
    """Judges calls against a sandbox's state."""

    def __init__(self, state: State) -> None:
        self._state = state

    def arrive(self, method: str, target: str, content_type: str = "") -> Call:
        """Judge the head of a call; call this as soon as it was read."""
        state = self._state
        now_us = state.now_us()
        path, _, query = target.partition("?")
        app_key = parse_qs(query).get("app_key", [""])[0]
        account = state.account_of(app_key)
        request_id = state.request_id()
        error = _turned_away(method, path, known=account is not None and app_key not in state.revoked)
        verdict, refusal = Verdict.TURNED_AWAY, None if error is None else failure(request_id, error)
        if refusal is None and account is not None:
            verdict, refusal = self._judge(account, now_us, request_id)
        caller = _UNKNOWN if account is None else account.caller
        number = state.ledger.arrive(now_us, caller.name, path, verdict)
        return Call(target, path, content_type, caller, request_id, refusal, state.ledger, state.backend, number)

    def _judge(self, account: Account, now_us: int, request_id: str) -> tuple[Verdict, Reply | None]:
        """Ask the pause, then the limits. In a pause a call spends what a refused one does."""
        paused_us = account.pause_until_us - now_us
        if paused_us > 0:
            if self._state.limits.count_refused:
                account.enforcer.admit(now_us)
            headers = retry_after(paused_us / SECOND_US)
            return Verdict.PAUSED, failure(request_id, ApiError("RequestTooFrequently"), headers)
        wait_us = account.enforcer.admit(now_us)
        if wait_us == 0:
            return Verdict.ACCEPTED, None
        form = self._state.limits.retry_after
        headers = () if form == "none" else retry_after(wait_us / SECOND_US, http_date=form == "http-date")
        return Verdict.REFUSED, failure(request_id, ApiError("RequestTooFrequently"), headers)

    def decide(self, call: Call, body: bytes) -> Deed:
        """Decide what becomes of a call whose body is complete."""
        if call.refusal is not None:
            return Deed(0.0, call, body)
        rule = self._state.faults.pick(call.caller.name, call.path, _incident_id(body))
        if rule is None:
            return Deed(self._state.latency_s(), call, body)
        if rule.kind is Kind.LIMIT_PAUSE:
            self._state.pause(rule.retry_after_s or 0.0, call.caller.name)
        refuses = rule.kind in {Kind.LIMIT_PAUSE, Kind.TOO_FREQUENT} and not rule.after
        return Deed((0.0 if refuses else self._state.latency_s()) + rule.delay_s, call, body, rule)


def _turned_away(method: str, path: str, *, known: bool) -> ApiError | None:
    if path not in ENDPOINTS:
        return ApiError("RouteNotFound")
    if method != "POST":
        return ApiError("MethodNotAllowed")
    return None if known else ApiError("Unauthorized")


def _incident_id(body: bytes) -> str:
    """The incident a body names, for fault rules; empty if it names none or is not JSON."""
    try:
        parsed: JsonObject = fields.json_object(body)
    except ApiError:
        return ""
    return str(parsed.get("incident_id", ""))
