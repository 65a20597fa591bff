"""The Redis of a measurement: the embedded Valkey, or the server that WARROOMS_BENCH_SERVER names.

The embedded one is built with libc's allocator. Servers from a distribution or an image have jemalloc, as people run
them: name one to measure what they will see.

    WARROOMS_BENCH_SERVER=/usr/bin/redis-server python -m bench.growth --what backlog
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Final

import redis

from sandbox.processes import free_port, spawn, until
from sandbox.valkey import DEFAULTS, Valkey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VARIABLE: Final = "WARROOMS_BENCH_SERVER"


@contextlib.contextmanager
def server(folder: Path, **config: str) -> Iterator[str]:
    """Runs it; its URL.

    Raises:
        StackError: it cannot be started on this machine.
    """
    program = os.environ.get(VARIABLE)
    if not program:
        with Valkey(folder, port=None, pass_fds=(), **config) as valkey:
            yield valkey.url
        return
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"port": str(free_port()), "dir": str(folder)} | DEFAULTS | config
    options = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", value)]
    process = spawn("redis", [program, *options], folder / "redis.log")
    url = f"redis://127.0.0.1:{settings['port']}/0"
    try:
        until(lambda: _answers(url), "the Redis", process)
        yield url
    finally:
        process.stop()


def about(client: redis.Redis) -> dict[str, Any]:
    """Which server it is, and its allocator."""
    info: Any = client.info()
    name = "valkey" if "valkey_version" in info else "redis"
    return {"server": f"{name} {info.get('valkey_version', info['redis_version'])}", "allocator": info["mem_allocator"]}


def _answers(url: str) -> bool:
    with contextlib.suppress(redis.RedisError), redis.Redis.from_url(url, socket_timeout=1) as client:
        return bool(client.ping())
    return False
