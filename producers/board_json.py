"""The board for machines: what `warrooms top --json` prints. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from producers.answers import batch_json, record_json
from producers.console import iso

if TYPE_CHECKING:
    from producers.board import AccountBoard, Board


def board_json(board: Board) -> dict[str, object]:
    """All of it."""
    return {
        "at": iso(board.at_s),
        "accounts": [_account(account) for account in board.accounts],
        "batches": [{**batch_json(row.view), "accounts": list(row.accounts)} for row in board.batches],
    }


def _account(account: AccountBoard) -> dict[str, object]:
    seen, level = account.seen, account.seen.forecast.level
    return {
        "account": account.name,
        "state": account.state.value,
        "why": dict(account.why),
        "rates": str(level.plan),
        "limits": [
            {
                "amount": gauge.limit.amount,
                "window_s": gauge.limit.window_us / 1e6,
                "spent": gauge.spent,
                "ready": gauge.ready,
            }
            for gauge in account.gauges
        ],
        "ten_seconds": list(seen.history.tens),
        "worst_second": account.worst[0].calls,
        "worst_minute": account.worst[1].calls,
        "waiting": dict(account.lines),
        "oldest_s": seen.oldest_s,
        "empty_at": iso(account.empty_at_s),
        "workers_alive": seen.crew.alive,
        "dead_letters": account.letters_in_all,
        "failed_jobs": [record_json(record) for record in account.letters],
    }
