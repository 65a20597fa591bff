"""warrooms' worker: opens incident war rooms, never faster than the account allows, and never twice.

    queue ─▶ gate ─▶ tasks ─▶ open_war_room ─▶ slots ─▶ token_bucket.lua     whether and when a call may go out
      ▲                             │    └────▶ flashduty ─▶ the API         the call
      │                             └─────────▶ ledger_lua                   what is known of the job
      ├── recovery, heartbeat ◀──────────────────┘                           nothing is lost: due, dead, lost jobs
      └── steering ◀── orders                                                 what people order while it runs

What it does stands in files that touch no technology: jobs, errors, health, rate_limit, retry_policy, open_war_room.
Their adapters: token_bucket, ledger and refusals (Redis), flashduty (HTTP), gate, guard, acknowledgement, tasks and
celery_app (Celery). bootstrap joins them. What happens is told to telemetry (meters, spans; outcomes is the log);
observed joins those.

Producers may import: jobs, errors, health, settings, messages, ledger, refusals, slots, token_bucket, flashduty,
redis_store, reading, logs, orders, history, telemetry, meters, tracing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from celery import Celery

    app: Celery


def __getattr__(name: str) -> object:
    """`celery -A worker …` asks for `worker.app`; anyone else should not pay for importing Celery."""
    if name == "app":
        from worker.tasks import app_for_celery  # noqa: PLC0415 - see above

        return app_for_celery()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
