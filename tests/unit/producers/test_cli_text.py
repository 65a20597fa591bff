from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from producers import console
from producers.answers import BatchView, batch_json, record_json
from producers.cli import limit_text
from producers.cli.bulk import Request
from producers.cli.bulk_summary import Outcome, dry_run_lines, result_lines, summary_lines
from producers.cli.exits import Exit
from producers.cli.overview import AccountView, account_json, account_lines, batch_line
from producers.cli.views import record_lines, room_link, state_of
from producers.crew import START, Crew
from producers.forecast import Forecast
from producers.halts import Halt
from producers.pausing import paused
from producers.receipt import Receipt, Status
from producers.watching import Sample, Watch
from tests.records import ID, NOW_S, UNAUTHORIZED, record
from worker.history import History, Hour, Most
from worker.jobs import JobState, WarRoom, WarRoomJob
from worker.orders import Order, Orders
from worker.rate_limit import plan_of
from worker.records import Progress, Standing
from worker.settings import Account
from worker.slots import Lines
from worker.token_bucket import BucketLevel

if TYPE_CHECKING:
    from worker.records import Record

ACCOUNT = Account(name="default", plan=plan_of("1000/minute"))
ROOM = WarRoom(chat_id="oc_1", chat_name="Disk full", share_link="https://im.example/1")


def progress(**states: int) -> Progress:
    return Progress({state: states.get(state.value, 0) for state in JobState}, created_at=NOW_S - 60)


def outlook(level: BucketLevel, *, halted: bool = False, opening: int = 0, **standing: int) -> Forecast:
    known = Standing(standing.pop("urgent", 0), standing.pop("queued", 0), 0, None, opening=opening, **standing)
    return Forecast(level, known, datetime.fromtimestamp(NOW_S, UTC), halted=halted)


def tallied(*statuses: Status) -> Outcome:
    outcome = Outcome(batch="b")
    for status in statuses:
        starts_at = datetime.fromtimestamp(NOW_S + 90, UTC) if status is Status.QUEUED else None
        outcome.tally.add(Receipt("id", status, starts_at=starts_at))
    return outcome


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain 中文 é", "plain 中文 é"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("\x9b2J", "\\x9b2J"),
        ("a\u202eb", "a\\u202eb"),
        ("a\xa0b", "a b"),
        ("\ud800", "\\ud800"),
    ],
)
def test_nothing_can_reach_the_terminal_but_characters_that_print(text: str, shown: str) -> None:
    assert console.clean(text) == shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "less than 1 s"),
        (1, "1 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (284, "4 min 44 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations_have_their_two_largest_units(seconds: float, text: str) -> None:
    assert console.duration(seconds) == text


def test_a_moment_says_how_far_away_it_is() -> None:
    assert console.when(NOW_S + 90, NOW_S).endswith(" (in 1 min 30 s)")
    assert console.when(NOW_S - 90, NOW_S).endswith(" (1 min 30 s ago)")
    assert console.when(NOW_S, NOW_S).endswith(" (now)")


def test_a_moment_that_has_passed_is_no_expectation() -> None:
    assert console.starts(NOW_S + 90, NOW_S).endswith(" (in 1 min 30 s)")
    assert console.starts(NOW_S - 1.2, NOW_S) == console.starts(NOW_S, NOW_S)
    assert console.starts(NOW_S, NOW_S).endswith(" (now)")


def test_a_moment_for_machines_has_an_offset() -> None:
    text = console.iso(NOW_S)
    assert text is not None
    moment = datetime.fromisoformat(text)
    assert moment.utcoffset() is not None
    assert moment.timestamp() == NOW_S


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (record(), "queued, waits for its turn"),
        (record(attempts=2), "queued again after 2 attempts"),
        (record(JobState.OPENING, attempts=1, began_at=1.0), "opening, attempt 1"),
        (record(JobState.OPENING), "in a worker's hands, waits for its slot"),
        (record(JobState.OPENING, attempts=2), "in a worker's hands, waits for its slot after 2 attempts"),
        (record(JobState.FOUND), "found: the incident had its room already"),
        (record(JobState.FAILED, attempts=6), "failed after 6 attempts"),
        (record(JobState.CANCELLED), "cancelled"),
        (record(JobState.CANCELLED, attempts=6), "cancelled: given up after 6 attempts"),
    ],
)
def test_a_state_is_said_in_words(one: Record, text: str) -> None:
    assert state_of(one, NOW_S) == text


def test_a_retry_says_when_it_is_due() -> None:
    text = state_of(record(JobState.RETRYING, attempts=1, due_at=NOW_S + 12), NOW_S)
    assert text.startswith("retrying after 1 attempt, next one ")
    assert text.endswith("(in 12 s)")


def test_a_failed_job_says_why_and_the_command_that_tries_again() -> None:
    job = WarRoomJob(incident_id=ID, integration_id=7, account="eu", member_ids=(1, 2), add_observers=True)
    failed = record(JobState.FAILED, job, attempts=1, message="no responders", hint="add a responder")
    text = "\n".join(record_lines(failed, NOW_S))
    assert "no responders" in text
    assert f"add a responder; then queue it again: warrooms failed replay eu.{ID}.7" in text
    assert "members  1, 2 and the observers" in text


def test_a_job_that_was_given_up_says_so_and_how_to_queue_it_anew() -> None:
    job = WarRoomJob(incident_id=ID, integration_id=7, account="eu")
    dropped = record(JobState.CANCELLED, job, attempts=6, message="no responders", hint="add a responder")
    text = "\n".join(record_lines(dropped, NOW_S))
    assert "state    cancelled: given up after 6 attempts" in text
    assert "error    no responders" in text
    assert f"queue it anew: warrooms open {ID} --integration 7 --account eu --bulk" in text
    assert "--bulk" not in "\n".join(record_lines(record(JobState.CANCELLED), NOW_S))


def test_a_job_in_hand_names_its_worker_and_an_unknown_outcome_what_follows() -> None:
    text = "\n".join(record_lines(record(JobState.OPENING, worker="celery@a", look_first=True), NOW_S))
    assert "worker   celery@a\n" in text
    assert "outcome  unknown: a room may be there already; the next attempt looks first" in text


def test_a_room_without_a_link_is_named() -> None:
    bare = WarRoom(chat_id="oc_1", chat_name="Disk full")
    assert room_link(record(JobState.OPENED, room=ROOM)) == "https://im.example/1"
    assert room_link(record(JobState.OPENED, room=bare)) == "room Disk full (oc_1) (its IM gives no link)"


def test_a_record_for_machines_has_its_room_and_no_error() -> None:
    value = record_json(record(JobState.OPENED, room=ROOM, finished_at=NOW_S))
    assert value["room"] == {"chat_id": "oc_1", "chat_name": "Disk full", "share_link": "https://im.example/1"}
    assert value["error"] is None


def test_an_account_in_trouble_says_so() -> None:
    view = AccountView(
        ACCOUNT,
        progress(queued=1000, failed=2, opened=5),
        outlook(BucketLevel(30.0, Lines(30.0, 30.0, 30.0), (0.0,), ACCOUNT.plan), queued=1000, unread_bulk=7),
        [BatchView("b", progress(queued=3, failed=1, opened=1).states, NOW_S - 60)],
        [record(JobState.FAILED, message="no responders")],
    )
    text = "\n".join(account_lines(view, NOW_S))
    for part in (
        "queued 0 urgent + 1,000 bulk, opening 0, retrying 0, about 7 sent by other clients and not read yet",
        "opened 5, found 0, 2 failed",
        "paused for 30 s: the API said 429",
        "in about 1 min 3",
        "batch b: 2 of 5 done, 1 failed, 3 queued",
        "no responders",
    ):
        assert part in text


def view_of(*, halt: Halt | None = None, crew: Crew | None = None, **states: int) -> AccountView:
    halted = halt is not None or (crew is not None and not crew.alive)
    level = BucketLevel(37.0, Lines(37, 37, 37), (0.0,), ACCOUNT.plan)
    told = outlook(level, halted=halted, queued=states.get("queued", 0))
    return AccountView(ACCOUNT, progress(**states), told, [], [], halt, crew)


def test_a_suspended_account_says_why_since_when_and_what_to_do_before_anything_else() -> None:
    view = view_of(halt=Halt("default", UNAUTHORIZED, 37.0), queued=1000)
    first, second, third, fourth, *rest = account_lines(view, NOW_S)
    assert first == "account default"
    assert second == "  SUSPENDED: Unauthorized (HTTP 401): the app key is not valid"
    assert third.endswith("(5 min ago); 4 probes failed since; next probe in 37 s")
    assert fourth.startswith("  to do    check the app key; it resumes by itself when a probe succeeds")
    text = "\n".join(rest)
    assert "429" not in text
    assert "empty" not in text
    value = account_json(view)
    assert value["drain_s"] is None
    assert value["trouble"] == {
        "account": "default",
        "state": "suspended",
        "code": "Unauthorized",
        "message": "Unauthorized (HTTP 401): the app key is not valid",
        "hint": "check the app key",
        "request_id": "req-1",
        "since": console.iso(NOW_S - 300),
        "probes": 4,
        "next_probe_s": 37.0,
    }


def test_the_limits_of_a_suspended_account_blame_no_429() -> None:
    held = BucketLevel(
        37.0, Lines(37, 37, 37, held=True), (0.0,), ACCOUNT.plan, Orders(hold=Order("ann@desk", NOW_S, NOW_S + 60))
    )
    probed = BucketLevel(37.0, Lines(37, 37, 37), (0.0,), ACCOUNT.plan)
    halt = Halt("default", UNAUTHORIZED, 37.0)
    trouble = "  trouble  suspended: Unauthorized, next probe in 37 s; why, and what to do: warrooms status"
    for level, bucket in ((probed, []), (held, ["  bucket   paused by ann@desk"])):
        _, _, *rest = limit_text.account_lines("default", ACCOUNT.plan, outlook(level, halted=True), NOW_S, halt)
        assert rest[0] == trouble
        assert [line.partition(" since")[0] for line in rest[1:-1]] == bucket
    value = limit_text.account_json("default", ACCOUNT.plan, outlook(probed, halted=True), None, halt)
    assert value["trouble"] == halt.as_json()


@pytest.mark.parametrize("pause_s", [0.0, 60.0])
def test_how_long_it_takes_says_whether_a_pause_is_in_it(pause_s: float) -> None:
    level = BucketLevel(pause_s, Lines(pause_s, pause_s, pause_s), (0.0,), plan_of("60/minute"))
    forecast = outlook(level, queued=60)
    assert limit_text.drained(forecast).startswith("the 60 jobs that wait take about ")
    assert limit_text.drained(forecast).endswith("(the pause included)") is bool(pause_s)
    assert limit_text.drained(forecast, plan_of("6/minute")).endswith("(the pause included)") is bool(pause_s)


def test_what_went_out_is_told_with_times_that_have_an_offset() -> None:
    hour = Hour(NOW_S, 7, Most(2, NOW_S), Most(7, NOW_S))
    lines = limit_text.history_lines(History((hour,), ()), ACCOUNT.plan)
    offset = f"{console.local(NOW_S).isoformat()[-6:]}"
    assert [offset in line for line in lines] == [True, True, True, False, True]
    assert len(lines[3]) == len(lines[4])


def test_an_account_that_nobody_works_for_says_so() -> None:
    lonely = view_of(crew=Crew({"celery@a": 240.0}), queued=3)
    text = "\n".join(account_lines(lonely, NOW_S))
    assert f"workers  NONE ALIVE, and 3 jobs wait: {START}" in text
    assert "empty" not in text
    assert account_json(lonely)["drain_s"] is None
    assert "empty    in about" in "\n".join(account_lines(view_of(crew=Crew({"celery@a": 1.0}), queued=3), NOW_S))
    assert "last heard 4 min ago: celery@a" in text
    value = account_json(view_of(crew=Crew({"celery@a": 240.0, "celery@b": 1.0})))
    assert value["workers_alive"] == 1
    assert value["workers"] == [
        {"name": "celery@b", "alive": True, "last_beat_s": 1.0},
        {"name": "celery@a", "alive": False, "last_beat_s": 240.0},
    ]


def test_counters_below_zero_are_shown_as_zero() -> None:
    level = BucketLevel(0.0, Lines(0, 0, 0), (4.0,), ACCOUNT.plan)
    view = AccountView(ACCOUNT, progress(queued=-1), outlook(level), [], [])
    assert "queued 0 urgent + 0 bulk" in "\n".join(account_lines(view, NOW_S))
    assert view.drain_s == 0


def test_a_batch_is_the_sum_over_its_accounts() -> None:
    view = BatchView.of("b", {"eu": progress(queued=1, opened=2), "us": progress(failed=1)})
    assert (view.total, view.finished) == (4, 3)
    assert batch_line(view, NOW_S).startswith("batch b: 3 of 4 done, 1 failed, 1 queued, begun ")
    assert "done by" not in batch_line(view, NOW_S)
    assert batch_line(replace(view, done_by=NOW_S + 61), NOW_S).endswith(" (in 1 min 1 s)")
    assert batch_json(replace(view, done_by=NOW_S))["done_by"] == console.iso(NOW_S)


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome(), Exit.BAD_INPUT),
        (tallied(Status.QUEUED), Exit.DONE),
        (tallied(Status.ALREADY_OPEN), Exit.DONE),
    ],
)
def test_the_exit_code_of_a_bulk_follows_from_what_happened(outcome: Outcome, code: Exit) -> None:
    assert outcome.exit is code


def test_the_gravest_exit_code_wins() -> None:
    outcome = tallied(Status.QUEUED)
    codes = []
    for trouble, value in (
        ("view", Watch().see(Sample(0.0, failed=1))),
        ("bad", 1),
        ("unreachable", "gone"),
        ("interrupted", True),
    ):
        setattr(outcome, trouble, value)
        codes.append(outcome.exit)
    assert codes == [Exit.JOBS_FAILED, Exit.BAD_INPUT, Exit.UNREACHABLE, Exit.INTERRUPTED]


def test_a_summary_says_what_was_done_and_how_to_follow() -> None:
    outcome = tallied(Status.QUEUED, Status.QUEUED, Status.ALREADY_OPEN)
    outcome.bad = 2
    first, second, third = summary_lines(outcome, Request("f"), NOW_S)
    assert first == "batch b: 2 queued, 1 already open, 2 bad lines"
    assert second.endswith("(in 1 min 30 s)")
    assert third == "follow them with: warrooms watch --batch b"


def test_a_batch_of_their_own_that_is_not_used_is_said() -> None:
    outcome = tallied(Status.QUEUED)
    outcome.other_batch = 1
    lines = summary_lines(outcome, Request("f"), NOW_S)
    assert "1 line named another batch; this command counts all under b" in lines


def test_a_dry_run_says_how_long_it_would_take() -> None:
    text = "\n".join(dry_run_lines(Outcome(good={"default": 5000}, bad=1), {"default": ACCOUNT}))
    assert "would queue 5,000 jobs and leave out 1 bad line; nothing was queued" in text
    assert "about 5 min 2 s" in text


def test_nothing_half_done_goes_unsaid() -> None:
    outcome = tallied(Status.QUEUED)
    outcome.broken, outcome.bad = "line 9: is not text", 3
    assert outcome.trouble("f.csv") == [
        "f.csv: line 9: is not text; what came before is queued (1 job)",
        "f.csv has 3 bad lines; the others were queued: correct it and run it again, nothing doubles",
    ]
    assert Outcome(good={"default": 1}, bad=1, withheld=True).trouble("f") == [
        "f has 1 bad line; nothing was queued (--strict)"
    ]
    assert Outcome().trouble("f") == ["f has no job in it"]
    assert "run it again for the rest" in Outcome(interrupted=True).trouble("f")[0]


def test_jobs_that_are_not_on_disk_yet_are_said_and_so_is_an_account_that_is_not_called() -> None:
    outcome = tallied(Status.QUEUED)
    assert outcome.remarks() == []
    outcome.tally.on_disk = False
    outcome.halts = [Halt("default", UNAUTHORIZED, 37.0)]
    halted, unsure = outcome.remarks()
    assert halted.startswith("account default is suspended: Unauthorized (HTTP 401)")
    assert "has not confirmed yet" in unsure
    assert not any("expected to start" in one for one in summary_lines(outcome, Request("f"), NOW_S))
    outcome.tally.on_disk = None
    outcome.halts = []
    assert outcome.remarks() == []


def test_accounts_that_nobody_works_for_are_said_and_no_time_is_promised() -> None:
    outcome = tallied(Status.QUEUED)
    outcome.crews = {"eu": Crew({"celery@a": 240.0}), "us": Crew({"celery@b": 1.0})}
    (sentence,) = outcome.alone()
    assert sentence == f"account eu waits: no worker is alive (last heard 4 min ago: celery@a); {START}"
    assert not any("expected to start" in one for one in summary_lines(outcome, Request("f"), NOW_S))
    nothing_to_do = tallied(Status.ALREADY_OPEN)
    nothing_to_do.crews = outcome.crews
    assert nothing_to_do.alone() == []


def test_how_a_batch_ended_is_said_after_a_wait_only() -> None:
    outcome = tallied(Status.QUEUED)
    assert result_lines(outcome) == []
    outcome.view = Watch().see(Sample(0.0, opened=1))
    assert result_lines(outcome) == ["finished: 1 opened"]


def test_a_pause_names_the_command_that_ends_it_and_no_other_accounts() -> None:
    lines = Lines(60.0, 60.0, 60.0, held=True)
    level = BucketLevel(60.0, lines, (0.0,), plan_of("1000/minute"), Orders(hold=Order("ann", 0.0)))
    assert paused("eu", level, 0.0).endswith("go on with: warrooms limit resume --account eu")
    assert paused("default", level, 0.0).endswith("go on with: warrooms limit resume")
