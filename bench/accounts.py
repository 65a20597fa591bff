"""A slow account with 5,000 jobs queued beside a fast one, one worker: the slow one must not hold the fast one back.

The bucket is safe against every way a server may count, which costs a fixed quarter of a second per window: 97 % of
60/minute, but only 78 % of 40/second. So the speeds are written per minute: 60 and 2,412, that is 1/s and 40/s.

    python -m bench.accounts [--seconds 60]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from producers.queue import JobQueue
from sandbox.stack import INTEGRATION_ID, Stack, until
from worker.jobs import WarRoomJob
from worker.settings import Settings

RATES = {"slow": "60/minute", "fast": "2412/minute"}
BACKLOG = 5000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        accounts = Path(folder) / "accounts.toml"
        accounts.write_text(
            "".join(
                f'[accounts.{name}]\napp_key_env = "KEY_{name.upper()}"\n'
                f'rates = "{rates}"\nintegration_id = {INTEGRATION_ID}\n'
                for name, rates in RATES.items()
            )
        )
        keys = {f"KEY_{name.upper()}": f"key-{name}" for name in RATES}
        options_of_api = [part for name in RATES for part in ("--app-key", f"key-{name}={name}")]
        with Stack(
            api=("--latency", "uniform:0:2", "--rates", "100000/minute", *options_of_api),
            env={"WARROOMS_ACCOUNTS_FILE": str(accounts), "WARROOMS_CONCURRENCY": "96", **keys},
        ) as stack:
            queue = JobQueue(Settings(redis_url=stack.redis_url, accounts_file=accounts))
            queue.enqueue_many(
                WarRoomJob(account=name, incident_id=f"{n:024x}", integration_id=INTEGRATION_ID)
                for name in RATES
                for n in range(BACKLOG)
            )
            stack.start_worker()
            until(lambda: stack.stats()["arrivals"] > 0, "the first call")
            time.sleep(3)
            first, began = stack.stats(), time.monotonic()
            time.sleep(options.seconds)
            last, seconds = stack.stats(), time.monotonic() - began
            queue.close()
    speed = {
        name: round((last["accounts"][name]["arrivals"] - first["accounts"][name]["arrivals"]) / seconds, 2)
        for name in RATES
    }
    print(json.dumps({"calls_per_s": speed, "backlog_each": BACKLOG, "refusals": last["refusals"]}))


if __name__ == "__main__":
    main()
