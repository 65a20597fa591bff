"""`warrooms demo`: the whole thing on a laptop, against the sandbox's API at the real limits. Leaves nothing behind."""

from __future__ import annotations

import json
import secrets
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Final, NoReturn

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from producers.queue import JobQueue
from sandbox.stack import INTEGRATION_ID, Process, Stack, StackError
from worker.errors import WarroomsError
from worker.jobs import WarRoomJob
from worker.settings import DEFAULT_ACCOUNT, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

BATCH: Final = "demo"
LATENCY: Final = "uniform:0.1:0.8"
LOOK_EVERY_S: Final = 0.2
START_S: Final = 30.0


def run(jobs: int = 300, *, as_json: bool = False) -> int:
    """Opens `jobs` rooms and says how it went.

    Returns:
        The exit code: 0 if every incident has its room, 1 if not.

    Raises:
        WarroomsError: a part of the demo did not come up.
    """
    console = Console(stderr=as_json)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGHUP, _stop)
    try:
        console.print("Starting an embedded Valkey, a sandbox of Flashduty's API and one worker …")
        with Stack(api=("--latency", LATENCY, "--rates", "50/second;1000/minute")) as stack:
            facts = _demonstrate(stack, jobs, console)
    except StackError as error:
        problem = str(error)
    else:
        _show(facts, as_json=as_json)
        return 0 if facts["rooms"] == jobs and facts["doubled"] == 0 else 1
    raise WarroomsError(problem)


def _demonstrate(stack: Stack, jobs: int, console: Console) -> dict[str, Any]:
    worker = stack.start_worker(wait=False)
    queue = JobQueue(Settings(redis_url=stack.redis_url, integration_id=INTEGRATION_ID))
    try:
        tally = queue.enqueue_many(_incidents(jobs), batch=BATCH)
        plan = queue.accounts[DEFAULT_ACCOUNT].plan
        console.print(
            f"{tally.total} incidents queued. At {plan.rate_per_s * 60:.0f} a minute, safely below the account's "
            f"50/s and 1,000/min, they take {plan.drain_s(jobs):.0f} s."
        )
        _watch(queue, jobs, worker, console)
        states = queue.ledger(DEFAULT_ACCOUNT).batch(BATCH)
        failed = states.total - states.with_room if states else jobs
    finally:
        queue.close()
    return _facts(stack.stats(), failed, plan.allowed_per_s)


def _incidents(jobs: int) -> Iterator[WarRoomJob]:
    for _ in range(jobs):
        yield WarRoomJob(incident_id=secrets.token_hex(12), integration_id=INTEGRATION_ID)


def _watch(queue: JobQueue, jobs: int, worker: Process, console: Console) -> None:
    ledger = queue.ledger(DEFAULT_ACCOUNT)
    columns = (TextColumn("rooms"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    started = time.monotonic()
    with Progress(*columns, console=console) as bar:
        line = bar.add_task("rooms", total=jobs)
        while (progress := ledger.batch(BATCH)) is None or progress.waiting:
            if worker.popen.poll() is not None:
                raise StackError(f"the worker ended:\n{worker.last_words()}")
            if progress and not progress.with_room and time.monotonic() - started > START_S:
                raise StackError(f"no room after {START_S:g} s:\n{worker.last_words()}")
            bar.update(line, completed=jobs - progress.waiting if progress else 0)
            time.sleep(LOOK_EVERY_S)
        bar.update(line, completed=jobs)


def _facts(stats: dict[str, Any], failed: int, allowed_per_s: float) -> dict[str, Any]:
    seconds = max(stats["span_s"], 0.001)
    speed = (stats["arrivals"] - 1) / seconds
    return {
        "rooms": stats["incidents_with_rooms"],
        "doubled": stats["duplicates"],
        "failed": failed,
        "refused": stats["refusals"],
        "seconds": round(seconds, 1),
        "per_minute": round(speed * 60, 1),
        "share_of_limit": round(speed / allowed_per_s, 4),
        "worst_second": stats["worst_1s"],
        "worst_minute": stats["worst_60s"],
    }


def _show(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(facts) + "\n")
        return
    table = Table(show_header=False, title="As the API counted it", title_justify="left")
    table.add_row("rooms opened", f"{facts['rooms']}")
    table.add_row("opened twice", f"{facts['doubled']}")
    table.add_row("failed", f"{facts['failed']}")
    table.add_row("refused by the API (429)", f"{facts['refused']}")
    table.add_row("speed", f"{facts['per_minute']:.0f} a minute, {facts['share_of_limit']:.1%} of the limit")
    table.add_row("worst second", f"{facts['worst_second']} of 50 allowed")
    table.add_row("worst minute", f"{facts['worst_minute']} of 1,000 allowed")
    Console().print(table)


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
