"""Queues again what would wait for ever: due retries, jobs of dead workers; and writes lost messages anew.

A message is lost when its worker dies, or its connection, between Redis' pop and the claim. Recovery is run by the
workers themselves, one at a time, no extra process; ledger_lua/rescue.lua says how each kind is told.
"""

from __future__ import annotations

import logging
from itertools import groupby
from typing import TYPE_CHECKING, Final

from worker.records import Reason
from worker.rounds import Rounds, going_on
from worker.telemetry import SILENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.bootstrap import Runtime
    from worker.ledger import Ledger
    from worker.records import Stray
    from worker.telemetry import Telemetry

log = logging.getLogger(__name__)

EVERY_S: Final = 0.5
MOST: Final = 200
"""Jobs of one kind that one look queues again: some milliseconds of Redis' time."""

_SAID: Final = {
    Reason.DEAD: "queued again: %d jobs that a dead worker had in hand",
    Reason.LOST: "written again: %d messages that were lost on their way to a worker",
}


def recovery_rounds(runtime: Runtime) -> Rounds:
    """The thread of the worker that looks after all its accounts."""

    def look() -> None:
        for name, desk in runtime.desks.items():
            with going_on(log, f"recover jobs of {name}"):
                recover(desk.ledger, telemetry=runtime.telemetry)

    return Rounds("recovery", EVERY_S, runtime.stopping, look)


def recover(ledger: Ledger, every_ms: int = round(EVERY_S * 900), telemetry: Telemetry = SILENT) -> int:
    """One look, unless another worker has just looked; how many jobs were queued again, or messages written."""
    strays = ledger.strays(MOST, every_ms)  # those of one reason stand together
    return sum(_requeue(ledger, reason, list(group), telemetry) for reason, group in groupby(strays, _reason_of))


def _reason_of(stray: Stray) -> Reason:
    return stray.reason


def _requeue(ledger: Ledger, reason: Reason, strays: Sequence[Stray], telemetry: Telemetry) -> int:
    if reason in _SAID:
        log.warning(_SAID[reason], len(strays))
    count = ledger.requeue(strays)
    if count:
        telemetry.recovered(ledger.account, reason, count)
    return count
