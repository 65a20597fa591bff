"""BullMQ on Node: its limiter holds one rate for all workers of a queue; jobs wait in Redis.

50 in 3 s are 1,000 a minute, and within a second no more than 50 unless a window's end meets the next one's begin. A
429 pauses the queue for all workers. Urgent jobs have a higher priority.
"""

from __future__ import annotations

from typing import Final

from bench.contenders.contender import Contender

CONTENDER: Final = Contender(
    name="bullmq",
    what="BullMQ limiter, 50 in 3 s (Node)",
    cannot="two rates; a window that slides",
    urgent="a higher priority",
    packages=("npm:bullmq", "npm:ioredis"),
    worker=("bench.contenders.bullmq", "worker.mjs"),
    producer=("bench.contenders.bullmq", "enqueue.mjs"),
)
