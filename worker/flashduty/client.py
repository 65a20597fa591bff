"""Flashduty: one method per endpoint of the API that we call. All are POST with a JSON body."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, TypeVar

from worker.errors import FlashdutyError, RoomGone, WarroomsError
from worker.flashduty import answers
from worker.flashduty.answers import Reply, WrongShape
from worker.flashduty.app_key import MASK, AppKey
from worker.flashduty.envelope import unfold, wrong_shape
from worker.flashduty.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

    from worker.flashduty.answers import IncidentPage, IncidentQuery, Integration, ListedRoom
    from worker.flashduty.envelope import Answer
    from worker.jobs import WarRoom, WarRoomJob

T = TypeVar("T")


class Flashduty:
    """One account's way to the API. May be shared by threads; each has its own connection.

    Every method raises a leaf of `FlashdutyError`, or SettingsError if the key cannot be one. None of them
    holds, shows or leads to the key. Every call spends from the account's rate limits.

    Args:
        base_url: `http(s)://host[:port][/prefix]`.
        app_key: gives the account's key; called once per call.
        transport: makes the transport of one thread, below which is the network; tests pass a function's.
        connect_timeout_s: for TCP, and for TLS.
        read_timeout_s: the longest silence of the server. The whole call takes at most 1.25 times both.
        max_body_bytes: a longer answer is not the API's.

    Raises:
        SettingsError: the base URL is not one.
    """

    def __init__(
        self,
        *,
        base_url: str,
        app_key: Callable[[], str],
        transport: Callable[[], httpx.BaseTransport] | None = None,
        connect_timeout_s: float = 5.0,
        read_timeout_s: float = 30.0,
        max_body_bytes: int = 10 * 1024 * 1024,
    ) -> None:
        self._app_key = app_key
        self._wire = Wire(base_url, transport, connect_timeout_s, read_timeout_s, max_body_bytes)

    def __repr__(self) -> str:
        return f"<Flashduty {MASK}>"

    def close(self) -> None:
        """Close the connections of all threads."""
        self._wire.close()

    def create(self, job: WarRoomJob, *, fence_at: float = math.inf) -> Reply[WarRoom]:
        """Open the incident's room. Not documented as idempotent: never repeat an unknown outcome blindly.

        Args:
            job: for which incident, where, with whom.
            fence_at: the moment, on worker.clock, after which the request must not leave any more.

        Raises:
            NoMoreSlots: this process was held up, and the request has not left in time.
            RoomGone: the API reports success without a room.
        """
        body: dict[str, object] = {"incident_id": job.incident_id, "integration_id": job.integration_id}
        if job.member_ids:
            body["member_ids"] = job.member_ids
        if job.add_observers:
            body["add_observers"] = True
        reply = self._call("/incident/war-room/create", body, answers.room, fence_at)
        if reply.value is None:
            gone = RoomGone(
                "the API reports success, but no room",
                code="RoomGone",
                request_id=reply.request_id,
                hint="was the group deleted in the IM? Close the room in Flashduty, then open it again",
            )
            gone.latency_s = reply.latency_s
            raise gone
        return Reply(reply.value, reply.request_id, reply.latency_s)

    def list_rooms(self, incident_id: str, integration_id: int) -> Reply[tuple[ListedRoom, ...]]:
        """The rooms of this incident in this integration, oldest first. A listed group may be gone."""
        body = {"incident_id": incident_id, "integration_id": integration_id}
        return self._call(
            "/incident/war-room/list", body, lambda data: answers.rooms(data, incident_id, integration_id)
        )

    def detail(self, integration_id: int, chat_id: str) -> Reply[WarRoom | None]:
        """The room as the IM knows it; None if the group is gone."""
        body = {"integration_id": integration_id, "chat_id": chat_id}
        return self._call("/incident/war-room/detail", body, answers.room)

    def integrations(self) -> Reply[tuple[Integration, ...]]:
        """The IM integrations with war rooms enabled. Any valid key may ask, so it also tests the key."""
        return self._call("/datasource/im/war-room-enabled/list", {}, answers.integrations)

    def incidents(self, query: IncidentQuery) -> Reply[IncidentPage]:
        """One page of incidents; `query.after(page)` asks for the next."""
        return self._call("/incident/list", query.body(), answers.incident_page)

    def _call(
        self, path: str, body: Mapping[str, object], read: Callable[[object], T], fence_at: float = math.inf
    ) -> Reply[T]:
        """Errors are raised here and not below: this frame has seen neither the key nor a raw answer."""
        outcome = self._attempt(path, body, read, fence_at)
        if isinstance(outcome, Reply):
            return outcome
        raise outcome

    def _attempt(
        self, path: str, body: Mapping[str, object], read: Callable[[object], T], fence_at: float
    ) -> Reply[T] | WarroomsError:
        key = AppKey(self._app_key())
        fault = key.fault()
        if fault is not None:
            return fault
        began = time.perf_counter()
        answer = self._wire.post(path, body, key, fence_at)
        latency_s = time.perf_counter() - began
        outcome = self._read(answer, key, read, latency_s)
        if isinstance(outcome, FlashdutyError):
            outcome.latency_s = latency_s
        return outcome

    def _read(
        self, answer: Answer | WarroomsError, key: AppKey, read: Callable[[object], T], latency_s: float
    ) -> Reply[T] | WarroomsError:
        if isinstance(answer, WarroomsError):
            return answer
        envelope = unfold(answer, key)
        if isinstance(envelope, WarroomsError):
            return envelope
        try:
            return Reply(read(envelope.data), envelope.request_id, latency_s)
        except WrongShape:
            return wrong_shape(envelope.request_id, answer.status)
