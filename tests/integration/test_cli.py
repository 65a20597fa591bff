"""The real command in a process of its own, against a real Valkey; the ledger plays the worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.commands import ID, JOB, WARROOMS, fails, ids, job, one_object, opens
from worker.jobs import JobState

if TYPE_CHECKING:
    from pathlib import Path

    from tests.commands import Run
    from worker.ledger import Ledger
    from worker.redis_store import RedisStore


def test_open_queues_an_urgent_job_then_says_that_it_is_known_then_links_its_room(run: Run, ledger: Ledger) -> None:
    ledger.beat("celery@a")
    first, second = run("open", ID.upper()), run("open", ID)
    assert (first.returncode, second.returncode) == (0, 0)
    assert first.stdout.startswith(f"queued (urgent): {JOB}, next in line, expected to start ")
    assert first.stderr == ""
    assert second.stdout == f"already queued (urgent): {JOB}, waits for its turn\n"
    opens(ledger, JOB, name="\x1b[31mred")
    assert run("open", ID).stdout == "already open: https://im.example/1\n"
    shown = run("status", ID)
    assert "\\x1b[31mred" in shown.stdout
    assert shown.returncode == 0


def test_open_waits_for_the_room_and_prints_its_link(run: Run, ledger: Ledger, env: dict[str, str]) -> None:
    command = [WARROOMS, "open", ID, "--bulk", "--wait", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) as waiting:
        # The first wait is for the enqueue, which has made the record when a second enqueue finds it.
        assert run("open", ID).returncode == 0
        opens(ledger, JOB)
        out, _ = waiting.communicate(timeout=20)
    assert waiting.returncode == 0
    assert json.loads(out)["room"]["share_link"] == "https://im.example/1"


def test_open_that_waits_in_vain_exits_1_and_says_how_to_go_on(run: Run, ledger: Ledger) -> None:
    late = run("open", ID, "--timeout", "0")
    assert (late.returncode, late.stdout) == (1, "")
    assert late.stderr.endswith(
        f"the job is still queued after 0 s and goes on; follow it with: warrooms status {JOB}\n"
    )
    fails(ledger, JOB)
    failed = run("status", JOB)
    assert failed.returncode == 1
    assert f"open it again; then queue it again: warrooms failed replay {JOB}\n" in failed.stdout


def test_bulk_queues_the_good_lines_and_names_the_bad_ones(run: Run, ledger: Ledger) -> None:
    done = run("bulk", "-", "--batch", "b", stdin="\ufeff" + ids(3) + "zzz\n" + ids(1))
    assert done.returncode == 2
    assert done.stdout.startswith("batch b: 3 queued, 1 already queued, 1 bad line\n")
    assert "follow them with: warrooms watch --batch b\n" in done.stdout
    assert "line 4: incident_id must be 24 hexadecimal digits" in done.stderr
    assert "the others were queued" in done.stderr
    batch = ledger.batch("b")
    assert batch is not None
    assert batch.states[JobState.QUEUED] == 3


def test_strict_bulk_from_a_pipe_queues_all_or_nothing(run: Run, ledger: Ledger) -> None:
    bad = run("bulk", "-", "--strict", stdin=ids(2) + "zzz\n")
    assert bad.returncode == 2
    assert bad.stderr.endswith("nothing was queued (--strict)\n")
    assert ledger.progress().total == 0
    good = run("bulk", "-", "--strict", "--json", stdin=ids(2))
    assert good.returncode == 0
    assert one_object(good)["queued"] == 2
    assert ledger.progress().total == 2


@pytest.mark.parametrize("how", ["--strict", "--dry-run"])
def test_ctrl_c_before_anything_is_queued_says_so(run: Run, ledger: Ledger, env: dict[str, str], how: str) -> None:
    assert callable(run)
    pipe = subprocess.PIPE
    with subprocess.Popen([WARROOMS, "bulk", "-", how], stdin=pipe, stdout=pipe, stderr=pipe, env=env) as checking:
        assert checking.stdin is not None
        checking.stdin.write(ids(20_000).encode())  # more than a pipe holds: when it is through, somebody reads
        checking.stdin.flush()
        checking.send_signal(signal.SIGINT)
        out, err = checking.communicate(timeout=10)
    assert (checking.returncode, out) == (130, b"")
    assert err.decode().endswith("warrooms: stopped; nothing was queued\n")
    assert ledger.progress().total == 0


def test_only_twenty_bad_lines_are_shown_unless_all_are_asked_for(run: Run) -> None:
    bad = ids(1) + "x\x1b]0;evil\x07\n" * 30
    few, every = run("bulk", "-", "--dry-run", stdin=bad), run("bulk", "-", "--dry-run", "--verbose", stdin=bad)
    assert few.stderr.count("line ") == 20
    assert every.stderr.count("line ") == 30
    assert "\x1b" not in every.stderr
    listed = one_object(run("bulk", "-", "--dry-run", "--json", stdin=bad))
    assert [bad["line"] for bad in listed["bad_lines"]] == list(range(2, 32))


def test_a_dry_run_needs_no_redis(run: Run, env: dict[str, str]) -> None:
    done = run("bulk", "-", "--dry-run", stdin=ids(1000), env=env | {"REDIS_URL": "redis://127.0.0.1:1/0"})
    assert done.returncode == 0
    assert "would queue 1,000 jobs; nothing was queued" in done.stdout
    assert "about 1 min at" in done.stdout


def test_what_came_before_a_binary_part_is_queued_and_what_was_not_read_is_said(run: Run, ledger: Ledger) -> None:
    done = run("bulk", "-", stdin=ids(2).encode() + b"\x7fELF\0\0\n" * 9)
    assert done.returncode == 2
    assert "standard input: line 5: has a NUL byte" in done.stderr
    assert "the rest was not read; what came before is queued (2 jobs)" in done.stderr
    assert ledger.progress().total == 2


def test_a_stray_nul_byte_costs_its_line_only(run: Run, ledger: Ledger) -> None:
    done = run("bulk", "-", stdin=ids(2) + "\0\n" + f"{3:024x}\n")
    assert done.returncode == 2
    assert "line 3: has a NUL byte at position 1" in done.stderr
    assert ledger.progress().total == 3


def test_a_reader_of_errors_that_goes_away_does_not_stop_the_queueing(
    run: Run, env: dict[str, str], ledger: Ledger, tmp_path: Path
) -> None:
    assert callable(run)
    file = tmp_path / "ids.txt"
    file.write_text(ids(1) + "zzz\n" * 5000 + ids(900))
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([WARROOMS, "bulk", str(file)], stdout=writer, stderr=writer, env=env, timeout=30, check=False)
    os.close(writer)
    assert done.returncode == 141
    assert ledger.progress().total == 900


def test_bulk_waits_for_its_batch_and_reports_failures(run: Run, ledger: Ledger) -> None:
    assert run("bulk", "-", "--batch", "b", stdin=ids(3)).returncode == 0
    opens(ledger, job(1))
    fails(ledger, job(2))
    opens(ledger, job(3))
    watched = run("watch", "--batch", "b")
    assert watched.returncode == 1
    assert "3 of 3 done, 1 failed\nfinished: 2 opened, 1 failed\n" in watched.stdout
    assert "the incident is closed" in watched.stdout
    status = run("status", "--batch", "b", "--json")
    assert status.returncode == 1
    assert one_object(status)["failed_jobs"][0]["job_id"] == job(2)
    plain = run("bulk", "-", "--wait", "--batch", "c", stdin=f"{1:024x}\n{3:024x}\n")
    assert plain.stdout == "batch c: 0 queued, 2 already open\nfinished: 2 opened\n", "each line once"
    assert plain.stderr == "2 of 2 done\n"
    again = run("bulk", "-", "--wait", "--json", stdin=f"{1:024x}\n{3:024x}\n")
    assert again.returncode == 0
    assert one_object(again)["result"] == {"opened": 2, "found": 0, "failed": 0, "cancelled": 0}


def test_watch_goes_on_until_the_last_job_is_finished(run: Run, ledger: Ledger, env: dict[str, str]) -> None:
    run("bulk", "-", "--batch", "b", stdin=ids(2))
    command = [WARROOMS, "watch", "--json", "--every", "0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) as watching:
        assert watching.stdout is not None
        first = json.loads(watching.stdout.readline())
        opens(ledger, job(1))
        opens(ledger, job(2))
        last = json.loads(watching.stdout.read().splitlines()[-1])
    assert watching.returncode == 0
    assert (first["done"], first["finished"]) == (0, False)
    assert (last["done"], last["total"], last["finished"]) == (2, 2, True)


def test_ctrl_c_ends_the_watching_only(run: Run, ledger: Ledger, env: dict[str, str]) -> None:
    run("open", ID)
    pipe = subprocess.PIPE
    with subprocess.Popen([WARROOMS, "watch"], stdout=pipe, stderr=pipe, env=env, text=True) as watching:
        assert watching.stdout is not None
        assert watching.stdout.readline().startswith("0 of 1 done")
        watching.send_signal(signal.SIGINT)
        _, err = watching.communicate(timeout=10)
    assert watching.returncode == 130
    assert err == "warrooms: stopped watching; the jobs go on, look again with: warrooms watch\n"
    assert ledger.progress().waiting == 1


def test_status_shows_the_accounts(run: Run, ledger: Ledger) -> None:
    run("bulk", "-", "--batch", "b", stdin=ids(3))
    fails(ledger, job(1))
    text = run("status").stdout
    assert "queued 0 urgent + 2 bulk" in text
    assert "batch b: 1 of 3 done, 1 failed, 2 queued" in text
    assert "the incident is closed" in text
    (account,) = one_object(run("status", "--json"))["accounts"]
    assert account["queued"] == {"urgent": 0, "bulk": 2}
    assert account["limit"]["allowed_per_minute"] == 1000


@pytest.mark.parametrize(
    ("args", "changes", "code", "sentence"),
    [
        (["opne"], {}, 2, "no such command 'opne'"),
        (["open"], {}, 2, "missing argument 'INCIDENT_ID'"),
        (["open", ID[:-1] + "g"], {}, 2, "with 'g' at position 24"),
        (["open", ID, "--integration", str(2**63)], {}, 2, "'--integration'"),
        (["open", ID], {"FLASHDUTY_INTEGRATION_ID": ""}, 2, "set FLASHDUTY_INTEGRATION_ID or give --integration"),
        (["open", ID, "--account", "x"], {}, 2, "--account 'x' is not known; known accounts: default"),
        (["open", ID], {"REDIS_URL": "redis://127.0.0.1:1/0"}, 3, "cannot reach Redis at 127.0.0.1:1/0"),
        (["status"], {"REDIS_URL": "nonsense"}, 2, "REDIS_URL is no Redis address"),
        (["status"], {"WARROOMS_RATES": "often"}, 2, "'often' is no list of rates"),
        (["status", "hello"], {}, 2, "'hello' is neither a job id"),
        (["status", ID], {}, 2, f"there is no job {JOB}"),
        (["status", "--batch", "b"], {}, 2, "there is no batch 'b'"),
        (["watch", "--batch", "a b"], {}, 2, "--batch must be 1 to 100 letters"),
        (["bulk", "missing.csv"], {}, 2, "cannot read missing.csv: no such file or directory"),
        (["bulk", "."], {}, 2, "cannot read .: is a directory"),
        (["bulk", "-"], {}, 2, "standard input: is empty: no job in it"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    run: Run, env: dict[str, str], args: list[str], changes: dict[str, str], code: int, sentence: str
) -> None:
    done = run(*args, env=env | changes)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("warrooms: ")
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_wrong_password_is_named_and_not_shown(run: Run, env: dict[str, str], store: RedisStore) -> None:
    store.client.acl_setuser("oncall", enabled=True, passwords=["+right"])
    wrong = env["REDIS_URL"].replace("//", "//oncall:wr0ng@")
    done = run("open", ID, env=env | {"REDIS_URL": wrong})
    store.client.acl_deluser("oncall")
    assert done.returncode == 3
    assert "refuses the password" in done.stderr
    assert "wr0ng" not in done.stderr


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from producers.cli import main; main(['--help']); "
        "print(sorted({'celery', 'kombu', 'redis', 'pydantic', 'limits', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.endswith("[]\n")
    for command in ("open", "bulk", "status", "watch", "cancel", "failed", "limit", "doctor", "demo", "up", "sandbox"):
        assert f"\n  {command} " in done.stdout
