"""kombu's Redis transports with five mends, for worker processes: without two a worker ends when Redis fails over.

Celery ends a worker on any error that the transport does not call a connection error, which is right for defects. But
Redis also answers what passes: READONLY and UNBLOCKED (failover), LOADING, OOM, MISCONF. And when a connection with
messages in hand is lost, Celery takes it apart before they are acknowledged. tests/acceptance has both. And its pauses
between two tries to connect grow to half a minute, with no setting for it: so long would a worker idle. And it keeps
books of each message in hand, so that it comes back when its worker dies; the ledger does that for all jobs it knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import kombu
import redis
from celery.app import amqp
from kombu import transport
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from kombu.utils.url import as_url

from worker.messages import RECORDED
from worker.sentinel_address import SentinelAddress, is_sentinel
from worker.sentinels import PrimaryPool, Sentinels, tls

if TYPE_CHECKING:
    from celery import Celery

PRIORITIES_EVERY: Final = 10
"""Every so often the lists of messages with a priority are looked into, too: once a second if nothing comes."""

AT_ONCE_S: Final = 0.002

PAUSES: Final = {"interval_start": 0.5, "interval_step": 0.5, "interval_max": 2.0}
"""Seconds between two tries to connect."""


class Stops(virtual.QoS):  # type: ignore[misc]
    """Remembers that the loop asks for no more messages, since there are as many in hand as there may be."""

    stopped = False

    def can_consume(self) -> bool:
        """Whether there may be another one in hand."""
        can = bool(super().can_consume())
        if not can:
            self.stopped = True
        return can

    def goes_on(self) -> bool:
        """Whether it has stopped; true only once."""
        stopped, self.stopped = self.stopped, False
        return stopped


class Books(Stops, kombu_redis.QoS):  # type: ignore[misc]
    """Books of the messages in hand: in Redis only those of other clients, whose jobs may have no record yet.

    A message of the ledger's own that is lost with its worker is missed: there are fewer messages than jobs that wait
    (ledger_lua/rescue.lua). To keep books of it would cost eight commands, two round trips and a fifth of a job's CPU.
    """

    def append(self, message: Any, delivery_tag: str) -> None:  # noqa: ANN401
        """A message came."""
        if is_recorded(message):
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """It is done with."""
        if self._is_recorded(delivery_tag):
            virtual.QoS.ack(self, delivery_tag)
        else:
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - kombu's own
        """It is refused, or goes back to the head of its queue."""
        if not self._is_recorded(delivery_tag):
            super().reject(delivery_tag, requeue)
            return
        if requeue:
            self.restore_by_tag(delivery_tag)
        virtual.QoS.ack(self, delivery_tag)

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:  # noqa: ANN401, FBT001, FBT002
        """It goes back to its queue."""
        if not self._is_recorded(tag):
            super().restore_by_tag(tag, client, leftmost)
            return
        message = self._delivered[tag]
        delivery = message.delivery_info
        with self.channel.conn_or_acquire(client) as redis_client:
            self.channel._do_restore_message(  # noqa: SLF001 - tests/contracts watches it
                message._raw,  # noqa: SLF001 - the same
                delivery["exchange"],
                delivery["routing_key"],
                redis_client,
            )

    def _is_recorded(self, tag: str) -> bool:
        message = self._delivered.get(tag)
        return message is not None and is_recorded(message)


def is_recorded(message: Any) -> bool:  # noqa: ANN401
    """Whether a message is the ledger's own, with a record of its job.

    Ours have no ETA: what waits for long in a worker must come back whoever wrote the header.
    """
    return RECORDED in message.headers and not message.headers.get("eta")


class _Mended:
    """A channel that says so when its connection was taken apart, instead of stumbling over what is missing.

    Messages that it cannot acknowledge or return any more come back by the visibility timeout, or are missed by the
    ledger; claims are fenced.
    """

    QoS = Books
    pool: Any
    connection: Any
    priority_steps: Any
    active_queues: Any
    _queue_cycle: Any
    _in_poll: Any
    _sync: tuple[Any, Any] | None = None
    _polls = 0

    def _brpop_start(self, timeout: Any = None) -> None:  # noqa: ANN401 - kombu's own
        """Asks for the next message.

        Of each queue kombu looks into four lists, by priority. Only other clients use the three behind the first, so
        they are looked into less often. And a BRPOP of only some of the queues does not wait.
        """
        looks_at_some = getattr(self._queue_cycle, "looks_at_some", None)
        if looks_at_some is not None and looks_at_some(len(self.active_queues)):
            timeout = AT_ONCE_S
        every_step = self.priority_steps
        if (self._polls + 1) % PRIORITIES_EVERY:
            self.priority_steps = every_step[:1]
        try:
            super()._brpop_start(timeout)  # type: ignore[misc]
        finally:
            self.priority_steps = every_step
        self._polls += self._in_poll is not None

    def _brpop_read(self, **options: Any) -> Any:  # noqa: ANN401
        """Takes the answer in; the loop decides after this how long it sleeps, and only then asks what to fetch."""
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]
        finally:
            answered = getattr(self._queue_cycle, "answered", None)
            if answered is not None:
                answered()

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002 - kombu's own
        """One client for a pool; kombu makes one for each message's bookkeeping, an eighth of a job's CPU."""
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[misc]
        if self._sync is None or self._sync[0] is not self.pool:
            self._sync = self.pool, super()._create_client()  # type: ignore[misc]
        return self._sync[1]

    def _connparams(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        if self.connection is None or self.connection.client is None:
            raise redis.ConnectionError("this channel's connection is gone")
        return super()._connparams(*args, **kwargs)  # type: ignore[misc]


class Channel(_Mended, kombu_redis.Channel):  # type: ignore[misc]
    """A channel to one Redis."""


class SentinelChannel(_Mended, kombu_redis.SentinelChannel):  # type: ignore[misc]
    """A channel to whoever is the primary.

    Its pools are ours: they follow the primary more closely, and know every Sentinel and the password. kombu's own
    would take password and database from the first address only, and lose them when it goes on to the next.
    """

    from_transport_options = (*kombu_redis.SentinelChannel.from_transport_options, "sentinel_address")
    sentinel_address: SentinelAddress

    def _sentinel_managed_pool(self, asynchronous: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002 - kombu's own
        options = self._connparams(asynchronous)
        for first_sentinel in ("host", "port"):
            del options[first_sentinel]
        sentinels = Sentinels(self.sentinel_address, **options)
        # kombu closes them with the pools.
        if asynchronous:
            self._async_sentinel_manager = sentinels
        else:
            self._sentinel_manager = sentinels
        return PrimaryPool(self.sentinel_address.primary, sentinels, **options, is_master=True)


class Transport(kombu_redis.Transport):  # type: ignore[misc]
    """The transport that connects anew, until it works, when Redis refuses."""

    Channel = Channel
    connection_errors = (*kombu_redis.Transport.connection_errors, redis.ResponseError)


class SentinelTransport(Transport):
    """The same, to whoever is the primary."""

    default_port = kombu_redis.SentinelTransport.default_port
    Channel = SentinelChannel


class Connection(kombu.Connection):  # type: ignore[misc]
    """A connection that is soon back when Redis is."""

    def ensure_connection(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """Connect; on failure pause and try again."""
        return super().ensure_connection(*args, **{**PAUSES, **kwargs})


class AMQP(amqp.AMQP):  # type: ignore[misc]
    """Celery's messages, over connections of ours."""

    Connection = Connection


def use(app: Celery) -> None:
    """Makes them this process's transports for the addresses of Redis, and its connections those of the app."""
    app.amqp_cls = AMQP
    for scheme in ("redis", "rediss"):
        transport.TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
    transport.TRANSPORT_ALIASES["sentinel"] = f"{__name__}:SentinelTransport"


def reach(app: Celery, url: str) -> None:
    """Tells the app where its broker is, if Sentinels know it; `redis://` and `rediss://` are what it knows already.

    Raises:
        SettingsError: what is wrong with the address.
    """
    if not is_sentinel(url):
        return
    address = SentinelAddress.of(url)
    host, port = address.hosts[0]
    # One of them only: for each further one kombu would forget the password. The channel knows them all.
    app.conf.broker_url = as_url(
        "sentinel", host, port, address.username or None, address.password or None, str(address.database)
    )
    app.conf.broker_transport_options = {
        **app.conf.broker_transport_options,
        "master_name": address.primary,
        "sentinel_address": address,
    }
    if address.tls is not None:
        app.conf.broker_use_ssl = {"ssl_cert_reqs": "required", **tls(address)}
