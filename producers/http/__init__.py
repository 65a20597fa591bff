"""The web process: HTTP API and webhook receiver. Every route is thin: who asks, one call, one answer.

    serve ──▶ app ──▶ jobs_routes, bulk_routes, failed_routes, account_routes, webhook_routes, health_routes
                │          │            │             │                             │
                │          ├──▶ till ───┴──▶ intake ──┼──▶ producers.queue ◀── hand_over ◀── producers.webhook
                │          └──▶ replays               └──▶ letters
                └──▶ settings, tokens, problems, schemas

Pure, and of no technology: tokens, problems, letters. `web` is what the routes share; only `app` makes it.
"""
