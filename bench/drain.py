"""Three workers, 180 s, real limits, latency 0 to 2 s, against each way a server may count: share used, refusals.

python -m bench.drain [--seconds 180] [--workers 3] [--model fixed ...]
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from producers.queue import JobQueue
from sandbox.stack import INTEGRATION_ID, Stack, until
from worker.jobs import WarRoomJob
from worker.settings import Settings

MODELS = ("fixed", "sliding-log", "sliding-counter", "token-bucket", "gcra")
PER_MINUTE = 1000


def run(model: str, workers: int, seconds: float) -> dict[str, Any]:
    with Stack(api=("--model", model, "--latency", "uniform:0:2", "--seed", "1")) as stack:
        queue = JobQueue(Settings(redis_url=stack.redis_url, integration_id=INTEGRATION_ID))
        jobs = int(seconds / 60 * PER_MINUTE * 1.2) + 100
        queue.enqueue_many(WarRoomJob(incident_id=f"{n:024x}", integration_id=INTEGRATION_ID) for n in range(jobs))
        stack.redis.config_resetstat()
        for _ in range(workers):
            stack.start_worker(wait=False)
        until(lambda: stack.stats()["arrivals"] > 0, "the first call")
        began = time.monotonic()
        samples = []
        while time.monotonic() - began < seconds:
            time.sleep(1)
            samples.append(int(stack.redis.memory_usage("warrooms:{default}:bucket") or 0))
        stats = stack.stats()
        calls = scripts(stack)
        queue.close()
    whole_minutes = stats["span_s"] / 60
    return {
        "model": model,
        "arrivals": stats["arrivals"],
        "refusals": stats["refusals"],
        "first_minute_share": round(stats["first_minute"]["arrivals"] / PER_MINUTE, 4),
        "whole_share": round(stats["arrivals"] / (whole_minutes * PER_MINUTE), 4),
        "worst_1s": stats["worst_1s"],
        "worst_60s": stats["worst_60s"],
        "duplicates": stats["duplicates"],
        "bucket_bytes": max(samples),
        "bucket_scripts_per_job": round(calls["acquire"] / stats["arrivals"], 3),
        "all_scripts_per_job": round(calls["all"] / stats["arrivals"], 3),
    }


def scripts(stack: Stack) -> dict[str, float]:
    """How many scripts ran in all, and how many asked for a slot: each of those, and each finish, sets one PEXPIRE."""
    info = stack.redis.info("commandstats")
    all_calls = info["cmdstat_evalsha"]["calls"]
    pexpire = info.get("cmdstat_pexpire", {"calls": 0})["calls"]
    finished = int(stack.redis.hget("warrooms:{default}:account", "opened") or 0)
    return {"all": all_calls, "acquire": pexpire - finished}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--model", action="append", choices=MODELS)
    options = parser.parse_args()
    for model in options.model or MODELS:
        print(json.dumps(run(model, options.workers, options.seconds)), flush=True)


if __name__ == "__main__":
    main()
