"""Accounts sharded over two Redis instances for real, by the recipe of docs/scaling.md.

Each shard has a Redis, an accounts file and workers of its own; one API counts all calls.

    python -m bench.shards [--accounts 20] [--rates 120/minute] [--seconds 20] [--frozen 10] [--same-redis]

First both drain, then one Redis is frozen (SIGSTOP) for some seconds: what the other shard does meanwhile, and whether
everything is even afterwards. A minute. With --same-redis both have their workers and accounts on one Redis, and
nothing is frozen: the smaller recipe, for workers that have more accounts than they can watch.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bench.accounts_stack import installation, job, key_of, names
from bench.common import report
from sandbox.stack import until
from worker.rate_limit import plan_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.accounts_stack import Installation

THAW_S: Final = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=20, help="of each shard")
    parser.add_argument("--rates", default="120/minute")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--frozen", type=float, default=10)
    parser.add_argument("--same-redis", action="store_true")
    options = parser.parse_args()
    first, second = names(options.accounts), names(options.accounts, options.accounts)
    every_key = [part for name in second for part in ("--app-key", f"{key_of(name)}={name}")]
    api = ("--latency", "uniform:0.1:0.5", "--seed", "1", *every_key)
    with contextlib.ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        one = opened.enter_context(installation(folder / "one", first, options.rates, api))
        same_api = {"FLASHDUTY_BASE_URL": one.stack.api_url}
        url = one.stack.redis_url if options.same_redis else None
        two = opened.enter_context(installation(folder / "two", second, options.rates, (), same_api, url))
        report(**_run(one, two, options))


def _run(one: Installation, two: Installation, options: argparse.Namespace) -> dict[str, Any]:
    shards, per_s = (one, two), plan_of(options.rates).rate_per_s
    each = int(per_s * (options.seconds + options.frozen + THAW_S))
    for shard in shards:
        shard.stack.start_worker()
        for account in shard.accounts:
            shard.queue.enqueue_chunk([job(account, _base(account) + at) for at in range(each)])
    until(lambda: one.stack.stats()["arrivals"] > 0, "the first call", within_s=60)
    time.sleep(3)
    together = _speeds(one, shards, options.seconds)
    frozen = None if options.same_redis else _while_frozen(one, shards, options.frozen)
    jobs = each * len(one.accounts) * len(shards)
    until(lambda: one.stack.stats()["incidents_with_rooms"] >= jobs, "all rooms", within_s=120)
    stats = one.stack.stats()
    return {
        "accounts": [len(shard.accounts) for shard in shards],
        "allowed_per_s": round(per_s * len(one.accounts), 1),
        "calls_per_s": together,
        "while_first_is_frozen_per_s": frozen,
        "jobs": jobs,
        "incidents_with_rooms": stats["incidents_with_rooms"],
        "second_rooms": stats["duplicates"],
        "refusals": stats["refusals"],
        "keys": [int(shard.stack.redis.dbsize()) for shard in shards],
        "same_redis": options.same_redis,
        "accounts_known_to_both": len(_accounts_in(one) & _accounts_in(two)),
    }


def _while_frozen(one: Installation, shards: Sequence[Installation], seconds: float) -> list[float]:
    pid = int(one.stack.redis.info("server")["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(1)  # what has its slot is sent
        return _speeds(one, shards, seconds - 1)
    finally:
        os.kill(pid, signal.SIGCONT)


def _base(account: str) -> int:
    """Where the account's incidents begin: no two accounts have one in common, since the API counts them together."""
    return int(account.rpartition("-")[2]) * 10**8


def _speeds(one: Installation, shards: Sequence[Installation], seconds: float) -> list[float]:
    """Calls a second of each shard; the first one's API counts for both."""
    before, began = _calls(one, shards), time.monotonic()
    time.sleep(seconds)
    after, lasted_s = _calls(one, shards), time.monotonic() - began
    return [round((now - then) / lasted_s, 1) for then, now in zip(before, after, strict=True)]


def _calls(one: Installation, shards: Sequence[Installation]) -> list[int]:
    counts = one.stack.stats()["accounts"]
    return [sum(int(counts[name]["arrivals"]) for name in shard.accounts if name in counts) for shard in shards]


def _accounts_in(shard: Installation) -> set[str]:
    return {str(key).split("{")[1].split("}")[0] for key in shard.stack.redis.scan_iter("warrooms:{*}:account")}


if __name__ == "__main__":
    main()
