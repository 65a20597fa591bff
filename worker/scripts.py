"""Lua scripts, sent once to a server and then called by their digest. Each knows on which server it runs.

A script must see that Redis was restarted, or that another server took over: then what the account's keys say may be
some moments old. To ask for the server's run id in each call would cost every script a command, and the slowest of all.
So the id stands in the text, as RUN: a server has only scripts with its own id, since it forgets them when it ends and
gets none from others (Redis 7 and newer; the ones before kept them). Whoever calls a new server is told NOSCRIPT, and
sends the text again, with the id that the same connection gave: no connection outlives its server.
"""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, TypeVar

from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import NoScriptError, RedisError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import redis

T = TypeVar("T")

MOST_SERVERS: Final = 2
"""So often in a row it may be another server, or one that was told to forget its scripts, before that is an error."""

_RUN_ID: Final = re.compile(r"run_id:(\w+)")
_VERSION: Final = re.compile(r"redis_version:(\d+)")
OLDEST: Final = 7


class TooOld(RedisError):
    """A server that takes scripts along to others."""


def text_of(names: Sequence[str], functions: Mapping[str, str]) -> str:
    """A script of the parts `worker/<name>.lua`, behind whole scripts that it calls as functions of (KEYS, ARGV).

    Args:
        names: of the parts, in their order.
        functions: by the function's name, that of its script.
    """
    called = [f"local {name} = function(KEYS, ARGV)\n{_read(part)}\nend" for name, part in functions.items()]
    return "\n".join([*called, *map(_read, names)])


def _read(name: str) -> str:
    return files("worker").joinpath(f"{name}.lua").read_text(encoding="utf-8")


class Scripts:
    """What this process knows of the scripts that its server has. Thread-safe.

    Args:
        client: gives the connections.
    """

    def __init__(self, client: Callable[[], redis.Redis]) -> None:
        self.client = client
        self._digests: dict[str, str] = {}

    def digest(self, text: str) -> str:
        """The digest under which the server has the script; sends it first if need be."""
        digest = self._digests.get(text)
        if digest is None:
            digest = self._digests[text] = self._send(text)
        return digest

    def again(self, call: Callable[[], T]) -> T:
        """The result of a call by digests; a server that does not know them is another one, and is sent them."""
        for _ in range(MOST_SERVERS):
            try:
                return call()
            except NoScriptError:
                self._digests.clear()
        return call()

    def _send(self, text: str) -> str:
        connect = self.client().connection_pool.get_connection
        try:
            return self._send_over(connect(), text)
        except Disconnected:  # a pooled one may have died with the last server
            return self._send_over(connect(), text)

    def _send_over(self, connection: Any, text: str) -> str:  # noqa: ANN401
        try:
            connection.send_command("INFO", "server")
            run_id = _run_id(_as_text(connection.read_response()))
            connection.send_command("SCRIPT", "LOAD", f"local RUN = '{run_id}'\n{text}")
            return _as_text(connection.read_response())
        except BaseException:
            connection.disconnect()  # what it answers next may belong to what was asked before
            raise
        finally:
            self.client().connection_pool.release(connection)


class Script:
    """One script.

    Args:
        scripts: of its server.
        text: without RUN.
        held: makes a call that Redis may be away for.
    """

    def __init__(self, scripts: Scripts, text: str, held: Callable[..., Any]) -> None:
        self._scripts = scripts
        self._text = text
        self._held = held

    def __call__(self, keys: Sequence[str], args: Sequence[str | int]) -> Any:  # noqa: ANN401
        """Runs it atomically; the reply as Redis gives it.

        Raises:
            QueueUnavailable: Redis does not answer or refuses.
        """
        return self._held(lambda: self._run(keys, args))

    def later(self, pipe: Any, keys: Sequence[str], args: Sequence[str | int]) -> None:  # noqa: ANN401
        """Puts the call into a pipeline, which is asked again if it ends in NoScriptError."""
        pipe.evalsha(self._scripts.digest(self._text), len(keys), *keys, *args)

    def _run(self, keys: Sequence[str], args: Sequence[str | int]) -> Any:  # noqa: ANN401
        def call() -> Any:  # noqa: ANN401
            return self._scripts.client().evalsha(self._scripts.digest(self._text), len(keys), *keys, *args)

        return self._scripts.again(call)


def _run_id(info: str) -> str:
    version = _VERSION.search(info)
    if version and int(version[1]) < OLDEST:
        raise TooOld(f"its version is older than {OLDEST}.0, it would not be noticed when it is restarted")
    found = _RUN_ID.search(info)
    if not found:
        raise TooOld("its INFO names no run_id, it would not be noticed when it is restarted")
    return found[1]


def _as_text(reply: Any) -> str:  # noqa: ANN401
    return reply.decode() if isinstance(reply, bytes) else str(reply)
