"""The two errors of the sandbox: one for whoever sets it up, one for whoever calls the API."""

from __future__ import annotations

from typing import Final


class ConfigError(ValueError):
    """An option, a fault rule or a control call is wrong; the message is one sentence for a person."""


CODES: Final[dict[str, tuple[int, str]]] = {
    "OK": (200, ""),
    "InvalidParameter": (400, "The specified parameter is not valid."),
    "BadRequest": (400, "Bad request."),
    "InvalidContentType": (400, "The content type must be application/json."),
    "ResourceNotFound": (400, "The resource you request is not found."),
    "NoLicense": (400, "No available license."),
    "ReferenceExist": (400, "The resource is still referenced."),
    "Unauthorized": (401, "The app_key is missing, invalid or expired."),
    "BalanceNotEnough": (402, "The balance is not enough."),
    "AccessDenied": (403, "Access denied."),
    "RouteNotFound": (404, "The route is not found."),
    "MethodNotAllowed": (405, "The method is not allowed."),
    "UndonedOrderExist": (409, "An order is still open."),
    "EntityTooLarge": (413, "The request body is too large."),
    "RequestLocked": (423, "The request is locked after repeated failures."),
    "RequestVerifyRequired": (428, "The request must be verified."),
    "DangerousOperation": (428, "The operation is dangerous and must be verified."),
    "RequestTooFrequently": (429, "Request too frequently."),
    "InternalError": (500, "Internal error. Please try again later."),
    "ServiceUnavailable": (503, "The service is experiencing high load, please try again later."),
}
"""The documented `error.code` values with their HTTP status and a message (OpenAPI, `ErrorCode`)."""


class ApiError(Exception):
    """A call the API answers with an error envelope.

    Args:
        code: a key of `CODES`.
        message: what the envelope says; the code's own message if empty.
        status: the HTTP status; the code's own if None.
    """

    def __init__(self, code: str, message: str = "", status: int | None = None) -> None:
        documented_status, documented_message = CODES[code]
        super().__init__(message or documented_message)
        self.code = code
        self.message = message or documented_message
        self.status = documented_status if status is None else status


def invalid(name: str) -> ApiError:
    """The API's answer to a parameter it does not accept."""
    return ApiError("InvalidParameter", f"The specified parameter {name} is not valid.")
