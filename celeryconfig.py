"""Celery's settings and nothing else; every choice with its reason. docs/celery.md has the measurements behind them."""

import os

# --- the broker ---------------------------------------------------------------------------------------------------
broker_url = os.environ.get("REDIS_URL", "redis://localhost:6379/0")
broker_connection_retry_on_startup = True  # Redis may come up after the worker
broker_connection_max_retries = None  # and come back whenever it does: a worker never gives up on its own

# A message that no worker acknowledged in this time is delivered again. Short, because a copy is harmless (claims are
# fenced, it costs one script) and a foreign client's message, which has no record yet, comes back by nothing else.
visibility_timeout = 30

broker_transport_options = {
    "visibility_timeout": visibility_timeout,
    "unacked_restore_interval": 5,  # with the throttle at 1 an orphan is found in seconds; the default takes 100 s
    "unacked_restore_throttle": 1,
    "unacked_restore_limit": 500,  # one sweep stays short
    "socket_timeout": 5,  # without it a half-open connection hangs the worker for good; a BRPOP takes 0.1 s
    "socket_connect_timeout": 5,
    "socket_keepalive": True,
    "health_check_interval": 5,
    "polling_interval": 0.1,  # the BRPOP timeout: the gate can change its mind this often
    "queue_order_strategy": "worker.gate:GatedCycle",
    "client_name": "warrooms-worker",
    # No global_keyprefix: foreign clients do not know it.
}

# --- messages -----------------------------------------------------------------------------------------------------
task_serializer = "json"
accept_content = ["json"]  # a pickle from the network is a program from the network
task_default_queue = "warrooms.default"
task_default_exchange = ""  # the default exchange: a queue's name is its routing key, and nothing is bound in Redis
task_default_exchange_type = "direct"
task_publish_retry = True
enable_utc = True

# --- results ------------------------------------------------------------------------------------------------------
result_backend = None  # the ledger has the results, and publishing is twice as fast
task_ignore_result = True
task_store_errors_even_if_ignored = False

# --- the worker ---------------------------------------------------------------------------------------------------
worker_pool = "threads"  # the work is waiting for HTTP; prefork costs 35 MB per job in flight
worker_concurrency = 64  # unless WARROOMS_CONCURRENCY says otherwise (worker/tasks.py)
worker_prefetch_multiplier = 1  # a job waits in Redis, not in a worker
worker_disable_prefetch = False  # with late acks it changes nothing, with early ones it stalls
task_acks_late = True  # a message of a killed worker comes back
task_acks_on_failure = True  # the ledger decides what happens next, never a second delivery
task_acks_on_timeout = True
task_reject_on_worker_lost = True
worker_cancel_long_running_tasks_on_connection_loss = False  # a thread cannot be cancelled, its call may have worked
worker_eta_task_limit = 200  # we send no ETA; this bounds what a foreign client may do
worker_hijack_root_logger = False  # worker/logs.py sets the logs up
worker_redirect_stdouts = False
worker_send_task_events = True  # Flower; unless WARROOMS_TASK_EVENTS says otherwise (worker/tasks.py)
task_send_sent_event = False  # it would double the cost of publishing
