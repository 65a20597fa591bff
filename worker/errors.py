"""Every error this program raises on purpose, as one tree; each leaf says what to do next.

    WarroomsError
    ├── InvalidJob           the input is no job                      correct it; nothing was enqueued
    ├── SettingsError        a setting is missing or wrong            correct the environment, start again
    ├── QueueUnavailable     Redis does not answer or refuses         HOLD: no call without the shared bucket
    ├── NoMoreSlots          this worker is stopping                  hand the job back to its line
    └── FlashdutyError       the API, or the way to it
        ├── RateLimited      429                                      WAIT: pause the account, no attempt spent
        ├── NotSent          refused, no route, no TLS                RETRY: the API never saw the call
        ├── OutcomeUnknown   timeout, cut, 5xx, not the API's JSON    LOOK_FIRST: a room may have been opened
        ├── RequestRefused   the API read the call and says no        GIVE_UP: the same call fails again
        ├── AccessDenied     403: this job, or the whole account?     RETRY_FEW: a run of them suspends the account
        ├── AccountRefused   key, licence, balance, wrong address     SUSPEND: no job of the account can pass
        └── RoomGone         success without a room                   GIVE_UP: the group was deleted in the IM

Foreign errors (httpx, redis, pydantic) are translated at one seam each: flashduty.py, the two Redis adapters, jobs.py.
"""

from __future__ import annotations

import copyreg
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Final


class WarroomsError(Exception):
    """The base of everything raised on purpose."""


class InvalidJob(WarroomsError):
    """The input is no job; the message names each field that is wrong.

    `problems` has the same sentences, each with its field (`member_ids[2]`); empty if no field is to blame.
    """

    def __init__(self, message: str, problems: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class SettingsError(WarroomsError):
    """A setting is missing or wrong; the message names it and says what to do."""


class QueueUnavailable(WarroomsError):
    """Redis does not answer or refuses; the message says where and why, never the password.

    `passing` tells whether waiting may help: no for a wrong password or a missing permission.
    """

    def __init__(self, message: str, *, passing: bool = True) -> None:
        super().__init__(message)
        self.passing = passing


class NoMoreSlots(WarroomsError):
    """This worker is stopping and waits for no more slots; its job goes back to the line."""


class NextStep(StrEnum):
    """What an error asks of the job's worker."""

    WAIT = "wait"
    RETRY = "retry"
    LOOK_FIRST = "look first"
    GIVE_UP = "give up"
    RETRY_FEW = "retry a few times"
    SUSPEND = "suspend"


class FlashdutyError(WarroomsError):
    """An API call that did not succeed. Holds no URL and no key.

    Args:
        message: one sentence for a person.
        code: the API's `error.code`, or ours for what the API never says (`Timeout`, `NotJson`, …).
        status: the HTTP status, None if there was no answer.
        request_id: the API's request id; empty if there was no answer.
        retry_after_s: what the server asked to wait, in seconds; None if it did not.
        hint: what a person can do about it; empty if nothing is known.
    """

    next_step: ClassVar[NextStep]
    latency_s: float | None = None
    """How long the call took, in seconds; None if nothing was sent. Set by who made it."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int | None = None,
        request_id: str = "",
        retry_after_s: float | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        """Celery pickles and copies errors; the default would call `__init__` without `code`."""
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]

    def __str__(self) -> str:
        status = f" (HTTP {self.status})" if self.status is not None else ""
        return f"{self.code}{status}: {self.message}"


class RateLimited(FlashdutyError):
    """429: a fact about the account, not about the job."""

    next_step = NextStep.WAIT


class NotSent(FlashdutyError):
    """The connection never stood: the API has not seen the call."""

    next_step = NextStep.RETRY


class OutcomeUnknown(FlashdutyError):
    """The API may or may not have done it; creation is not documented as idempotent."""

    next_step = NextStep.LOOK_FIRST


class RequestRefused(FlashdutyError):
    """The API understood the call and refuses it."""

    next_step = NextStep.GIVE_UP


class AccessDenied(FlashdutyError):
    """403: not allowed. One alone is about the job, a run of them is about the app key."""

    next_step = NextStep.RETRY_FEW


class AccountRefused(FlashdutyError):
    """The API refuses the account, whatever the call."""

    next_step = NextStep.SUSPEND


class RoomGone(FlashdutyError):
    """The API reports success with an empty room: the group was deleted on the IM's side."""

    next_step = NextStep.GIVE_UP


@dataclass(frozen=True, slots=True)
class ApiCode:
    """One row of the API's error table.

    Args:
        status: the HTTP status the API documents for the code; informational, the code decides.
        error: the leaf to raise; None means the code is no error.
        hint: what a person can do.
    """

    status: int
    error: type[FlashdutyError] | None
    hint: str = ""


_KEY = "check the app key of this account and that it may call Incidents Manage and Incidents Read"

API_CODES: Final[dict[str, ApiCode]] = {
    "OK": ApiCode(200, None),
    "InvalidParameter": ApiCode(
        400,
        RequestRefused,
        "check that the incident is active and has responders, and that integration_id is an IM "
        "integration with war rooms enabled",
    ),
    "BadRequest": ApiCode(400, RequestRefused, "check the incident, the integration and the members"),
    "InvalidContentType": ApiCode(400, RequestRefused, "a proxy on the way changes the content type"),
    "ResourceNotFound": ApiCode(400, RequestRefused, "the incident or the integration does not exist here"),
    "NoLicense": ApiCode(400, AccountRefused, "war rooms need an On-call Pro licence"),
    "ReferenceExist": ApiCode(400, RequestRefused),
    "Unauthorized": ApiCode(401, AccountRefused, _KEY),
    "BalanceNotEnough": ApiCode(402, AccountRefused, "the account's balance is used up"),
    "AccessDenied": ApiCode(403, AccessDenied, _KEY),
    "RouteNotFound": ApiCode(404, AccountRefused, "check FLASHDUTY_BASE_URL"),
    "MethodNotAllowed": ApiCode(405, AccountRefused, "check FLASHDUTY_BASE_URL"),
    "UndonedOrderExist": ApiCode(409, RequestRefused, "an order of this account is still open"),
    "EntityTooLarge": ApiCode(413, RequestRefused, "fewer member_ids"),
    "RequestLocked": ApiCode(423, AccountRefused, "locked after repeated failures; wait, or ask Flashduty"),
    "RequestVerifyRequired": ApiCode(428, RequestRefused, "the account asks for a second factor"),
    "DangerousOperation": ApiCode(428, RequestRefused, "the account asks for a second factor"),
    "RequestTooFrequently": ApiCode(429, RateLimited),
    "InternalError": ApiCode(500, OutcomeUnknown),
    "ServiceUnavailable": ApiCode(503, OutcomeUnknown),
}
"""The 20 codes of the API (its OpenAPI, `ErrorCode`). `error.code` is the authoritative signal, the status is not."""

OWN_CODES: Final = frozenset(
    {
        "BodyTooLarge",
        "ClientFailed",
        "ConnectionCut",
        "Defect",
        "NoAppKey",
        "NoCode",
        "NotConnected",
        "NotJson",
        "Redirected",
        "RedisRestarted",
        "RoomGone",
        "Timeout",
        "TooManyRequests",
        "WorkerLost",
    }
)
"""The codes of this program, for what the API never says."""

SUCCESS_CODES: Final = frozenset({"", "0", "ok"})
"""`error.code` values that are no failure, lower case: some successes carry `{"code": "OK"}`."""


def error_for(code: str, status: int) -> type[FlashdutyError]:
    """The leaf for a failed answer: by the API's code, else by the HTTP status.

    Total: every code and every status has an answer. A 2xx with an error code that nobody documented may
    have opened a room, so it is unknown; so is 408, which a gateway sends.
    """
    known = API_CODES.get(code)
    if known is not None and known.error is not None:
        return known.error
    if status == 429:  # noqa: PLR2004
        return RateLimited
    if status in {401, 402, 405}:
        return AccountRefused
    if status == 403:  # noqa: PLR2004
        return AccessDenied
    if 300 <= status < 500 and status != 408:  # noqa: PLR2004
        return RequestRefused
    return OutcomeUnknown


def hint_for(code: str) -> str:
    """What a person can do about the API's code; empty if nothing is known."""
    known = API_CODES.get(code)
    return known.hint if known else ""
