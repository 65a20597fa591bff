"""What the commands say of an account that is down or suspended, and of its workers; and `warrooms limit resume`."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from producers.crew import START
from tests.commands import ID, JOB, WARROOMS, calls, claim, ids, job, one_object, opens
from worker.errors import AccountRefused, OutcomeUnknown
from worker.health import Level, Sign
from worker.rate_limit import plan_of
from worker.token_bucket import TokenBucket

if TYPE_CHECKING:
    from pathlib import Path

    from tests.commands import Run
    from worker.ledger import Ledger
    from worker.redis_store import RedisStore

REVOKED = AccountRefused(
    "the app key is not valid", code="Unauthorized", status=401, hint="check the app key", request_id="req-1"
)
GATEWAY = OutcomeUnknown("the answer is not the API's JSON", code="NotJson", status=502)


@pytest.fixture
def bucket(store: RedisStore) -> TokenBucket:
    return TokenBucket(store, "default", plan_of("50/second;1000/minute"))


def suspend(bucket: TokenBucket) -> None:
    assert bucket.report(Sign.REFUSED, 0.0, REVOKED).level is Level.SUSPENDED


def down(bucket: TokenBucket) -> None:
    levels = [bucket.report(Sign.UNWELL, 0.0, GATEWAY).level for _ in range(5)]
    assert levels[-1] is Level.DOWN


def test_status_says_why_an_account_is_suspended_and_what_to_do(run: Run, bucket: TokenBucket) -> None:
    run("bulk", "-", stdin=ids(3))
    suspend(bucket)
    text = run("status").stdout
    assert "account default\n  SUSPENDED: Unauthorized (HTTP 401): the app key is not valid\n" in text
    assert "no probe yet; next probe in 5" in text
    assert "check the app key; it resumes by itself" in text
    assert "with: warrooms limit resume\n" in text
    assert "429" not in text
    (account,) = one_object(run("status", "--json"))["accounts"]
    trouble = account["trouble"]
    assert (trouble["state"], trouble["code"], trouble["probes"]) == ("suspended", "Unauthorized", 0)
    assert (trouble["hint"], trouble["request_id"]) == ("check the app key", "req-1")
    assert 30 < trouble["next_probe_s"] <= 55
    assert account["drain_s"] is None


def test_status_says_that_the_api_is_down_and_asks_for_nothing(run: Run, bucket: TokenBucket) -> None:
    down(bucket)
    text = run("status").stdout
    assert "  DOWN: NotJson (HTTP 502): the answer is not the API's JSON\n" in text
    assert "the next job that is queued is the probe" in text
    assert "jobs wait and lose no attempts" in text


def test_an_account_that_is_well_has_no_trouble(run: Run) -> None:
    (account,) = one_object(run("status", "--json"))["accounts"]
    assert (account["trouble"], account["workers_alive"], account["workers"]) == (None, 0, [])


def test_status_says_plainly_when_no_worker_lives(run: Run, ledger: Ledger, store: RedisStore) -> None:
    assert "workers  none alive\n" in run("status").stdout
    run("bulk", "-", stdin=ids(3))
    assert f"workers  NONE ALIVE, and 3 jobs wait: {START}\n" in run("status").stdout
    assert "empty" not in run("status").stdout
    assert one_object(run("status", "--json"))["accounts"][0]["drain_s"] is None
    ledger.beat("celery@a")
    ledger.beat("celery@b")
    store.client.zincrby("warrooms:{default}:workers", -60_000, "celery@b")
    assert "workers  1 alive\n  empty    in about 1 s\n" in run("status").stdout
    (account,) = one_object(run("status", "--json"))["accounts"]
    assert account["workers_alive"] == 1
    assert [(one["name"], one["alive"]) for one in account["workers"]] == [("celery@a", True), ("celery@b", False)]


def test_open_and_bulk_say_that_no_worker_lives_and_promise_no_start(run: Run, ledger: Ledger) -> None:
    alone = f"account default waits: no worker is alive; {START}\n"
    opened, queued = run("open", ID), run("bulk", "-", stdin=ids(2))
    assert (opened.returncode, queued.returncode) == (0, 0)
    assert opened.stdout == f"queued (urgent): {JOB}, next in line, waits for a worker\n"
    assert (opened.stderr, queued.stderr) == (alone, alone)
    assert "expected to start" not in queued.stdout
    for args, alive in ((("open", ID), 0), (("bulk", "-"), {"default": 0})):
        done = run(*args, "--json", stdin=ids(2))
        assert one_object(done)["workers_alive"] == alive
        assert done.stderr == alone
    ledger.beat("celery@a")
    assert run("open", ID).stderr == ""
    again = run("bulk", "-", stdin=ids(3))
    assert "the last one is expected to start" in again.stdout
    assert again.stderr == ""


def test_open_that_waits_says_once_that_no_worker_lives(run: Run) -> None:
    done = run("open", ID, "--timeout", "0.6")
    assert done.returncode == 1
    assert done.stderr.count("no worker is alive") == 1


def test_what_is_open_already_needs_no_worker(run: Run, ledger: Ledger) -> None:
    run("open", ID)
    opens(ledger, JOB)
    assert run("open", ID).stderr == ""
    assert run("bulk", "-", stdin=ID).stderr == ""


def test_status_of_a_job_names_the_worker_that_has_it_in_hand(run: Run, ledger: Ledger) -> None:
    run("bulk", "-", stdin=ids(2))
    claim(ledger, job(1), "celery@a")
    text = run("status", job(1)).stdout
    assert "state    in a worker's hands, waits for its slot\n  worker   celery@a\n" in text
    calls(ledger, job(2))
    assert "state    opening, attempt 1\n  worker   test\n" in run("status", job(2)).stdout
    assert one_object(run("status", job(1), "--json"))["worker"] == "celery@a"


def test_watch_says_suspended_instead_of_429_and_ctrl_c_still_ends_it(
    run: Run, bucket: TokenBucket, ledger: Ledger, env: dict[str, str]
) -> None:
    run("open", ID)
    suspend(bucket)
    ledger.beat("celery@a")
    with subprocess.Popen([WARROOMS, "watch"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env) as watching:
        assert watching.stdout is not None
        first = watching.stdout.readline().decode()
        watching.send_signal(signal.SIGINT)
        watching.communicate(timeout=10)
    assert watching.returncode == 130
    assert first.startswith("0 of 1 done, suspended: Unauthorized, next probe in ")


def test_watch_for_machines_has_the_halts_and_the_workers(run: Run, bucket: TokenBucket, env: dict[str, str]) -> None:
    run("open", ID)
    down(bucket)
    with subprocess.Popen([WARROOMS, "watch", "--json"], stdout=subprocess.PIPE, env=env) as watching:
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        watching.kill()
    assert (first["workers_alive"], first["left_s"]) == (0, None)
    assert [(halt["state"], halt["code"]) for halt in first["halts"]] == [("down", "NotJson")]


def test_open_promises_no_start_while_the_account_is_suspended(run: Run, bucket: TokenBucket) -> None:
    suspend(bucket)
    done = run("open", ID)
    assert done.stdout == f"queued (urgent): {JOB}, next in line, waits until its account is called again\n"
    assert (
        "account default is suspended: Unauthorized (HTTP 401): the app key is not valid; next probe in" in done.stderr
    )
    waited = run("open", ID, "--timeout", "0.5")
    assert waited.returncode == 1
    assert waited.stderr.count("account default is suspended") == 1


def test_bulk_says_that_its_jobs_wait_for_a_suspended_account(run: Run, bucket: TokenBucket) -> None:
    suspend(bucket)
    done = run("bulk", "-", stdin=ids(2))
    assert done.returncode == 0
    assert "expected to start" not in done.stdout
    assert "account default is suspended" in done.stderr
    value = one_object(run("bulk", "-", "--json", stdin=ids(2)))
    assert [halt["code"] for halt in value["halts"]] == ["Unauthorized"]
    assert value["on_disk"] is None


def test_resume_lifts_a_suspension_and_says_what_it_was(run: Run, bucket: TokenBucket) -> None:
    run("bulk", "-", stdin=ids(2))
    suspend(bucket)
    done = run("limit", "resume")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "account default is called again; it was suspended: Unauthorized (HTTP 401): the app key is not valid",
        "2 jobs that waited go on now; if the API still refuses it, the next call suspends it again and no job is lost",
        f"workers: NONE ALIVE, and 2 jobs wait: {START}",
    ]
    assert bucket.trouble() is None
    assert bucket.peek().lines.pause_s == 0


def test_resume_for_machines_of_one_account(run: Run, bucket: TokenBucket) -> None:
    down(bucket)
    (was,) = one_object(run("limit", "resume", "--account", "default", "--json"))["accounts"]
    assert (was["account"], was["resumed"], was["was"]["state"]) == ("default", True, "down")
    (is_,) = one_object(run("limit", "resume", "--json"))["accounts"]
    assert is_ == {"account": "default", "resumed": False, "was": None, "was_paused": False}


def test_resume_of_an_account_that_is_called_changes_nothing_not_even_a_429s_pause(
    run: Run, bucket: TokenBucket
) -> None:
    assert (
        run("limit", "resume").stdout
        == "account default is neither suspended nor down nor paused by a person; nothing was changed\n"
    )
    bucket.penalty(30.0)
    done = run("limit", "resume")
    assert done.returncode == 0
    assert "the API said 429, that stays; nothing was changed" in done.stdout
    assert bucket.peek().lines.pause_s > 20


@pytest.mark.parametrize(
    ("args", "changes", "code", "sentence"),
    [
        (["limit", "resume", "--account", "x"], {}, 2, "known accounts: default"),
        (["limit", "resmue"], {}, 2, "no such command 'resmue'"),
        (["limit", "resume"], {"REDIS_URL": "redis://127.0.0.1:1/0"}, 3, "cannot reach Redis"),
    ],
)
def test_misuse_is_said_in_one_sentence(
    run: Run, env: dict[str, str], args: list[str], changes: dict[str, str], code: int, sentence: str
) -> None:
    done = run(*args, env=env | changes)
    assert (done.returncode, done.stdout) == (code, "")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_pause_that_a_person_must_end_has_no_length_for_machines(run: Run, bucket: TokenBucket) -> None:
    run("open", ID)
    bucket.hold("ann")
    (account,) = one_object(run("status", "--json"))["accounts"]
    assert (account["bucket"]["pause_s"], account["bucket"]["next_slot_s"]) == (None, None)
    assert (account["paused"]["by"], account["paused"]["until"]) == ("ann", None)
    explained = one_object(run("explain", JOB, "--json"))
    assert (explained["pause_s"], explained["paused"]["by"], explained["starts_at"]) == (None, "ann", None)
    bucket.hold("ann", for_s=60)
    (account,) = one_object(run("status", "--json"))["accounts"]
    assert 50 < account["bucket"]["pause_s"] <= 60
    assert account["paused"]["until"]


def test_an_account_that_is_suspended_and_paused_by_a_person_gets_no_probe_and_says_so(
    run: Run, bucket: TokenBucket
) -> None:
    run("open", ID)
    suspend(bucket)
    bucket.hold("ann")
    shown, explained = run("status").stdout, run("explain", JOB).stdout
    assert "no probe: a person has paused the account" in shown
    assert "paused by ann" in shown
    assert "paused by ann" in explained
    assert "next probe in" not in shown + explained
    (account,) = one_object(run("status", "--json"))["accounts"]
    assert account["trouble"]["next_probe_s"] is None
    assert "suspended: Unauthorized (HTTP 401): the app key is not valid; it was paused by a person" in (
        run("limit", "resume").stdout
    )


def test_a_resume_of_a_persons_pause_says_nothing_of_the_api(run: Run, bucket: TokenBucket) -> None:
    bucket.hold("ann")
    assert run("limit", "resume").stdout.splitlines()[:2] == [
        "account default is called again; it was paused by a person",
        "no job waits for it",
    ]


@pytest.mark.parametrize("command", [("open", ID), ("bulk", "-")])
def test_who_hands_in_jobs_is_told_of_a_persons_pause(run: Run, bucket: TokenBucket, command: tuple[str, ...]) -> None:
    bucket.hold("ann")
    assert "account default is paused by ann" in run(*command, stdin=ids(2)).stderr


def test_who_waits_for_a_job_is_told_when_a_person_pauses_the_account(run: Run, bucket: TokenBucket) -> None:
    bucket.hold("ann")
    waited = run("open", ID, "--timeout", "1.2")
    assert waited.stderr.count("account default is paused by ann") == 1
    assert "waits until its account is called again" in waited.stderr


def test_of_several_accounts_a_resume_ends_the_pause_of_the_one_that_is_named(
    run: Run, store: RedisStore, env: dict[str, str], tmp_path: Path
) -> None:
    accounts = tmp_path / "accounts.toml"
    accounts.write_text('[accounts.eu]\napp_key_env = "K"\n[accounts.us]\napp_key_env = "K"\n')
    several = env | {"WARROOMS_ACCOUNTS_FILE": str(accounts), "K": "k"}
    eu = TokenBucket(store, "eu", plan_of("50/second;1000/minute"))
    eu.hold("ann")
    suspend(eu)
    said = run("limit", "resume", env=several).stdout
    assert "account eu stays paused by ann since " in said
    assert "go on with: warrooms limit resume --account eu; it was suspended: Unauthorized" in said
    assert "account us is neither suspended nor down nor paused by a person; nothing was changed" in said
    assert (eu.peek().lines.held, eu.trouble()) == (True, None)
    done = run("limit", "resume", "--account", "eu", env=several)
    assert done.stdout.startswith("account eu is called again; it was paused by a person\n")
    assert not eu.peek().lines.held
