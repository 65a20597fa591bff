"""A sandbox inside a test or a script: a context manager with a thread and an event loop of its own."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Self, TypeVar

from sandbox.config import SandboxConfig
from sandbox.faults import FaultRule
from sandbox.incidents import Outbreak
from sandbox.server import Server
from sandbox.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from sandbox.envelope import JsonObject

T = TypeVar("T")


class Sandbox:
    """A running sandbox: `with Sandbox(SandboxConfig(...)) as sandbox: ... sandbox.url ...`.

    The methods do what the control endpoints do, without HTTP; they raise ConfigError for wrong values.

    Args:
        config: how it is set up; the defaults if None.
    """

    url: str

    def __init__(self, config: SandboxConfig | None = None) -> None:
        self.config = config or SandboxConfig()
        self._state = State(self.config)
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._thread = threading.Thread(target=self._run, name="sandbox", daemon=True)
        self._started: Future[str] = Future()

    def __enter__(self) -> Self:
        self._thread.start()
        self.url = self._started.result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = Server(self._state)
        try:
            url = await server.start()
        except Exception as error:  # noqa: BLE001 # raised again in the thread that waits for the start
            self._started.set_exception(error)
            return
        self._started.set_result(url)
        await self._stop.wait()
        await server.stop()

    def _ask(self, question: Callable[[], T]) -> T:
        """Run a function in the loop's thread, which owns the state, and wait for its result.

        After the end nobody owns the state any more, and it can still be asked.
        """
        if not self._thread.is_alive():
            return question()

        async def answer() -> T:
            return question()

        return asyncio.run_coroutine_threadsafe(answer(), self._loop).result()

    def stats(self) -> JsonObject:
        """As `GET /sandbox/stats`."""
        return self._ask(self._state.stats)

    def rooms(self, incident_id: str = "") -> list[JsonObject]:
        """As `GET /sandbox/rooms`: every room ever made, of one incident if named."""
        return self._ask(lambda: [room.truth() for room in self._state.backend.rooms.all(incident_id)])

    def arrivals(self) -> list[tuple[float, str, str, int | str]]:
        """As `GET /sandbox/arrivals`: (seconds since the first, account, endpoint, status)."""
        return self._ask(self._state.ledger.arrivals)

    def add_fault(self, *rules: FaultRule | JsonObject) -> None:
        """As `POST /sandbox/faults`; rules or their JSON."""
        made = [rule if isinstance(rule, FaultRule) else FaultRule.of(rule) for rule in rules]
        self._ask(lambda: self._state.faults.add(*made))

    def clear_faults(self) -> None:
        """As `DELETE /sandbox/faults`."""
        self._ask(self._state.faults.clear)

    def reset(self) -> None:
        """As `POST /sandbox/reset`."""
        self._ask(self._state.reset)

    def change_limits(self, **changes: object) -> None:
        """As `POST /sandbox/limits`: model, rates, phase_s, count_refused, retry_after, latency."""
        self._ask(lambda: self._state.change_limits(changes))

    def change_keys(self, *, revoke: Iterable[str] = (), restore: Iterable[str] = ()) -> None:
        """As `POST /sandbox/keys`."""
        self._ask(lambda: self._state.change_keys(revoke=revoke, restore=restore))

    def pause(self, seconds: float, account: str = "") -> None:
        """As `POST /sandbox/pause`."""
        self._ask(lambda: self._state.pause(seconds, account))

    def add_incidents(self, **outbreak: object) -> list[str]:
        """As `POST /sandbox/incidents`: more incidents, all alike; their ids, in the order of their start."""
        wanted = Outbreak.of(outbreak)
        return self._ask(lambda: self._state.backend.incidents.add(wanted))

    def set_integrations(self, *integrations: JsonObject) -> None:
        """As `POST /sandbox/integrations`: which IM integrations have war rooms enabled."""
        self._ask(lambda: self._state.backend.set_integrations(list(integrations)))

    def lose_groups(self, *, incident_id: str = "", chat_id: str = "") -> int:
        """As `POST /sandbox/lose-groups`: delete groups in the IM; returns how many."""
        return self._ask(lambda: self._state.backend.rooms.lose_groups(incident_id=incident_id, chat_id=chat_id))
