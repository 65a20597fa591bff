"""What people use to stay within an API's limits, each as its best honest user would write it.

Every contender opens the same rooms through the same call (`war_room.py`) and stands in one module, whose docstring
says what its tool cannot express:

    celery_bare               no limiter: what the same call costs in a plain Celery task
    celery_rate_limit         Celery's own `rate_limit`, a share for each worker
    celery_limits_retry       Celery + limits, a job that must wait is sent again with a countdown
    celery_limits_blocking    the same, a job that must wait sleeps in its thread
    celery_pyrate_limiter     Celery + pyrate-limiter
    celery_throttled          Celery + throttled-py
    celery_heimdall           celery-heimdall
    dramatiq_window           dramatiq's WindowRateLimiter
    bullmq                    BullMQ's limiter, on Node
    warrooms_itself           this project

    contender      how a contender describes itself
    on_celery      the settings that a careful user of Celery on Redis would choose, for all Celery contenders
    limits_window  both limits, for the two contenders with `limits`
    producer       takes incident ids from a pipe and queues them
"""

from bench.contenders.contender import NAMES, Contender, load

__all__ = ["NAMES", "Contender", "load"]
