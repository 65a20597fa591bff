"""What we lean on in redis-py's and kombu's Sentinel clients. A red test here says what broke for us: read it first."""

from __future__ import annotations

import inspect
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import pytest
import redis
from celery import Celery
from flower.utils.broker import RedisSentinel
from kombu.transport import redis as kombu_redis
from redis.sentinel import SentinelConnectionPool, SentinelConnectionPoolProxy, SentinelManagedConnection

import celeryconfig
from sandbox.sentinels import NAME, Sentinels
from sandbox.stack import until
from worker import transport
from worker.flower import Behind
from worker.redis_store import RedisStore
from worker.sentinels import PrimaryPool

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD: Final = "p@ss/w:rd?50%"
OF_THE_SENTINELS: Final = "s3nt;nel&50%"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentinels]:
    folder = tmp_path_factory.mktemp("sentinels")
    with Sentinels(folder, replicas=1, password=PASSWORD, sentinel_password=OF_THE_SENTINELS) as watched:
        yield watched


@pytest.fixture
def app(watched: Sentinels) -> Celery:
    """A worker's, as far as its broker is concerned."""
    app = Celery("test", set_as_current=False)
    app.config_from_object(celeryconfig)
    transport.use(app)
    transport.reach(app, watched.url)
    return app


# --- redis-py -----------------------------------------------------------------------------------------------------


def test_a_sentinel_says_of_the_primary_what_we_and_the_doctor_read(watched: Sentinels) -> None:
    with watched.client(watched.ports[0], OF_THE_SENTINELS) as client:
        state: Any = client.sentinel_master(NAME)
        named: Any = client.sentinel_get_master_addr_by_name(NAME)
    assert (state["ip"], state["port"]) == named, "the two tell an address in different types: nobody would be followed"
    read = {"name", "quorum", "num-slaves", "num-other-sentinels", "down-after-milliseconds"}
    assert read <= set(state), "redis-py calls it otherwise: the doctor would stumble"
    assert {"is_master", "is_sdown", "is_odown"} <= set(state), "a primary that is down would be taken for well"


def test_a_connection_asks_the_pool_whenever_it_connects() -> None:
    broke = "a new connection would go to an old primary"
    assert "self.connection_pool.get_master_address()" in inspect.getsource(SentinelManagedConnection), broke
    assert PrimaryPool.get_master_address is SentinelConnectionPool.get_master_address, broke
    assert "discover_master" in inspect.getsource(SentinelConnectionPoolProxy), broke


def test_a_connection_to_another_than_the_primary_does_not_come_back_into_the_pool(watched: Sentinels) -> None:
    with closing(RedisStore(watched.url)) as store:
        pool: Any = store.client.connection_pool
        connection = pool.get_connection()
        pool.proxy.master_address = ("127.0.0.1", 1)  # as if they had named another one meanwhile
        pool.release(connection)
        assert connection._sock is None, "an old primary's connection would be used again"
        assert connection not in pool._available_connections


def test_a_demoted_primary_breaks_the_connection() -> None:
    broke = "READONLY would not make a client look for the new primary"
    assert "ReadOnlyError" in inspect.getsource(SentinelManagedConnection.read_response), broke
    assert issubclass(redis.ReadOnlyError, transport.SentinelTransport.connection_errors), broke


# --- kombu and Celery ---------------------------------------------------------------------------------------------


def test_the_app_reaches_the_primary_with_all_options_of_ours(app: Celery) -> None:
    with app.connection() as connection:
        channel = connection.default_channel
        assert type(channel) is transport.SentinelChannel
        for pool in (channel.pool, channel.async_pool):
            assert isinstance(pool, PrimaryPool), "kombu makes its pools elsewhere: they would not follow"
            options = pool.connection_kwargs
            assert (options["password"], options["db"]) == (PASSWORD, 0)
            assert options["socket_timeout"] == celeryconfig.broker_transport_options["socket_timeout"]
        assert channel.client.ping()
        with channel.conn_or_acquire() as first, channel.conn_or_acquire() as second:
            assert first is second, "the mends of worker/transport.py are not in the Sentinels' channel"
            assert first.ping()
    assert PASSWORD not in connection.as_uri()


def test_a_channel_whose_connection_is_gone_says_so(app: Celery) -> None:
    with app.connection() as connection:
        channel = connection.default_channel
    with pytest.raises(redis.ConnectionError):
        channel._get_pool()


def test_the_sentinels_connections_are_closed_with_the_channel(app: Celery, watched: Sentinels) -> None:
    before = _connected(watched)
    with app.connection() as connection:
        assert connection.default_channel.client.ping()
        assert _connected(watched) > before
    until(lambda: _connected(watched) <= before, "kombu to close what asked the Sentinels")


def test_kombu_would_lose_the_password_behind_the_first_address() -> None:
    text = inspect.getsource(kombu_redis.SentinelChannel._sentinel_managed_pool)
    assert "self.connection.client.alt" in text, "kombu reads the addresses otherwise: see whether ours is needed still"


@pytest.mark.parametrize("name", ["master_name", "sentinel_address"])
def test_what_flower_and_the_channel_read_is_there(app: Celery, name: str) -> None:
    assert name in app.conf.broker_transport_options
    assert name in transport.SentinelChannel.from_transport_options


def test_flowers_broker_asks_all_sentinels(app: Celery, watched: Sentinels) -> None:
    assert "_get_redis_client" in vars(RedisSentinel), "Flower makes its client elsewhere: it would ask one Sentinel"
    broker = Behind(app.conf.broker_url, broker_options=app.conf.broker_transport_options)
    asked = broker.redis.connection_pool.sentinel_manager.sentinels
    ports = [one.connection_pool.connection_kwargs["port"] for one in asked]
    assert ports == watched.ports


def test_tls_reaches_the_connections_to_the_primary_and_to_the_sentinels() -> None:
    url = "rediss+sentinel://s1.invalid,s2.invalid/mymaster/0?ssl_ca_certs=/ca.pem"
    app = Celery("test", set_as_current=False)
    app.config_from_object(celeryconfig)
    transport.use(app)
    transport.reach(app, url)
    assert app.conf.broker_use_ssl["ssl_ca_certs"] == "/ca.pem"
    assert issubclass(transport.SentinelChannel.connection_class_ssl, redis.SSLConnection)
    assert "self.connection_class_ssl" in inspect.getsource(kombu_redis.Channel._connparams), "kombu: in clear text"
    with closing(RedisStore(url)) as store:
        pool: Any = store.client.connection_pool
        assert issubclass(pool.connection_class, redis.SSLConnection), "a password would go out in clear text"
        assert pool.connection_kwargs["ssl_ca_certs"] == "/ca.pem"
        for sentinel in pool.sentinel_manager.sentinels:
            assert sentinel.connection_pool.connection_class is redis.SSLConnection


def _connected(watched: Sentinels) -> int:
    """Connections of clients to the Sentinels, but the one that asks."""
    connected = 0
    for port in watched.ports:
        with watched.client(port, OF_THE_SENTINELS) as client:
            connected += sum(
                one["cmd"] in {"sentinel|master", "sentinel|get-master-addr-by-name"} for one in client.client_list()
            )
    return connected
