"""An installation with many accounts: their file, their keys, and an API that knows them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench.server import server
from producers.queue import JobQueue
from sandbox.stack import INTEGRATION_ID, Stack
from worker.jobs import Lane, WarRoomJob
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

ANY: Final = "127.0.0.1:0"


@dataclass(frozen=True)
class Installation:
    """What runs, and the way into its queue."""

    stack: Stack
    queue: JobQueue
    accounts: Sequence[str]


def names(count: int, first: int = 0) -> list[str]:
    """So many accounts."""
    return [f"team-{number:05}" for number in range(first, first + count)]


def key_of(account: str) -> str:
    """The sandbox's app key of an account."""
    return f"key-{account}"


def accounts_file(accounts: Sequence[str], rates: str) -> str:
    """What WARROOMS_ACCOUNTS_FILE names."""
    return "".join(
        f'[accounts.{name}]\napp_key_env = "{_variable(name)}"\nrates = "{rates}"\nintegration_id = {INTEGRATION_ID}\n'
        for name in accounts
    )


def keys(accounts: Sequence[str]) -> dict[str, str]:
    """The variables that it names."""
    return {_variable(name): key_of(name) for name in accounts}


@contextlib.contextmanager
def installation(
    folder: Path,
    accounts: Sequence[str],
    rates: str,
    api: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    redis_url: str | None = None,
) -> Iterator[Installation]:
    """All of them on one Redis: this one, or one of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "accounts.toml"
    file.write_text(accounts_file(accounts, rates))
    known = [part for name in accounts for part in ("--app-key", f"{key_of(name)}={name}")]
    settings = {"WARROOMS_ACCOUNTS_FILE": str(file), "WARROOMS_METRICS_ADDRESS": ANY, **keys(accounts), **(env or {})}
    with contextlib.ExitStack() as opened:
        url = redis_url or opened.enter_context(server(folder / "redis"))
        stack = opened.enter_context(Stack(api=("--rates", rates, *known, *api), env=settings, redis_url=url))
        queue = JobQueue(Settings(redis_url=stack.redis_url, accounts_file=file))
        opened.callback(queue.close)
        yield Installation(stack, queue, accounts)


def job(account: str, number: int, lane: Lane = Lane.BULK) -> WarRoomJob:
    """The account's job with this number."""
    return WarRoomJob(account=account, incident_id=f"{number:024x}", integration_id=INTEGRATION_ID, lane=lane)


def _variable(account: str) -> str:
    return "KEY_" + account.upper().replace("-", "_")
