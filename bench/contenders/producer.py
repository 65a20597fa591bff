"""Queues what it is told to, line by line, so that a benchmark can queue into many installations side by side.

    python -m bench.contenders.producer NAME

Each line of its input is `{"incident_ids": [...], "urgent": false}`; it answers `queued` when they are.
"""

from __future__ import annotations

import importlib
import json
import sys


def main() -> None:
    module = importlib.import_module(f"bench.contenders.{sys.argv[1]}")
    for line in sys.stdin:
        order = json.loads(line)
        module.enqueue(order["incident_ids"], urgent=order["urgent"])
        print("queued", flush=True)


if __name__ == "__main__":
    main()
