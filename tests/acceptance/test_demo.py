"""`warrooms demo` needs nothing, says how it went, and leaves nothing behind, however it ends."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Final

import pytest

from sandbox.stack import until

from .marked import Program

if TYPE_CHECKING:
    from collections.abc import Iterator

STOPPED: Final = {
    "Ctrl-C": (signal.SIGINT,),
    "an impatient Ctrl-C": (signal.SIGINT, signal.SIGINT),
    "SIGTERM": (signal.SIGTERM,),
    "SIGHUP": (signal.SIGHUP,),
}


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Program]]:
    """Several demos at the same time: each has its own ports and its own folder."""
    calls = {
        "whole": "run(20)",
        "json": "run(5, as_json=True)",
        **dict.fromkeys(STOPPED, "run(3000)"),
    }
    code = "import sys; from producers.demo import run; sys.exit({})"
    programs = {name: Program(code.format(call), tmp_path_factory.mktemp(name)) for name, call in calls.items()}
    yield programs
    for program in programs.values():
        program.kill_all()


@pytest.mark.parametrize("name", STOPPED)
def test_a_demo_that_is_stopped_in_the_middle_leaves_nothing_behind(demos: dict[str, Program], name: str) -> None:
    demo = demos[name]
    demo.says("3000 incidents queued")
    assert len(demo.alive()) >= 4, "itself, Valkey, the sandbox, the worker"
    for how in STOPPED[name]:
        demo.popen.send_signal(how)
    assert demo.end() != 0
    until(lambda: demo.alive() == [], "all to be gone")  # after a second Ctrl-C nobody waits for the worker
    demo.assert_nothing_left()


def test_the_demo_opens_every_room_and_shows_what_the_api_counted(demos: dict[str, Program]) -> None:
    demo = demos["whole"]
    assert demo.end() == 0, demo.output()
    out = demo.output()
    assert "20 incidents queued" in out
    table = [line.replace("│", " ").split() for line in out.splitlines() if line.startswith("│")]
    rows = {" ".join(row[:-1]): row[-1] for row in table}
    assert rows["rooms opened"] == "20"
    assert rows["opened twice"] == rows["failed"] == rows["refused by the API (429)"] == "0"
    assert "Traceback" not in out
    demo.assert_nothing_left()


def test_the_demo_as_json_prints_its_facts_and_nothing_else_on_stdout(demos: dict[str, Program]) -> None:
    demo = demos["json"]
    assert demo.end() == 0, demo.output()
    facts = json.loads(demo.output().splitlines()[-1])
    assert (facts["rooms"], facts["doubled"], facts["failed"], facts["refused"]) == (5, 0, 0, 0)
    demo.assert_nothing_left()
