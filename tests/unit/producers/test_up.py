"""What `warrooms up` decides before it starts anything: who may run here, on which port, with which processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

from producers.alone import alone
from producers.up import USUAL_PORT, preferred_port, without_taken_flower
from sandbox.processes import free_port, is_free
from worker.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

HOLD: Final = """
import sys
from pathlib import Path
from producers.alone import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_says_who_holds_it_and_is_free_afterwards(tmp_path: Path) -> None:
    lock = tmp_path / "new" / "lock"
    for _ in range(2):
        with alone(lock):
            assert lock.read_text() == f"{os.getpid()}\n"


def test_a_lock_that_another_process_holds_is_refused_at_once_with_its_pid(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLD, lock], stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(SettingsError, match=rf"runs in .* already \(process {holder.pid}\); stop it first"),
            alone(lock),
        ):
            pass
        holder.communicate()
    with alone(lock):
        assert lock.read_text() == f"{os.getpid()}\n"


def test_a_lock_is_held_by_whoever_inherited_it_though_its_holder_has_ended(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    ended = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    with alone(lock) as descriptor:
        heir = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[descriptor])
        lock.write_bytes(ended.stdout)
    left = r"still in use by what process \d+ left when it was killed"
    with pytest.raises(SettingsError, match=left), alone(lock, leftovers_s=0.1):
        pass
    heir.communicate()
    with alone(lock, leftovers_s=0.1):
        pass


def test_the_port_of_the_last_time_comes_first_and_the_usual_one_next(tmp_path: Path) -> None:
    file, last = tmp_path / "port", free_port()
    usual = USUAL_PORT if is_free(USUAL_PORT) else None
    assert preferred_port(file) == usual
    for text, port in ((f"{last}\n", last), ("six\n", usual), ("0", usual), ("99999999", usual)):
        file.write_text(text)
        assert preferred_port(file) == port
    with socket.create_server(("127.0.0.1", last)):
        file.write_text(f"{last}\n")
        assert preferred_port(file) == usual


def test_only_a_flower_whose_port_is_taken_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken, free = server.getsockname()[1], free_port()
        processes = {
            "worker": "celery -A worker worker --without-gossip",
            "flower": f"exec celery -A worker flower --port={taken} --read-only",
            "other": f"exec celery -A worker flower --port {free}",
            "web": f"serve --port={taken}",
        }
        assert list(without_taken_flower(processes)) == ["worker", "other", "web"]
    assert capsys.readouterr().out == f"Port {taken} is taken, perhaps by another Flower: going on without flower.\n"
