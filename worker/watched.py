"""The API with somebody who watches: each call is told when it goes out and how it ended. Nothing else changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from worker.errors import FlashdutyError, NoMoreSlots, RateLimited, SettingsError
from worker.telemetry import HELD_UP, OK

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.flashduty import ListedRoom, Reply
    from worker.jobs import WarRoom, WarRoomJob
    from worker.open_war_room import Api
    from worker.telemetry import Telemetry

T = TypeVar("T")


class WatchedApi:
    """The three calls that a worker makes.

    Args:
        api: who makes them.
        account: whose they are.
        telemetry: who is told.
    """

    def __init__(self, api: Api, account: str, telemetry: Telemetry) -> None:
        self._api = api
        self._account = account
        self._telemetry = telemetry

    def create(self, job: WarRoomJob, *, fence_at: float) -> Reply[WarRoom]:
        """As the API's."""
        return self._watch("create", lambda: self._api.create(job, fence_at=fence_at))

    def list_rooms(self, incident_id: str, integration_id: int) -> Reply[tuple[ListedRoom, ...]]:
        """As the API's."""
        return self._watch("list", lambda: self._api.list_rooms(incident_id, integration_id))

    def detail(self, integration_id: int, chat_id: str) -> Reply[WarRoom | None]:
        """As the API's."""
        return self._watch("detail", lambda: self._api.detail(integration_id, chat_id))

    def _watch(self, call: str, ask: Callable[[], Reply[T]]) -> Reply[T]:
        code, latency_s, request_id = "Defect", None, ""
        self._telemetry.calling(self._account)
        try:
            reply = ask()
            code, latency_s, request_id = OK, reply.latency_s, reply.request_id
        except FlashdutyError as error:
            code, latency_s, request_id = error.code, error.latency_s, error.request_id
            if isinstance(error, RateLimited):
                self._telemetry.throttled(self._account)
            raise
        except NoMoreSlots:
            code = HELD_UP
            raise
        except SettingsError:
            code = "NoAppKey"
            raise
        else:
            return reply
        finally:
            self._telemetry.called(self._account, call, code, latency_s, request_id)
