"""The web process: HTTP API and webhook receiver. Every route is thin: who asks, one call, one answer.

    serve ─▶ app ─┬─▶ jobs_routes ────▶ idempotency, together ─┐
                  ├─▶ bulk_routes ────▶ bulk ──────────────────┴─▶ intake ─┐
                  ├─▶ webhook_routes ─▶ hand_over ─▶ events ───────────────┴─▶ producers.queue
                  ├─▶ failed_routes ──▶ letters, replays ─▶ worker.ledger
                  ├─▶ page_routes, login_routes, replay_routes ─▶ visitors, sessions, boards, page, form, attempts
                  └─▶ account_routes, health_routes ──▶ probe

`web` is what the routes share; only `app` makes it. `answering` and `problems` are how they answer, `tokens` and
`settings` what they are told, `schemas` and `examples` what the OpenAPI page says, `size` what they refuse to read, and
`connection` how long `serve` waits for a client.
Of no technology: tokens, problems, letters, attempts, producers.webhook, producers.board.
"""
