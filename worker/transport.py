"""kombu's Redis transport with two mends, for worker processes: without them a worker ends when Redis fails over.

Celery ends a worker on any error that the transport does not call a connection error, which is right for defects. But
Redis also answers what passes: READONLY and UNBLOCKED (failover), LOADING, OOM, MISCONF. And when a connection with
messages in hand is lost, Celery takes it apart before they are acknowledged. tests/acceptance has both.
"""

from __future__ import annotations

from typing import Any

import redis
from kombu import transport
from kombu.transport import redis as kombu_redis


class Channel(kombu_redis.Channel):  # type: ignore[misc]
    """A channel that says so when its connection was taken apart, instead of stumbling over what is missing.

    Messages that it cannot acknowledge or return any more come back by the visibility timeout; claims are fenced.
    """

    def _connparams(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        if self.connection is None or self.connection.client is None:
            raise redis.ConnectionError("this channel's connection is gone")
        return super()._connparams(*args, **kwargs)


class Transport(kombu_redis.Transport):  # type: ignore[misc]
    """The transport that connects anew, until it works, when Redis refuses."""

    Channel = Channel
    connection_errors = (*kombu_redis.Transport.connection_errors, redis.ResponseError)


def use() -> None:
    """Makes it this process's transport for `redis://` and `rediss://`."""
    for scheme in ("redis", "rediss"):
        transport.TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
