"""1,000 incidents against a server that creates the room and then cuts one connection in ten: rooms per incident.

python -m bench.cuts [--incidents 1000]
"""

from __future__ import annotations

import argparse
import json
import time

from producers.queue import JobQueue
from sandbox.stack import INTEGRATION_ID, Stack
from worker.jobs import JobState, WarRoomJob
from worker.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--incidents", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with Stack(api=("--latency", "uniform:0:1", "--seed", "7")) as stack:
        stack.fault(kind="cut", when="after", probability=0.1, endpoints="/incident/war-room/create")
        queue = JobQueue(Settings(redis_url=stack.redis_url, integration_id=INTEGRATION_ID))
        jobs = (WarRoomJob(incident_id=f"{n:024x}", integration_id=INTEGRATION_ID) for n in range(options.incidents))
        queue.enqueue_many(jobs, batch="cuts")
        for _ in range(options.workers):
            stack.start_worker(wait=False)
        began = time.monotonic()
        ledger = queue.ledger("default")
        while (progress := ledger.batch("cuts")) is None or progress.waiting:
            time.sleep(0.5)
        stats = stack.stats()
        queue.close()
    print(
        json.dumps(
            {
                "incidents": options.incidents,
                "rooms": stats["rooms"],
                "incidents_with_rooms": stats["incidents_with_rooms"],
                "duplicates": stats["duplicates"],
                "cut": stats["by_status"].get("cut", 0),
                "opened": progress.states[JobState.OPENED],
                "found": progress.states[JobState.FOUND],
                "failed": progress.states[JobState.FAILED],
                "seconds": round(time.monotonic() - began, 1),
                "refusals": stats["refusals"],
            }
        )
    )


if __name__ == "__main__":
    main()
