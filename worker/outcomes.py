"""One log line per outcome, with the names that metrics use. What only waits says so twice a minute, not for each job.

A pause sends every job that a worker had in hand back in line: those lines are counted, and the next one says how many.
At level DEBUG each is written.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from worker.open_war_room import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.jobs import WarRoomJob
    from worker.open_war_room import Report

EVERY_S: Final = 30.0


@dataclass(slots=True)
class _Said:
    at_s: float = -math.inf
    unsaid: int = 0


class Outcomes:
    """Says how jobs' turns ended. Called by every task's thread; a count may be one short.

    Args:
        log: a structlog logger.
        clock: monotonic seconds.
    """

    def __init__(self, log: Any, clock: Callable[[], float] = time.monotonic) -> None:  # noqa: ANN401
        self._log = log
        self._clock = clock
        self._waits: dict[tuple[str, str], _Said] = {}

    def say(self, job: WarRoomJob, report: Report, took_s: float) -> None:
        """The line of one outcome; `took_s` is all the time that the job was in hand."""
        facts = facts_of(job, report, took_s)
        if report.outcome is Outcome.NOTHING_TO_DO:
            self._log.debug(report.outcome.value, **facts)
        elif report.outcome is Outcome.BACK_IN_LINE:
            self._say_seldom(job, report, facts)
        else:
            say = self._log.info if report.error is None else self._log.warning
            say(report.outcome.value, **facts)

    def _say_seldom(self, job: WarRoomJob, report: Report, facts: dict[str, Any]) -> None:
        said = self._waits.setdefault((job.account, report.code), _Said())
        if self._clock() < said.at_s + EVERY_S:
            said.unsaid += 1
            self._log.debug(report.outcome.value, **facts)
            return
        more = {"jobs_before": said.unsaid} if said.unsaid else {}
        said.at_s, said.unsaid = self._clock(), 0
        say = self._log.info if report.error is None else self._log.warning
        say(report.outcome.value, **facts, **more)


def facts_of(job: WarRoomJob, report: Report, took_s: float) -> dict[str, Any]:
    """The fields of an outcome's line; times in seconds."""
    error = report.error
    latency_s = report.latency_s if error is None else error.latency_s
    facts: dict[str, Any] = {
        "outcome": report.outcome.label,
        "job": job.id,
        "account": job.account,
        "lane": job.lane.value,
        "attempt": report.attempt,
        "waited_s": round(report.waited_s, 3),
        "latency_s": None if latency_s is None else round(latency_s, 3),
        "took_s": round(took_s, 3),
        "request_id": report.request_id if error is None else error.request_id,
        "code": report.code,
    }
    if error is not None:
        facts["error"] = str(error)
    if report.room is not None:
        facts["chat_id"] = report.room.chat_id
    if report.delay_s:
        facts["delay_s"] = round(report.delay_s, 3)
    return facts
