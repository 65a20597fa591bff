"""A real Flower over an installation, and the questions a test asks of it."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Final, Self

import httpx

from sandbox.processes import spawn
from sandbox.stack import ROOT, until

if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping
    from pathlib import Path

    from sandbox.stack import Process
    from worker.jobs import WarRoomJob

USER: Final = "warrooms"
PASSWORD: Final = "pass:word,100%"  # a comma and a colon: a file may have both


class Watched:
    """`celery -A worker flower` with its password in a file, until the block is left.

    Args:
        env: the installation's environment.
        folder: for its log, its password and its database.
        options: of Flower, on its command line.
        more: more environment variables; those of the value None are taken away.
    """

    def __init__(
        self, env: Mapping[str, str], folder: Path, *options: str, more: Mapping[str, str | None] | None = None
    ) -> None:
        self._password = folder / "flower-password"
        self._password.write_text(f"{PASSWORD}\n")
        wanted = {**env, "WARROOMS_FLOWER_PASSWORD_FILE": str(self._password), **(more or {})}
        clean = {name: value for name, value in wanted.items() if value is not None}
        log = folder / "flower.log"
        log.unlink(missing_ok=True)  # that of an earlier one
        command = [sys.executable, "-m", "celery", "-A", "worker", "flower", "--port=0", *options]
        self.process: Process = spawn("flower", command, log, clean, ROOT)

    def __enter__(self) -> Self:
        try:
            until(lambda: "Registered tasks" in self.log(), "Flower", self.process)
        except BaseException:
            self.process.stop()
            raise
        self.anybody = httpx.Client(base_url=self.url, trust_env=False)
        self.somebody = httpx.Client(base_url=self.url, trust_env=False, auth=(USER, PASSWORD))
        return self

    def __exit__(self, *_: object) -> None:
        self.anybody.close()
        self.somebody.close()
        self.process.stop()

    @property
    def url(self) -> str:
        """Where it says that it is."""
        found = re.search(r"Visit me at (http://\S+)", self.log())
        assert found is not None, self.log()
        return found[1]

    def log(self) -> str:
        """What it has printed."""
        return self.process.log.read_text(errors="replace")

    def end(self, how: signal.Signals) -> int:
        """Its exit code."""
        return self.process.stop(how)

    # --- what it shows ---

    def get(self, path: str) -> httpx.Response:
        """A page, for somebody who has logged in."""
        return self.somebody.get(path).raise_for_status()

    def tasks(self) -> list[dict[str, Any]]:
        """What it knows of every task."""
        return list(self.get("/api/tasks").json().values())

    def rows(self) -> list[dict[str, Any]]:
        """The rows of its page of tasks, newest last."""
        asked = "draw=1&start=0&length=1000&order[0][column]=0&order[0][dir]=asc&columns[0][data]=received"
        rows: list[dict[str, Any]] = self.get(f"/tasks/datatable?{asked}").json()["data"]
        return rows

    def rows_of(self, job: WarRoomJob) -> list[dict[str, Any]]:
        """The rows of one incident."""
        return [row for row in self.rows() if row["kwargs"] and job.incident_id in row["kwargs"]]

    def lengths(self) -> dict[str, int]:
        """The queues that it lists, and how many messages wait in each."""
        queues = self.get("/api/queues/length").json()["active_queues"]
        return {queue["name"]: queue["messages"] for queue in queues}

    def wait_for_workers(self, count: int) -> None:
        """Until so many have told it that they are there, from when on it misses nothing of what they do."""
        until(lambda: len(self.get("/workers?json=1").json()["data"]) >= count, f"{count} workers in Flower")
