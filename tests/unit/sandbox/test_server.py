from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from sandbox import ConfigError, Sandbox, SandboxConfig

if TYPE_CHECKING:
    from collections.abc import Callable

CREATE = "/incident/war-room/create"


def body(number: int = 1) -> dict[str, object]:
    return {"incident_id": f"{number:024x}", "integration_id": 1}


def client(sandbox: Sandbox, key: str = "sandbox-key", timeout_s: float = 5.0) -> httpx.Client:
    return httpx.Client(base_url=sandbox.url, params={"app_key": key}, timeout=timeout_s, trust_env=False)


def raw(sandbox: Sandbox) -> socket.socket:
    url = httpx.URL(sandbox.url)
    return socket.create_connection((url.host, url.port or 0), timeout=5)


def request(number: int = 1, extra: str = "") -> bytes:
    content = json.dumps(body(number)).encode()
    head = (
        f"POST {CREATE}?app_key=sandbox-key HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n{extra}\r\n"
    )
    return head.encode() + content


def read_until(sock: socket.socket, answers: int) -> bytes:
    seen = b""
    while seen.count(b"HTTP/1.1 200") < answers or not seen.endswith(b"}"):
        chunk = sock.recv(65536)
        if not chunk:
            break
        seen += chunk
    return seen


def drain(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def in_flight_becomes(sandbox: Sandbox, count: int) -> bool:
    """Ask until it is so; each question runs in the server's loop, so the loop goes on in between."""
    return any(sandbox.stats()["in_flight"] == count for _ in range(100_000))


def test_a_connection_is_kept_and_used_again(start: Callable[..., Sandbox]) -> None:
    sandbox = start()
    with client(sandbox) as one:
        ports = set()
        for number in range(20):
            answer = one.post(CREATE, json=body(number))
            ports.add(answer.extensions["network_stream"].get_extra_info("client_addr"))
            assert answer.status_code == 200
    assert len(ports) == 1


def test_refusals_and_wrong_requests_keep_the_connection_too(start: Callable[..., Sandbox]) -> None:
    sandbox = start(rates="1/hour")
    with client(sandbox) as one:
        answers = [one.post(CREATE, json=body()) for _ in range(3)] + [one.get("/x"), one.head("/x")]
        ports = {answer.extensions["network_stream"].get_extra_info("client_addr") for answer in answers}
    assert [answer.status_code for answer in answers] == [200, 429, 429, 404, 404]
    assert len(ports) == 1


def test_requests_sent_ahead_are_answered_in_order(start: Callable[..., Sandbox]) -> None:
    sandbox = start(latency="constant:0.01")
    with raw(sandbox) as sock:
        sock.sendall(request(0xA1) + request(0xB2) + request(0xC3))
        seen = read_until(sock, 3).decode()
    assert seen.index("#0000A1") < seen.index("#0000B2") < seen.index("#0000C3")


def test_a_head_without_its_body_is_an_arrival_already(start: Callable[..., Sandbox]) -> None:
    sandbox = start()
    with raw(sandbox) as sock:
        sock.sendall(request()[:-10])
        assert in_flight_becomes(sandbox, 1)
        assert sandbox.stats()["arrivals"] == 1
    assert in_flight_becomes(sandbox, 0)
    assert sandbox.stats()["by_status"] == {"abandoned": 1}


def test_a_client_that_wants_to_hear_100_first_does(start: Callable[..., Sandbox]) -> None:
    sandbox = start()
    whole = request(extra="Expect: 100-continue\r\n")
    head, _, content = whole.partition(b"\r\n\r\n")
    with raw(sandbox) as sock:
        sock.sendall(head + b"\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 100")
        sock.sendall(content)
        assert read_until(sock, 1).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("nonsense", [b"hello\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\r\n\r\n"])
def test_what_is_no_http_is_refused_and_closed(start: Callable[..., Sandbox], nonsense: bytes) -> None:
    sandbox = start()
    with raw(sandbox) as sock:
        sock.sendall(nonsense)
        assert drain(sock).startswith(b"HTTP/1.1 400")
    assert sandbox.stats()["arrivals"] == 0


def test_a_client_may_ask_to_close(start: Callable[..., Sandbox]) -> None:
    with raw(start()) as sock:
        sock.sendall(request(extra="Connection: close\r\n"))
        assert drain(sock).startswith(b"HTTP/1.1 200")


def test_a_broken_body_ends_the_call_as_abandoned(start: Callable[..., Sandbox]) -> None:
    sandbox = start()
    head = f"POST {CREATE}?app_key=sandbox-key HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with raw(sandbox) as sock:
        sock.sendall(head.encode() + b"zz\r\n")
        assert drain(sock).startswith(b"HTTP/1.1 400")
    assert in_flight_becomes(sandbox, 0)


def test_200_calls_from_20_threads_are_all_counted(start: Callable[..., Sandbox]) -> None:
    sandbox = start()

    def ten(thread: int) -> list[int]:
        with client(sandbox) as one:
            return [one.post(CREATE, json=body(10 * thread + n)).status_code for n in range(10)]

    with ThreadPoolExecutor(20) as pool:
        statuses = [status for ten_statuses in pool.map(ten, range(20)) for status in ten_statuses]
    stats = sandbox.stats()
    assert statuses == [200] * 200
    assert (stats["arrivals"], stats["accepted"], stats["rooms"]) == (200, 200, 200)
    assert (stats["duplicates"], stats["in_flight"], stats["by_status"]) == (0, 0, {"200": 200})
    assert len(sandbox.arrivals()) == 200


def test_calls_wait_beside_each_other_and_the_most_at_once_is_told(start: Callable[..., Sandbox]) -> None:
    sandbox = start(latency="constant:0.3")
    barrier = Barrier(8)

    def one(number: int) -> float:
        barrier.wait()
        with client(sandbox) as caller:
            return caller.post(CREATE, json=body(number)).elapsed.total_seconds()

    with ThreadPoolExecutor(8) as pool:
        waits_s = list(pool.map(one, range(8)))
    assert min(waits_s) >= 0.3
    assert sandbox.stats()["max_in_flight"] == 8


def test_a_room_is_made_even_if_its_caller_gave_up(start: Callable[..., Sandbox]) -> None:
    sandbox = start(latency="constant:0.3")
    with client(sandbox, timeout_s=0.05) as one, pytest.raises(httpx.ReadTimeout):
        one.post(CREATE, json=body())
    assert sandbox.stats()["rooms"] == 0
    assert in_flight_becomes(sandbox, 0)
    stats = sandbox.stats()
    assert (stats["rooms"], stats["by_status"]) == (1, {"abandoned": 1})


def test_a_stop_does_not_wait_for_calls(start: Callable[..., Sandbox]) -> None:
    del start
    with Sandbox(SandboxConfig(latency="constant:60")) as sandbox, raw(sandbox) as sock:
        sock.sendall(request())
        assert in_flight_becomes(sandbox, 1)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{sandbox.url}/sandbox/stats")
    # the books can still be read
    assert (sandbox.stats()["arrivals"], sandbox.stats()["rooms"]) == (1, 0)


def test_a_taken_port_is_refused_in_one_sentence(start: Callable[..., Sandbox]) -> None:
    port = httpx.URL(start().url).port
    with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
        start(port=port)


def test_the_control_endpoints_do_what_they_say_and_spend_nothing(start: Callable[..., Sandbox]) -> None:
    sandbox = start(rates="1/hour")

    def ask(method: str, what: str, content: object = None) -> Any:  # noqa: ANN401 # JSON of any shape
        answer = httpx.request(method, f"{sandbox.url}/sandbox/{what}", json=content, trust_env=False)
        assert answer.status_code == 200, answer.text
        return answer.json()

    with client(sandbox) as one:

        def create() -> int:
            return one.post(CREATE, json=body()).status_code

        assert [create(), create()] == [200, 429]
        assert ask("GET", "stats")["refusals"] == 1
        ask("POST", "limits", {"rates": "1000/second", "model": "gcra"})
        ask("POST", "keys", {"revoke": ["sandbox-key"]})
        assert create() == 401
        ask("POST", "keys", {"restore": ["sandbox-key"]})
        ask("POST", "faults", {"kind": "error"})
        assert create() == 500
        ask("DELETE", "faults")
        ask("POST", "faults", [{"kind": "html"}, {"kind": "cut"}])
        assert create() == 504
        ask("DELETE", "faults")
        ask("POST", "pause", {"seconds": 60})
        assert create() == 429
        assert [row[1:] for row in ask("GET", "arrivals")] == [
            ["sandbox", CREATE, status] for status in (200, 429, 401, 500, 504, 429)
        ]
        (room,) = ask("GET", f"rooms?incident_id={body()['incident_id']}")["items"]
        assert ask("POST", "lose-groups", {"chat_id": room["chat_id"]}) == {"lost": 1}
        ask("POST", "reset")
        assert create() == 200
    assert ask("GET", "stats")["arrivals"] == 1


@pytest.mark.parametrize(
    ("method", "what", "content", "status"),
    [
        ("GET", "nothing", None, 404),
        ("POST", "stats", {}, 404),
        ("POST", "faults", {"kind": "x"}, 400),
        ("POST", "limits", {"rates": "fast"}, 400),
        ("POST", "limits", {"rates": 5}, 400),
        ("POST", "limits", {"speed": "5/second"}, 400),
        ("POST", "limits", [], 400),
        ("POST", "keys", {"revoke": ["unknown"]}, 400),
        ("POST", "keys", {"revoke": "sandbox-key"}, 400),
        ("POST", "pause", {"seconds": -1}, 400),
        ("POST", "pause", {"seconds": "1"}, 400),
        ("POST", "pause", {"seconds": 1, "account": "nobody"}, 400),
    ],
)
def test_a_wrong_control_call_gets_one_sentence(
    start: Callable[..., Sandbox], method: str, what: str, content: object, status: int
) -> None:
    answer = httpx.request(method, f"{start().url}/sandbox/{what}", json=content)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_several_rules_are_added_together_or_not_at_all(start: Callable[..., Sandbox]) -> None:
    sandbox = start()
    httpx.post(f"{sandbox.url}/sandbox/faults", json=[{"kind": "cut"}, {"kind": "x"}])
    assert sandbox.stats()["faults"] == []


def test_calls_with_an_unknown_key_are_counted_but_belong_to_no_account(start: Callable[..., Sandbox]) -> None:
    sandbox = start()
    with client(sandbox, key="wrong") as one:
        one.post(CREATE, json=body())
    stats = sandbox.stats()
    assert (stats["unknown_key"], stats["turned_away"], stats["accounts"]) == (1, 1, {})


def test_the_access_log_has_no_key(start: Callable[..., Sandbox], capfd: pytest.CaptureFixture[str]) -> None:
    with client(start()) as one:
        one.post(CREATE, json=body())
    assert capfd.readouterr().err == ""
    with client(start(access_log=True)) as one:
        one.post(CREATE, json=body())
    log = capfd.readouterr().err
    assert f"sandbox {CREATE} 200" in log
    assert "sandbox-key" not in log


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"model": "leaky"}, "no model 'leaky'"),
        ({"rates": "fast"}, "no list of rates"),
        ({"latency": "slow"}, "no latency"),
        ({"retry_after": "soon"}, "retry_after is one of"),
        ({"phase_s": float("nan")}, "phase_s"),
        ({"host": "0.0.0.0"}, "loopback addresses only"),  # noqa: S104 # it is refused
        ({"host": "example.com"}, "loopback addresses only"),
        ({"app_keys": {}}, "at least one app key"),
        ({"app_keys": {"": "a"}}, "at least one app key"),
        ({"incidents": -1}, "not negative"),
        ({"port": 70000}, "no port"),
    ],
)
def test_a_sandbox_that_makes_no_sense_cannot_be_configured(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        SandboxConfig(**settings)


def test_the_configuration_does_not_show_its_keys() -> None:
    assert "sandbox-key" not in repr(SandboxConfig())


def test_ipv6_loopback_is_loopback(start: Callable[..., Sandbox]) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    with client(start(host="::1")) as one:
        assert one.post(CREATE, json=body()).status_code == 200
