"""One line per outcome; what only waits says so seldom, and how many did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.fakes import A_ROOM, a_job
from worker.errors import OutcomeUnknown, RateLimited
from worker.open_war_room import Outcome, Report
from worker.outcomes import EVERY_S, Outcomes, facts_of

JOB = a_job()
SLOWLY = RateLimited("slowly", code="RequestTooFrequently", status=429, request_id="r1")
PAUSED = Report(Outcome.BACK_IN_LINE, 1, 0.1, SLOWLY, 3.0)


@dataclass
class Log:
    """A logger's three levels, kept."""

    lines: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)

    def debug(self, event: str, **facts: Any) -> None:  # noqa: ANN401
        self.lines.append(("debug", event, facts))

    def info(self, event: str, **facts: Any) -> None:  # noqa: ANN401
        self.lines.append(("info", event, facts))

    def warning(self, event: str, **facts: Any) -> None:  # noqa: ANN401
        self.lines.append(("warning", event, facts))

    @property
    def said(self) -> list[tuple[str, str, dict[str, Any]]]:
        return [line for line in self.lines if line[0] != "debug"]


@dataclass
class Desk:
    now_s: float = 1000.0
    log: Log = field(default_factory=Log)
    outcomes: Outcomes = field(init=False)

    def __post_init__(self) -> None:
        self.outcomes = Outcomes(self.log, lambda: self.now_s)


def test_a_success_says_what_the_call_took_and_its_request_id() -> None:
    report = Report(Outcome.OPENED, 2, 0.1234, room=A_ROOM, latency_s=0.45678, request_id="r9")
    assert facts_of(JOB, report, 0.6) == {
        "outcome": "opened",
        "job": JOB.id,
        "account": "acc",
        "lane": "bulk",
        "attempt": 2,
        "waited_s": 0.123,
        "latency_s": 0.457,
        "took_s": 0.6,
        "request_id": "r9",
        "code": "OK",
        "chat_id": "oc_1",
    }


def test_a_failure_says_why() -> None:
    error = OutcomeUnknown("no answer", code="Timeout", request_id="r2")
    error.latency_s = 30.0
    facts = facts_of(JOB, Report(Outcome.RETRYING, 1, 0.0, error, 2.5), 30.1)
    assert (facts["outcome"], facts["code"], facts["error"]) == ("retrying", "Timeout", "Timeout: no answer")
    assert (facts["latency_s"], facts["request_id"], facts["delay_s"]) == (30.0, "r2", 2.5)


def test_every_end_is_said_each_time() -> None:
    desk = Desk()
    for _ in range(3):
        desk.outcomes.say(JOB, Report(Outcome.OPENED, 1, room=A_ROOM), 0.1)
        desk.outcomes.say(JOB, Report(Outcome.FAILED, 1, error=SLOWLY), 0.1)
    assert [level for level, _, _ in desk.log.lines] == ["info", "warning"] * 3


def test_a_pause_is_said_once_and_how_many_more_went_back_with_the_next_line() -> None:
    desk = Desk()
    for _ in range(64):
        desk.outcomes.say(JOB, PAUSED, 0.1)
    assert len(desk.log.said) == 1
    assert len(desk.log.lines) == 64, "at level DEBUG nothing is hidden"
    desk.now_s += EVERY_S
    desk.outcomes.say(JOB, PAUSED, 0.1)
    assert desk.log.said[1][2]["jobs_before"] == 63


def test_accounts_and_reasons_are_said_each_for_itself() -> None:
    desk = Desk()
    desk.outcomes.say(JOB, PAUSED, 0.1)
    desk.outcomes.say(a_job(account="other"), PAUSED, 0.1)
    desk.outcomes.say(JOB, Report(Outcome.BACK_IN_LINE, 1), 0.1)
    assert [level for level, _, _ in desk.log.said] == ["warning", "warning", "info"]
