"""httpx's errors end at the wire, each as a leaf; what we lean on in httpx and httpcore still holds."""

from __future__ import annotations

import inspect
import logging
import pkgutil
import re
import socket
import threading
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING

import httpcore
import httpx
import pytest

from worker.clock import elapsed_s
from worker.errors import FlashdutyError, NoMoreSlots, NotSent, OutcomeUnknown, RateLimited
from worker.flashduty import Flashduty
from worker.flashduty.app_key import LOGGERS
from worker.flashduty.transport import Deadline, DeadlineTransport, HeldUp, _Stream
from worker.flashduty.wire import LIMITS
from worker.jobs import WarRoomJob

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

JOB = WarRoomJob(incident_id="69da451ef77b1b51f40e83ee", integration_id=1)


def family(error: type[httpx.HTTPError]) -> Iterator[type[httpx.HTTPError]]:
    yield error
    for child in error.__subclasses__():
        yield from family(child)


def made(error: type[httpx.HTTPError], request: httpx.Request) -> httpx.HTTPError:
    if issubclass(error, httpx.HTTPStatusError):
        return error("secret text", request=request, response=httpx.Response(500))
    return error("why it failed")


def failure(handler: Callable[[httpx.Request], httpx.Response]) -> FlashdutyError:
    duty = Flashduty(
        base_url="https://api.test:8443", app_key=lambda: "k", transport=lambda: httpx.MockTransport(handler)
    )
    with pytest.raises(FlashdutyError) as caught:
        duty.create(JOB)
    return caught.value


BEFORE_THE_FIRST_BYTE = {
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
}
TIMEOUTS = {httpx.TimeoutException, httpx.ReadTimeout, httpx.WriteTimeout}


@pytest.mark.parametrize("error", sorted(set(family(httpx.HTTPError)), key=repr))
def test_every_error_of_httpx_is_translated(error: type[httpx.HTTPError]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise made(error, request)

    leaf = failure(handler)
    if error in BEFORE_THE_FIRST_BYTE:
        expected: tuple[type[FlashdutyError], str] = (NotSent, "NotConnected")
        assert str(leaf) == "NotConnected: no connection to api.test:8443: why it failed"
    elif error in TIMEOUTS:
        expected = (OutcomeUnknown, "Timeout")
    else:
        expected = (OutcomeUnknown, "ConnectionCut")
        assert error.__name__ in str(leaf)
    assert (type(leaf), leaf.code, leaf.status, leaf.request_id) == (*expected, None, "")


def test_httpx_can_raise_every_class_that_counts_as_not_sent() -> None:
    assert set(family(httpx.HTTPError)) > BEFORE_THE_FIRST_BYTE | TIMEOUTS


@pytest.mark.parametrize("error", [RuntimeError, OSError, httpx.InvalidURL, httpx.StreamClosed, UnicodeError])
def test_any_other_failure_of_the_http_stack_leaves_the_outcome_unknown(error: type[Exception]) -> None:
    def handler(_: httpx.Request) -> httpx.Response:
        raise error() if error is httpx.StreamClosed else error("it says app_key=k")

    leaf = failure(handler)
    assert (type(leaf), leaf.code) == (OutcomeUnknown, "ClientFailed")
    assert "app_key" not in str(leaf)


class Cut(httpx.SyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        yield b'{"data"'
        raise httpx.ReadError("reset")


@pytest.mark.parametrize(("status", "leaf"), [(200, OutcomeUnknown), (500, OutcomeUnknown), (429, RateLimited)])
def test_a_body_that_is_cut_leaves_the_outcome_unknown_but_a_429_is_a_429(
    status: int, leaf: type[FlashdutyError]
) -> None:
    assert type(failure(lambda _: httpx.Response(status, stream=Cut()))) is leaf


def test_an_interrupt_passes_without_the_frames_that_saw_the_key() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise KeyboardInterrupt from ValueError(request.url)

    duty = Flashduty(base_url="https://a.test", app_key=lambda: "k", transport=lambda: httpx.MockTransport(handler))
    with pytest.raises(KeyboardInterrupt) as caught:
        duty.create(JOB)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert caught.traceback[-1].name == "post"


def test_an_answer_may_set_a_cookie_and_redirect_and_neither_is_followed() -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(302, headers={"Set-Cookie": "a=b", "Location": "https://b.test/?app_key=k"})

    duty = Flashduty(base_url="https://a.test", app_key=lambda: "k", transport=lambda: httpx.MockTransport(handler))
    for _ in range(2):
        with pytest.raises(FlashdutyError, match="redirects"):
            duty.create(JOB)
    assert [request.url.host for request in seen] == ["a.test", "a.test"]
    assert not any("cookie" in request.headers for request in seen)


def test_each_call_has_the_key_of_its_time() -> None:
    keys, seen = iter(["old", "new", "new", "old"]), []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.params["app_key"])
        return httpx.Response(429)

    duty = Flashduty(
        base_url="https://a.test/prefix", app_key=lambda: next(keys), transport=lambda: httpx.MockTransport(handler)
    )
    for _ in range(4):
        with pytest.raises(RateLimited):
            duty.create(JOB)
    assert seen == ["old", "new", "new", "old"]


@pytest.mark.parametrize(("timeout_s", "at_most_s"), [(None, 9.0), (5.0, 5.0), (20.0, 9.0)])
def test_an_operation_gets_no_more_time_than_the_call_has_left(timeout_s: float | None, at_most_s: float) -> None:
    deadline = Deadline(9.0)
    deadline.start()
    assert at_most_s - 1 < deadline.within(timeout_s, httpcore.ReadTimeout) <= at_most_s


@pytest.mark.parametrize("late", [httpcore.ReadTimeout, httpcore.WriteTimeout, httpcore.ConnectTimeout])
def test_after_the_deadline_every_operation_is_late(late: type[httpcore.TimeoutException]) -> None:
    deadline = Deadline(0.0)
    deadline.start()
    with pytest.raises(late):
        deadline.within(30.0, late)


# --- the fence ----------------------------------------------------------------------------------------------------


@contextmanager
def listening() -> Iterator[tuple[str, Callable[[], bytes]]]:
    """A server that reads one request and hangs up: its address, and what it has read in the end."""
    read: list[bytes] = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(10)
            while not b"".join(read).endswith(b"}") and (some := connection.recv(65_536)):
                read.append(some)

    def in_the_end() -> bytes:
        server.join(10)
        return b"".join(read)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve)
        server.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", in_the_end
        server.join(10)


def test_a_request_that_was_held_up_never_leaves() -> None:
    with listening() as (address, what_was_read):
        duty = Flashduty(base_url=address, app_key=lambda: "k")
        with pytest.raises(NoMoreSlots, match="held up") as caught:
            duty.create(JOB, fence_at=elapsed_s() - 0.001)
        duty.close()
        assert what_was_read() == b""
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_a_request_in_time_leaves_and_its_answer_may_come_late() -> None:
    with listening() as (address, what_was_read):
        duty = Flashduty(base_url=address, app_key=lambda: "k")
        with pytest.raises(OutcomeUnknown):
            duty.create(JOB, fence_at=elapsed_s() + 60)
        duty.close()
        assert what_was_read().startswith(b"POST /incident/war-room/create")


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def forward(self, seconds: float) -> None:
        self.now_s += seconds


class Written(httpcore.NetworkStream):
    def __init__(self) -> None:
        self.bytes = b""

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        assert timeout is not None
        self.bytes += buffer


def test_no_part_of_a_request_leaves_after_its_fence() -> None:
    deadline, inner = Deadline(60.0), Written()
    stream = _Stream(inner, deadline)
    deadline.start(elapsed_s() + 60)
    stream.write(b"head")
    deadline.start(elapsed_s() - 0.001)  # the process was stopped here
    with pytest.raises(HeldUp):
        stream.write(b"body")
    stream.write(b"")  # httpcore's end of a body that has left
    assert inner.bytes == b"head"


def test_slow_connecting_is_the_networks_fault_and_no_hold_up() -> None:
    clock = Clock()
    deadline, inner = Deadline(60.0, clock), Written()
    deadline.start(clock() + 4)
    with deadline.connecting():
        clock.forward(4.5)
    with pytest.raises(httpcore.ConnectTimeout, match=r"connecting took too long \(4\.5 s\)") as caught:
        _Stream(inner, deadline).write(b"head")
    assert not isinstance(caught.value, HeldUp)
    clock.forward(4.5)  # and was stopped besides
    with pytest.raises(HeldUp):
        _Stream(inner, deadline).write(b"head")
    deadline.start(clock() + 4)  # the next call has a connection
    clock.forward(4.5)
    with pytest.raises(HeldUp):
        _Stream(inner, deadline).write(b"head")
    assert inner.bytes == b""


def test_only_a_creation_has_a_fence_unless_its_caller_says_so() -> None:
    deadline = Deadline(60.0)
    deadline.start(elapsed_s() - 0.001)
    deadline.start()
    deadline.leave()


def test_the_pool_is_small_and_never_repeats_by_itself() -> None:
    pool = DeadlineTransport(LIMITS, 1.0)._pool
    assert isinstance(pool, httpcore.ConnectionPool)
    assert (pool._max_connections, pool._max_keepalive_connections, pool._keepalive_expiry) == (2, 1, 60)
    assert pool._retries == 0


def test_threads_share_one_ssl_context() -> None:
    first, second = (DeadlineTransport(LIMITS, 1.0)._pool for _ in range(2))
    assert isinstance(first, httpcore.ConnectionPool)
    assert isinstance(second, httpcore.ConnectionPool)
    assert first._ssl_context is second._ssl_context is not None


def test_httpx_still_has_the_pool_that_we_replace() -> None:
    assert "self._pool.handle_request(req)" in inspect.getsource(httpx.HTTPTransport.handle_request)


def test_every_logger_of_httpx_and_httpcore_is_quieted() -> None:
    found: set[str] = set()
    for name, package in {"httpx": httpx, "httpcore": httpcore}.items():
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if module.name.rpartition(".")[2] in {"_main", "trio", "anyio"}:
                continue
            spec = module.module_finder.find_spec(module.name, None)
            if spec and spec.origin and spec.origin.endswith(".py"):
                with open(spec.origin, encoding="utf-8") as source:  # noqa: PTH123
                    found |= set(re.findall(r'getLogger\("([^"]+)"\)', source.read()))
    assert found
    assert found <= set(LOGGERS)


def test_a_warning_of_httpx_still_comes_through(caplog: pytest.LogCaptureFixture) -> None:
    Flashduty(base_url="https://a.test", app_key=lambda: "k")
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("httpcore.http11").info("dropped")
        logging.getLogger("httpcore.http11").warning("kept")
    assert [record.message for record in caplog.records] == ["kept"]


def test_the_package_imports_every_part_by_itself() -> None:
    for part in ("answers", "app_key", "client", "envelope", "transport", "wire"):
        assert import_module(f"worker.flashduty.{part}").__doc__
