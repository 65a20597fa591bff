"""The ACL rule that the README and the doctor name is enough for everything, and the doctor asks for all of it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import redis

from producers.checkup.needs import OUTSIDE, needs
from producers.checkup.permissions import RULE
from sandbox.stack import Stack, embedded_redis

if TYPE_CHECKING:
    from collections.abc import Iterable

ID: Final = "69da451ef77b1b51f40e83ee"
AT_CONNECT: Final = {"hello", "auth", "select", "client|setname", "client|setinfo"}
TRIED_FOR_REAL: Final = {"multi", "exec"}
OF_THIS_TEST: Final = {"acl|setuser", "acl|log", "config|get", "info"}


def names(lines: Iterable[str]) -> set[str]:
    words = [line.lower().split() for line in lines]
    return {"|".join(line[: 2 if line[0] == "script" else 1]) for line in words}


def test_a_worker_remote_control_and_the_commands_need_no_more_than_the_rule(tmp_path: Path) -> None:
    with embedded_redis(tmp_path) as url, redis.Redis.from_url(url, decode_responses=True) as admin:
        acl: Any = admin.execute_command
        acl("ACL", "SETUSER", "desk", "on", ">p4ss", *RULE.split())
        with Stack(redis_url=url.replace("//", "//desk:p4ss@")) as stack:
            stack.start_worker(wait=False)
            warrooms = str(Path(sys.executable).with_name("warrooms"))
            admin.lpush("warrooms.default", "junk")
            stack.control("incidents", count=2, start_time_s=int(time.time()) - 60)
            for command in (
                ["open", ID, "--timeout", "30"],
                ["status", ID],
                ["integrations"],
                ["backlog", "--since", "1d", "--without-room", "--batch", "night"],
                ["failed", "refused"],
            ):
                subprocess.run([warrooms, *command], env=stack.env, check=True, timeout=60, capture_output=True)
            inspected = stack.run("celery", "-A", "worker", "inspect", "ping", "--timeout", "10", "--json")
            assert '"pong"' in inspected.stdout
        assert admin.acl_log() == []
        stats: Any = admin.info("commandstats")
    used = {name.removeprefix("cmdstat_") for name in stats}
    assert used - AT_CONNECT - TRIED_FOR_REAL - OF_THIS_TEST <= names([*needs(["default"], 0), *OUTSIDE])
