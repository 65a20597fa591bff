"""Processes that we start, may kill or freeze, and never leave behind."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

PR_SET_PDEATHSIG: Final = 1
STOP_S: Final = 50.0
READY_S: Final = 30.0
TICK_S: Final = 0.05
PORTS: Final = range(20_000, 32_000)
"""Below the ports that the kernel gives to outgoing connections: a server that is away for a while must find its port
free when it comes back, and a client that knocks in the meantime must not be connected to itself."""

_LIBC: Final = ctypes.CDLL(None) if sys.platform == "linux" else None


class StackError(Exception):
    """A part of the stack did not come up; the message ends with what it printed last."""


@dataclass(slots=True)
class Process:
    """A process that we started, and where it writes."""

    name: str
    popen: subprocess.Popen[str]
    log: Path

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet; a frozen one is alive."""
        return self.popen.poll() is None

    def ask(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Asks it to end and does not wait; a frozen one is thawed, or it would not hear."""
        self.popen.send_signal(signal.SIGCONT)
        self.popen.send_signal(how)

    def stop(self, how: signal.Signals = signal.SIGTERM, within_s: float = STOP_S) -> int:
        """Asks it to end, insists after `within_s` seconds; its exit code."""
        self.ask(how)
        try:
            return self.popen.wait(within_s)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """Ends it with SIGKILL, in the middle of whatever it does; its exit code."""
        self.popen.kill()
        return self.popen.wait()

    def freeze(self) -> None:
        """Stops its clock (SIGSTOP): it keeps its connections and answers nothing."""
        self.popen.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on as if nothing had happened (SIGCONT)."""
        self.popen.send_signal(signal.SIGCONT)

    def last_words(self, lines: int = 8) -> str:
        """The end of what it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def spawn(
    name: str,
    command: Sequence[str],
    log: Path,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
) -> Process:
    """Starts a process in a session of its own; what it prints is added to `log`; it inherits `pass_fds`.

    Call it from a thread that lives as long as the process shall: Linux ends it with the thread that started it.
    """
    with log.open("a") as sink:
        popen = subprocess.Popen(  # noqa: S603 - our own programs
            list(command),
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C is ours to handle: a worker finishes what it has begun
            preexec_fn=end_with_parent,  # noqa: PLW1509 - no thread of ours holds a lock it needs
            cwd=cwd,
            pass_fds=tuple(pass_fds),
        )
    return Process(name, popen, log)


def end_with_parent(how: signal.Signals = signal.SIGTERM) -> None:
    """Even a parent that was killed leaves nothing behind: Linux then sends its children this signal."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, how)


def until(true: Callable[[], bool], what: str, process: Process | None = None, within_s: float = READY_S) -> None:
    """Waits until something is true.

    Raises:
        StackError: it did not come true in time, or the process that should make it so has ended.
    """
    deadline = time.monotonic() + within_s
    while not true():
        ended = process is not None and not process.alive
        if ended or time.monotonic() > deadline:
            words = f":\n{process.last_words()}" if process else ""
            raise StackError(f"{what} {'ended' if ended else f'not ready in {within_s:g} s'}{words}")
        time.sleep(TICK_S)


def is_free(port: int) -> bool:
    """Whether nothing listens on this loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def free_port() -> int:
    """A loopback port that nobody uses, and that nobody is given while its server is away.

    Raises:
        StackError: none was found.
    """
    # Not the shared generator: a test that seeds it would have every run try the same ports.
    draw = random.Random(os.urandom(8))
    for port in draw.sample(PORTS, 100):
        if is_free(port) and _binds(port):
            return port
    raise StackError("no free loopback port")


def _binds(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
