"""What stands in a queue and is no message of ours is refused before it costs a thread, and never ends a worker.

Four places, from the outside in: what kombu cannot read; what Celery cannot read; a task that we do not have; and a
message of our task whose parts are not what docs/celery-clients.md says (`Checked`). What it carries besides, such as
callbacks, is left out: a message may open a room, not send other messages. A message whose arguments are no job gets
as far as the task, so that Flower shows it. What Flower shows of any message is written here, not by its sender.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import redis
from celery.exceptions import InvalidTaskError
from celery.worker.request import Request

from worker.arguments import shown
from worker.due import times_of
from worker.gate import GATE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Refuse = Callable[[str, str, str], None]
    """Told the queue, the reason and the task id, each empty if it is not known."""

log = logging.getLogger(__name__)

HEADERS: Final = frozenset({"lang", "task", "id", "root_id", "parent_id", "eta", "expires", "origin"})
"""What a message's headers may say; all of them are texts. Time limits, retries and groups are not our trade."""

TIMES: Final = frozenset({"eta", "expires"})

BEGINNINGS: Final = frozenset({"task-received", "task-started"})

LONGEST_ID: Final = 200


class Checked(Request):  # type: ignore[misc]
    """A message of our task with the parts that it should have, and nothing that makes a worker do more."""

    def __init__(
        self,
        message: Any,  # noqa: ANN401
        *,
        body: Any = None,  # noqa: ANN401
        headers: Mapping[str, Any] | None = None,
        decoded: bool = False,
        **options: Any,  # noqa: ANN401
    ) -> None:
        said = {name: value for name, value in (headers or message.headers).items() if name in HEADERS}
        texts = {name: value for name, value in said.items() if isinstance(value, str)}
        task_id = texts.get("id", "")
        if not 0 < len(task_id) <= LONGEST_ID:
            raise InvalidTaskError(f"the header 'id' must be a text of 1 to {LONGEST_ID} characters")
        delivery = message.delivery_info or {}
        if not isinstance(delivery.get("routing_key"), str):
            raise InvalidTaskError("the property 'delivery_info' must have a 'routing_key', the queue's name, a text")
        delivery["routing_key"] = GATE.last or delivery["routing_key"]  # where it stood, whatever its sender says
        texts = {name: value for name, value in texts.items() if name not in TIMES} | _times(said)
        kwargs = _keyword_arguments(body if decoded else message.payload)
        people_read = {"argsrepr": "()", "kwargsrepr": shown(kwargs)}
        super().__init__(message, body=([], kwargs, {}), headers=texts | people_read, decoded=True, **options)
        if "eta" in texts:
            GATE.dropped()  # it waits in this worker, and asks when it is due

    def send_event(self, type: str, **fields: Any) -> None:  # noqa: A002, ANN401 - Celery's own
        """Tells Flower; a defect's traceback is in this worker's log, and nobody else's is worth reading.

        That it came and began is told by the task (tasks.py): only then it is known which job it is about.
        """
        events = self._eventer
        if type not in BEGINNINGS and events is not None and events.enabled:
            fields.pop("traceback", None)
            events.send(type, uuid=self.id, **fields)


def _times(headers: Mapping[str, Any]) -> dict[str, str]:
    try:
        return times_of(headers, datetime.now(UTC))
    except ValueError as error:
        problem = str(error)
    raise InvalidTaskError(problem)


def _keyword_arguments(payload: object) -> dict[str, Any]:
    if not isinstance(payload, list | tuple) or len(payload) != 3:  # noqa: PLR2004
        raise InvalidTaskError("the body must be a list of three: [[], keyword arguments, {}]")
    args, kwargs, _ = payload
    if not isinstance(args, list | tuple) or args:
        raise InvalidTaskError("no positional arguments are understood: the first of the body's three must be []")
    if not isinstance(kwargs, dict):
        raise InvalidTaskError("the keyword arguments, the second of the body's three, must be an object")
    if "self" in kwargs:
        raise InvalidTaskError("self: is not a field of a job")
    return kwargs


def install(consumer: Any, refuse: Refuse) -> None:  # noqa: ANN401
    """Makes a consumer refuse what it cannot serve; each connection brings a new channel, and this is done again."""
    channel = consumer.task_consumer.channel
    handlers = getattr(channel, "handlers", {})
    if "BRPOP" in handlers:
        handlers["BRPOP"] = _without_junk(channel, handlers["BRPOP"], refuse)
    consumer.on_unknown_message = lambda _body, message: _reject(
        consumer, message, refuse, "its headers name no task of Celery's protocol 2"
    )
    consumer.on_invalid_task = lambda _payload, message, error: _reject(consumer, message, refuse, str(error))
    consumer.on_decode_error = lambda message, error: _reject(
        consumer, message, refuse, f"the body cannot be decoded ({type(error).__name__})"
    )
    consumer.task_consumer.on_decode_error = consumer.on_decode_error
    consumer.on_unknown_task = _unknown(consumer, type(consumer).on_unknown_task, refuse)


def _unknown(consumer: Any, celerys_own: Any, refuse: Refuse) -> Any:  # noqa: ANN401
    def unknown(body: Any, message: Any, error: Any) -> None:  # noqa: ANN401
        GATE.dropped()
        celerys_own(consumer, body, message, error)
        refuse(_queue(message), f"there is no task {error!s:.80} here; send warrooms.open", _id(message))

    return unknown


def _reject(consumer: Any, message: Any, refuse: Refuse, reason: str) -> None:  # noqa: ANN401
    """Its body stays out of the log: whoever sent it may have put anything into it."""
    GATE.dropped()
    message.reject_log_error(log, consumer.connection_errors)
    refuse(_queue(message), reason, _id(message))


def _queue(message: Any) -> str:  # noqa: ANN401
    delivery = message.delivery_info
    return str(delivery.get("routing_key", "")) if isinstance(delivery, dict) else ""


def _id(message: Any) -> str:  # noqa: ANN401
    headers = message.headers
    task_id = headers.get("id") if isinstance(headers, dict) else None
    return task_id if isinstance(task_id, str) else ""


def _newest(channel: Any) -> Any:  # noqa: ANN401
    return next(reversed(channel.qos._delivered), None)  # noqa: SLF001 - tests/contracts watches it


def _without_junk(channel: Any, read: Any, refuse: Refuse) -> Any:  # noqa: ANN401
    def guarded() -> None:
        last = _newest(channel)
        try:
            read()
        except (
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
            ArithmeticError,
            RecursionError,
            redis.DataError,
        ) as error:
            queue = GATE.dropped()
            if _newest(channel) != last:  # it got as far as a delivery: it would come back, and hold a thread's place
                channel.basic_reject(_newest(channel), requeue=False)
            refuse(queue, f"it is no message ({type(error).__name__})", "")

    return guarded
