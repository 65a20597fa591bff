"""Events of tasks, for Flower: handed on twice a second, not one by one, which would cost a tenth of a job's CPU.

Celery keeps them in a buffer and flushes it whenever its loop comes round, which is often. tests/contracts watches
that its dispatcher has what is used here.
"""

from __future__ import annotations

from typing import Any, Final

from celery import bootsteps

EVERY_S: Final = 0.5
"""How old an event may get."""

MOST: Final = 400
"""Events in the buffer that are not kept longer: a second of a very busy worker."""


class TaskEvents(bootsteps.StartStopStep):  # type: ignore[misc]
    """Takes over when the buffer is flushed; each connection brings a new dispatcher."""

    requires = ("celery.worker.consumer.events:Events",)

    def start(self, parent: Any) -> None:  # noqa: ANN401
        """Begins to flush now and then; the hub forgets its timers when the connection is lost."""
        hub, dispatcher = getattr(parent, "hub", None), getattr(parent, "event_dispatcher", None)
        if hub is not None and dispatcher is not None:
            dispatcher.on_send_buffered = None
            dispatcher.buffer_limit = MOST
            hub.call_repeatedly(EVERY_S, dispatcher.flush)

    def shutdown(self, parent: Any) -> None:  # noqa: ANN401
        """What is in the buffer goes out. Not when the connection is lost: Celery hands it to the next dispatcher."""
        dispatcher = getattr(parent, "event_dispatcher", None)
        if dispatcher is not None and dispatcher.enabled:
            dispatcher.flush()
