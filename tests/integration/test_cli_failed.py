"""`warrooms failed …` in a process of its own, against a real Valkey; the ledger plays the worker."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.commands import CLOSED, WARROOMS, fails, job, one_object, opens, queue
from worker.errors import AccountRefused, OutcomeUnknown
from worker.health import Sign
from worker.jobs import JobState
from worker.rate_limit import plan_of
from worker.token_bucket import TokenBucket

if TYPE_CHECKING:
    from tests.commands import Run
    from worker.ledger import Ledger
    from worker.redis_store import RedisStore

TIMEOUT = OutcomeUnknown("no complete answer", code="Timeout")
NEW_CODE = OutcomeUnknown("who knows", code="SolarFlare", status=599)


@pytest.fixture
def failed(run: Run, ledger: Ledger) -> Ledger:
    """Of ten jobs, 1 to 3 are refused, 4 has an unknown outcome, 5 is open, the others are queued."""
    assert callable(run)
    queue(ledger, "outage-42", range(1, 11))
    for number in (1, 2, 3):
        fails(ledger, job(number))
    fails(ledger, job(4), TIMEOUT)
    opens(ledger, job(5))
    return ledger


def states(ledger: Ledger, *numbers: int) -> list[JobState | None]:
    records = (ledger.record(job(number)) for number in numbers)
    return [record.state if record is not None else None for record in records]


def test_the_list_has_a_line_each_the_newest_first_and_a_sum_by_code(run: Run, failed: Ledger) -> None:
    assert failed.progress().waiting
    done = run("failed", "list")
    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert [line.split()[2] for line in lines[:4]] == [job(4), job(3), job(2), job(1)]
    assert lines[3].endswith("  InvalidParameter  1 attempt    the incident is closed")
    assert lines[4:] == [
        "4 dead letters",
        "      3 InvalidParameter  open it again",
        "      1 Timeout           the API or the way to it was not well: wait until it is",
        "1 of them may have opened a room: a replay looks before it opens one",
        "when the cause is mended: warrooms failed replay --code InvalidParameter",
    ]


def test_a_limit_shows_fewer_and_counts_all(run: Run, failed: Ledger) -> None:
    assert failed.progress().waiting
    done = run("failed", "list", "--limit", "1")
    assert done.stdout.count(job(1)[:15]) == 1
    assert "and 3 older ones, not shown because of --limit\n4 dead letters\n" in done.stdout


def test_the_list_for_machines_is_one_object(run: Run, failed: Ledger) -> None:
    assert failed.progress().waiting
    value = one_object(run("failed", "list", "--json", "--code", "invalidparameter"))
    assert set(value) == {"failed_jobs", "total", "by_code", "error"}
    assert [one["job_id"] for one in value["failed_jobs"]] == [job(3), job(2), job(1)]
    assert (value["total"], value["error"]) == (3, None)
    assert value["by_code"] == [{"code": "InvalidParameter", "count": 3, "hint": "open it again"}]
    first = value["failed_jobs"][0]
    assert first["error"] == {
        "code": "InvalidParameter",
        "message": "InvalidParameter (HTTP 400): the incident is closed",
        "hint": "open it again",
        "status": 400,
    }
    assert (first["request_id"], first["attempts"], first["batches"]) == ("req-9", 1, ["outage-42"])
    assert first["first_failed_at"] == first["finished_at"]
    assert first["to_do"] == f"open it again; then queue it again: warrooms failed replay {job(3)}"


def test_nothing_failed_is_said_and_is_an_empty_list(run: Run) -> None:
    done = run("failed", "list")
    assert (done.returncode, done.stdout) == (0, "there is no dead letter\n")
    assert one_object(run("failed", "list", "--json")) == {"failed_jobs": [], "total": 0, "by_code": [], "error": None}


def test_filters_that_let_nothing_through_are_no_error(run: Run, failed: Ledger) -> None:
    for filters in (["--older-than", "1h"], ["--code", "NotJson"], ["--code", "timeout", "--older-than", "1s1h"]):
        done = run("failed", "list", *filters)
        assert (done.returncode, done.stdout) == (0, "no dead letter matches\n")
        for verb in ("replay", "drop"):
            done = run("failed", verb, *filters)
            assert (done.returncode, done.stdout) == (0, f"no dead letter matches; nothing to {verb}\n")
    assert failed.progress().states[JobState.FAILED] == 4


def test_show_takes_a_job_or_an_incident_and_says_everything(run: Run, failed: Ledger) -> None:
    assert failed.progress().waiting
    done = run("failed", "show", job(4).split(".")[1])
    assert done.returncode == 0
    for part in (
        f"{job(4)}: a dead letter\n",
        "reason   no complete answer\n",
        "code     Timeout\n",
        "outcome  unknown",
        f"warrooms failed replay {job(4)}\n",
    ):
        assert part in done.stdout
    value = one_object(run("failed", "show", job(1), "--json"))
    assert value["replay"] == f"warrooms failed replay {job(1)}"
    assert not value["outcome_unknown"]


def test_replay_queues_at_the_end_of_the_lane_with_attempts_anew_and_looks_if_it_must(run: Run, failed: Ledger) -> None:
    done = run("failed", "replay", "--batch", "outage-42")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "replayed 4 dead letters: 3 InvalidParameter, 1 Timeout",
        "account default: 4 jobs at the end of the line, less than 1 s of calls",
        "follow them with: warrooms watch --batch outage-42",
    ]
    waiting = list(failed.unfinished())
    assert [one.job.id for one in waiting] == [job(n) for n in (6, 7, 8, 9, 10, 1, 2, 3, 4)]
    assert [(one.attempts, one.code, one.look_first) for one in waiting[-2:]] == [(0, "", False), (0, "", True)]


def test_a_replay_of_one_job_and_a_few_of_many(run: Run, failed: Ledger) -> None:
    assert run("failed", "replay", job(2)).returncode == 0
    assert states(failed, 1, 2, 3) == [JobState.FAILED, JobState.QUEUED, JobState.FAILED]
    few = one_object(run("failed", "replay", "--all", "--limit", "2", "--json"))
    assert (few["replayed"], few["selected"], few["gone"]) == (2, 2, 0)
    assert states(failed, 1, 3, 4) == [JobState.QUEUED, JobState.QUEUED, JobState.FAILED]


def test_drop_cancels_and_a_dropped_job_is_no_dead_letter_any_more(run: Run, failed: Ledger) -> None:
    done = run("failed", "drop", "--code", "INVALIDPARAMETER", "--newer-than", "1h")
    assert done.returncode == 0
    assert done.stdout.startswith("dropped 3 dead letters: 3 InvalidParameter\n")
    assert states(failed, 1, 2, 3, 4) == [*[JobState.CANCELLED] * 3, JobState.FAILED]
    assert one_object(run("failed", "list", "--json"))["total"] == 1
    assert (
        run("failed", "replay", job(1)).stderr
        == f"warrooms: {job(1)} is no dead letter: cancelled: given up after 1 attempt\n"
    )
    shown = run("status", job(1)).stdout
    assert "state    cancelled: given up after 1 attempt\n" in shown
    assert f"queue it anew: warrooms open {1:024x} --integration 7 --bulk\n" in shown


def test_a_dry_run_changes_nothing(run: Run, failed: Ledger) -> None:
    for verb in ("replay", "drop"):
        done = run("failed", verb, "--all", "--dry-run")
        assert done.returncode == 0
        assert (
            f"dry run: would {verb} 4 dead letters: 3 InvalidParameter, 1 Timeout; nothing was changed" in done.stdout
        )
    value = one_object(run("failed", "drop", "--all", "--dry-run", "--json"))
    assert (value["dropped"], value["selected"], value["dry_run"]) == (0, 4, True)
    assert failed.progress().states[JobState.FAILED] == 4


def test_what_is_no_dead_letter_says_its_state_and_the_others_are_done(run: Run, failed: Ledger) -> None:
    done = run("failed", "replay", job(1), job(5), job(6), job(99), "zz")
    assert done.returncode == 2
    assert done.stdout.startswith("replayed 1 dead letter")
    assert [line.removeprefix("warrooms: ").split(",")[0] for line in done.stderr.splitlines()] == [
        f"{job(5)} is no dead letter: opened",
        f"{job(6)} is no dead letter: queued",
        f"there is no job {job(99)}: never queued",
        "'zz' is neither a job id (account.incident.integration) nor an incident id",
    ]
    assert states(failed, 1) == [JobState.QUEUED]


def test_a_code_that_nobody_documented_is_taken_once_a_dead_letter_has_it(run: Run, failed: Ledger) -> None:
    wrong = run("failed", "list", "--code", "solarflare")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "no dead letter has the code 'solarflare'" in wrong.stderr
    fails(failed, job(6), NEW_CODE)
    assert "1 dead letter\n" in run("failed", "list", "--code", "solarflare").stdout


def test_an_account_that_is_not_called_is_said_after_a_replay(run: Run, failed: Ledger, store: RedisStore) -> None:
    assert failed.progress().waiting
    licence = AccountRefused("no licence", code="NoLicense")
    TokenBucket(store, "default", plan_of("1000/minute")).report(Sign.REFUSED, 0.0, licence)
    done = run("failed", "replay", "--all")
    assert "account default is suspended: NoLicense: no licence; next probe in 5" in done.stdout


@pytest.mark.parametrize(
    ("args", "changes", "code", "sentence"),
    [
        (["failed", "replay"], {}, 2, "every one of them with --all"),
        (["failed", "drop"], {}, 2, "say which dead letters to drop"),
        (["failed", "drop", "--all", job(1)], {}, 2, "--all means every dead letter; leave out the job ids"),
        (["failed", "list", "--older-than", "soon"], {}, 2, "--older-than must be a duration like 30s, 15m, 2h or 3d"),
        (["failed", "list", "--newer-than", "7"], {}, 2, "did you mean 7s or 7m?"),
        (["failed", "list", "--older-than", "2h", "--newer-than", "1h"], {}, 2, "nothing is older than '2h'"),
        (["failed", "list", "--batch", "outage-43"], {}, 2, "no batch 'outage-43' (or it was forgotten after the"),
        (["failed", "replay", "--batch", "outage-43"], {}, 2, "known ones: outage-42"),
        (["failed", "list", "--code", "Timeut"], {}, 2, "did you mean Timeout?"),
        (["failed", "list", "--limit", "0"], {}, 2, "'--limit'"),
        (["failed", "list", "--account", "x"], {}, 2, "known accounts: default"),
        (["failed", "show", job(5)], {}, 2, f"is no dead letter: opened; see: warrooms status {job(5)}"),
        (["failed", "show", job(99)], {}, 2, "never queued, or forgotten"),
        (["failed", "show", "outage-42"], {}, 2, "'outage-42' is a batch: give --batch outage-42"),
        (["failed", "show", "x.1.2"], {}, 2, "is no job id"),
        (
            ["failed", "show", f"eu.{1:024x}.7"],
            {},
            2,
            "that job is of account 'eu', and this command looks at: default",
        ),
        (["failed", "lits"], {}, 2, "no such command 'lits'"),
        (["failed", "list"], {"REDIS_URL": "redis://127.0.0.1:1/0"}, 3, "cannot reach Redis"),
        (["failed", "replay", "--all"], {"REDIS_URL": "redis://127.0.0.1:1/0"}, 3, "cannot reach Redis"),
    ],
)
def test_misuse_is_said_in_one_sentence(
    run: Run, env: dict[str, str], failed: Ledger, args: list[str], changes: dict[str, str], code: int, sentence: str
) -> None:
    done = run(*args, env=env | changes)
    assert (done.returncode, done.stdout) == (code, "")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert failed.progress().states[JobState.FAILED] == 4


def test_a_list_whose_reader_goes_away_ends_quietly(run: Run, env: dict[str, str], ledger: Ledger) -> None:
    assert callable(run)
    queue(ledger, "b", range(1, 401))
    for number in range(1, 401):
        fails(ledger, job(number), CLOSED)
    for option in ([], ["--json"]):
        reader, writer = os.pipe()
        os.close(reader)
        command = [WARROOMS, "failed", "list", *option]
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=env, timeout=30, check=False)
        os.close(writer)
        assert (done.returncode, done.stderr) == (141, b"")


def test_a_replay_whose_reader_goes_away_is_done_all_the_same(run: Run, env: dict[str, str], failed: Ledger) -> None:
    assert callable(run)
    reader, writer = os.pipe()
    os.close(reader)
    command = [WARROOMS, "failed", "replay", "--all"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=env, timeout=30, check=False)
    os.close(writer)
    assert done.returncode == 141
    assert failed.progress().states[JobState.FAILED] == 0
