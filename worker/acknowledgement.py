"""Acknowledges the ledger's own messages where their tasks end, not in the consumer's loop.

Celery has the loop do it, which talks to Redis. For these messages there is nothing to say to Redis (transport.Books):
only a note that it has ended, which kombu lets any thread make. To wake the loop for it cost a twentieth of a job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import bootsteps

from worker.gate import GATE
from worker.transport import is_recorded

if TYPE_CHECKING:
    from collections.abc import Callable

    Later = Callable[..., Any]


class AtOnce(bootsteps.StartStopStep):  # type: ignore[misc]
    """Takes over how a consumer acknowledges."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def start(self, parent: Any) -> None:  # noqa: ANN401
        """Begins, unless it has: with another connection it is the same consumer."""
        if "call_soon_ack" not in vars(parent):
            parent.call_soon_ack = at_once(parent.call_soon_ack)


def at_once(later: Later) -> Later:
    """`Consumer.call_soon_ack`, which goes to the loop with what must be said to Redis."""

    def call_soon_ack(call: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        message = call.__self__
        if call.__name__ != "ack_log_error" or not is_recorded(message):
            return later(call, *args, **options)
        call(*args, **options)
        if message.channel.qos.goes_on():
            GATE.wake()  # nothing else does
        return call

    return call_soon_ack
