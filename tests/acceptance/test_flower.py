"""`celery -A worker flower` as it stands in the Procfile: who may see it, and what a person reads there."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import httpx
import pytest
from flower.urls import handlers

from producers.checkup.permissions import RULE
from sandbox.stack import INTEGRATION_ID, ROOT, until
from worker.jobs import Lane

from .house import RAISED, House
from .test_foreign_clients import _by_hand
from .watched import PASSWORD, Watched

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from worker.jobs import WarRoomJob

REDIS_PASSWORD: Final = "p@ss/w:rd?50%"
QUEUES: Final = ("warrooms.default", "warrooms.default.urgent", "warrooms.other", "warrooms.other.urgent")
WITHOUT_KEYS: Final = {"FLASHDUTY_APP_KEY": None, "KEY_OF_OTHER": None}


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("accounts")
    file = folder / "accounts.toml"
    file.write_text(
        f'[accounts.default]\napp_key_env = "FLASHDUTY_APP_KEY"\nrates = "{RAISED}"\n'
        f"integration_id = {INTEGRATION_ID}\n"
        f'[accounts.other]\napp_key_env = "KEY_OF_OTHER"\nrates = "{RAISED}"\n'
    )
    return file


@pytest.fixture(scope="module")
def place(accounts: Path) -> Iterator[House]:
    """Two accounts, a worker, and a user of Redis who may do what need be, with a password that begs to be mangled."""
    with House(
        api=("--app-key", "sandbox-key=sandbox", "--app-key", "key-of-other=other"),
        env={"WARROOMS_ACCOUNTS_FILE": str(accounts), "KEY_OF_OTHER": "key-of-other"},
        settings={"accounts_file": accounts},
    ) as house:
        acl: Any = house.stack.redis.execute_command
        acl("ACL", "SETUSER", "desk", "on", f">{REDIS_PASSWORD}", *RULE.split())
        desk = f"redis://desk:{quote(REDIS_PASSWORD, safe='')}@"
        house.stack.worker_redis_url = house.stack.redis_url.replace("redis://", desk)
        house.start_workers(1)
        yield house


@pytest.fixture(scope="module")
def flower(place: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One that has no app key of any account."""
    with Watched(place.stack.env, tmp_path_factory.mktemp("flower"), more=WITHOUT_KEYS) as watched:
        watched.wait_for_workers(1)
        yield watched


def _refused(env: Mapping[str, str | None], *options: str) -> subprocess.CompletedProcess[str]:
    """One that does not start: Redis is not asked before that."""
    clean = {"PATH": "/usr/bin:/bin", **{name: value for name, value in env.items() if value is not None}}
    command = [sys.executable, "-m", "celery", "-A", "worker", "flower", "--port=0", *options]
    return subprocess.run(command, env=clean, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


SECRET: Final = "s3cret"
REFUSED: Final[tuple[tuple[dict[str, str], tuple[str, ...], str], ...]] = (
    ({}, (), "Flower does not start without a password"),
    ({"FLOWER_BASIC_AUTH": SECRET}, (), "must be written user:password"),
    ({"FLOWER_BASIC_AUTH": f"me:{SECRET},{SECRET}"}, (), "a comma begins the next pair"),
    ({"FLOWER_BASIC_AUTH": f"me:{SECRET}\N{SNOWMAN}"}, (), "in ASCII"),
    ({"FLOWER_BASIC_AUTH": ""}, (), "must be written user:password"),
    ({}, ("--basic-auth=me:",), "must be written user:password"),
    ({"WARROOMS_FLOWER_PASSWORD_FILE": "/nowhere/password"}, (), "No such file or directory"),
    ({"WARROOMS_FLOWER_OPEN": "perhaps"}, (), "WARROOMS_FLOWER_OPEN"),
)


@pytest.mark.parametrize(("env", "options", "why"), REFUSED)
def test_it_refuses_to_start_without_a_password_in_one_sentence(
    env: dict[str, str], options: tuple[str, ...], why: str
) -> None:
    done = _refused(env, *options)
    (sentence,) = done.stderr.strip().splitlines()
    assert (done.returncode, sentence[:10]) == (2, "warrooms: ")
    assert why in sentence
    assert SECRET not in done.stdout + done.stderr


def test_where_it_cannot_listen_it_says_so_in_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = _refused({"WARROOMS_FLOWER_OPEN": "yes"}, f"--port={port}")
    where = f"127.0.0.1 port {port}: Address already in use"
    assert done.stderr == f"warrooms: Flower cannot listen on {where}; choose others with --address and --port\n"
    assert done.returncode == 2


def test_only_whoever_knows_the_password_sees_anything_metrics_included(flower: Watched) -> None:
    paths = ["/", "/workers", "/tasks", "/broker", "/metrics", "/api/workers", "/api/tasks", "/api/queues/length"]
    assert {path: flower.anybody.get(path).status_code for path in paths} == dict.fromkeys(paths, 401)
    assert {path: flower.somebody.get(path).status_code for path in paths} == dict.fromkeys(paths, 200)
    assert "flower_worker_online" in flower.get("/metrics").text
    wrong = httpx.get(f"{flower.url}/metrics", auth=("warrooms", "wrong"), trust_env=False)
    assert (wrong.status_code, wrong.text) == (401, "Access denied")
    healthy = flower.anybody.get("/healthcheck")
    assert (healthy.status_code, healthy.text) == (200, "OK"), "for what watches over processes; it tells nothing"


def test_whatever_else_it_answers_strangers_tells_nothing(flower: Watched) -> None:
    public = {"/login/?", "/logout", "/healthcheck", "/static/(.*)", ".*"}
    for handler in handlers:
        pattern = handler[0] if isinstance(handler, tuple) else handler.regex.pattern.rstrip("$")
        path = re.sub(r"\(.*?\)", "x", pattern)
        if pattern not in public:
            codes = {flower.anybody.get(path).status_code, flower.anybody.post(path).status_code}
            assert codes <= {401, 405}, pattern


def test_it_only_shows(flower: Watched) -> None:
    """Even to those who have logged in."""
    doing = [handler[0] for handler in handlers if isinstance(handler, tuple) and "control" in handler[1].__module__]
    doing += [f"/api/task/{what}/(.+)" for what in ("apply", "async-apply", "send-task", "abort")]
    answers = {path: flower.somebody.post(path.replace("(.+)", "x")).status_code for path in doing}
    assert len(answers) == 14
    assert answers == dict.fromkeys(doing, 403)


def test_it_listens_on_loopback_unless_told_otherwise(flower: Watched) -> None:
    assert flower.url.startswith("http://127.0.0.1:")
    port = int(flower.url.rpartition(":")[2])
    with socket.create_server(("127.0.0.2", port)):
        pass  # free: it took one address, not all of the machine


def test_what_a_person_says_wins_over_our_defaults(place: House, tmp_path: Path) -> None:
    mine = {"FLOWER_BASIC_AUTH": "me:mine", "FLOWER_READ_ONLY": "false"}
    with Watched(place.stack.env, tmp_path, "--address=127.0.0.2", more=mine) as watched:
        assert watched.url.startswith("http://127.0.0.2:")
        assert watched.somebody.get("/metrics").status_code == 401
        with httpx.Client(base_url=watched.url, auth=("me", "mine"), trust_env=False) as me:
            assert me.get("/metrics").status_code == 200
            assert me.post("/api/worker/shutdown/nobody").status_code == 404, "no such worker, but it would have"


def test_one_that_shall_be_open_is_and_says_so(place: House, tmp_path: Path) -> None:
    wanted = {"WARROOMS_FLOWER_PASSWORD_FILE": None, "WARROOMS_FLOWER_OPEN": "yes"}
    with Watched(place.stack.env, tmp_path, more=wanted) as watched:
        assert watched.anybody.get("/tasks").status_code == 200
        assert "Flower is open to whoever reaches it: WARROOMS_FLOWER_OPEN says so" in watched.log()


def test_each_account_has_two_queues_with_their_lengths_whether_a_worker_reads_them_or_not(
    place: House, flower: Watched, tmp_path: Path
) -> None:
    assert flower.lengths() == dict.fromkeys(QUEUES, 0)
    with Watched(place.stack.env, tmp_path, more=WITHOUT_KEYS) as late:
        place.fresh()
        (worker,) = place.stack.workers
        worker.freeze()
        try:
            place.enqueue(*place.jobs(3), *place.jobs(2, account="other", lane=Lane.URGENT))
            for watched in (flower, late):
                shown = watched.lengths()
                assert tuple(sorted(shown)) == QUEUES
                # A worker that is frozen may have one message on the way to it.
                assert shown["warrooms.default"] in {2, 3}
                assert shown["warrooms.other.urgent"] in {1, 2}
                page = watched.get("/broker").text
                assert all(queue in page for queue in QUEUES)
        finally:
            worker.thaw()
    place.idle()


def _end_of(flower: Watched, job: WarRoomJob, states: set[str]) -> list[dict[str, Any]]:
    """The job's rows once they are in these states."""
    until(lambda: {row["state"] for row in flower.rows_of(job)} == states, f"rows in {states}")
    return flower.rows_of(job)


def test_a_row_names_incident_account_lane_batch_and_outcome(place: House, flower: Watched) -> None:
    place.fresh()
    job = place.job(lane=Lane.URGENT)
    place.enqueue(job, batch="outage-42")
    (record,) = place.finish(job)
    assert record.room is not None
    (row,) = _end_of(flower, job, {"SUCCESS"})
    assert row["kwargs"] == f"{job.incident_id} @ default, urgent, batch outage-42"
    assert (row["args"], row["result"], row["name"]) == ("()", f"opened {record.room.chat_id}", "warrooms.open")
    assert row["runtime"] > 0
    (task,) = [task for task in flower.tasks() if task["uuid"] == row["uuid"]]
    assert task["result"] == f"'opened {record.room.chat_id}'"
    assert "<code>opened" in flower.get(f"/task/{row['uuid']}").text
    found = flower.get(f"/tasks/datatable?draw=1&start=0&length=9&order[0][column]=0&search[value]={job.incident_id}")
    assert [one["uuid"] for one in found.json()["data"]] == [row["uuid"]], "an incident is found by the page's search"


def test_a_429_is_a_retry_with_its_reason(place: House, flower: Watched) -> None:
    place.fresh()
    job = place.job()
    place.fault("too-frequent", job, calls=1, retry_after_s=1)
    place.open(job)
    rows = _end_of(flower, job, {"RETRY", "SUCCESS"})
    reasons = [row["result"] for row in rows if row["state"] == "RETRY"]
    assert all(re.match(r"back in line: RequestTooFrequently \(HTTP 429\): .+; again in \d", one) for one in reasons)
    assert "Traceback" not in place.log()
    assert not place.stack.redis.zcard("unacked_index"), "each message was acknowledged"


def test_an_attempt_that_failed_is_a_retry_and_a_dead_letter_a_failure_with_the_reason(
    place: House, flower: Watched
) -> None:
    place.fresh()
    dead, later = place.job(), place.job()
    place.fault("error", dead, code="InvalidParameter", message="no responders")
    place.fault("error", later, code="InternalError", message="try again", calls=1)
    place.open(dead, later)
    (row,) = _end_of(flower, dead, {"FAILURE"})
    assert row["result"] == row["exception"] == "InvalidParameter (HTTP 400): no responders"
    rows = _end_of(flower, later, {"RETRY", "SUCCESS"})
    (reason,) = [row["result"] for row in rows if row["state"] == "RETRY"]
    assert re.fullmatch(r"attempt 1 of 6: InternalError \(HTTP 500\): try again; again in \d+\.\d s", reason)
    tracebacks = {task["traceback"] for task in flower.tasks()}
    assert tracebacks == {None}, "the reason is a sentence; nobody has to read Celery's own code"


def test_a_known_room_is_nothing_to_do_and_a_foreign_message_is_as_readable(place: House, flower: Watched) -> None:
    place.fresh()
    job = place.job(integration_id=INTEGRATION_ID)
    message = _by_hand({"incident_id": job.incident_id}, argsrepr="['secret']", kwargsrepr="{'token': 'secret'}")
    place.stack.redis.lpush("warrooms.default", message)
    place.finish(job)
    place.stack.redis.lpush("warrooms.default", _by_hand({"incident_id": job.incident_id, "urgent": False}))
    until(lambda: len(flower.rows_of(job)) == 2, "both messages")
    rows = _end_of(flower, job, {"SUCCESS"})
    assert {row["kwargs"] for row in rows} == {f"{job.incident_id} @ default, bulk"}
    assert {row["result"].partition(" ")[0] for row in rows} == {"opened", "nothing"}
    assert not any("secret" in str(task) for task in flower.tasks())


def test_a_message_that_is_no_job_is_a_failure_that_says_why(place: House, flower: Watched) -> None:
    place.fresh()
    job = place.job()
    place.stack.redis.lpush("warrooms.default", _by_hand({"incident_id": job.incident_id, "account": "nobody"}))
    (row,) = _end_of(flower, job, {"FAILURE"})
    assert row["result"] == "refused: account: 'nobody' is not one of this worker's: default, other"


def test_no_task_is_left_waiting_to_be_started(place: House, flower: Watched) -> None:
    """Batches take turns, so many messages serve another job than they name."""
    place.fresh()
    bucket = place.queue.bucket("default")
    bucket.penalty(60)
    large, small = place.jobs(30), place.jobs(5)
    place.enqueue(*large, batch="large")
    place.enqueue(*small, batch="small")
    bucket.clear()
    place.finish(*large, *small)

    def served() -> set[str]:
        return {row["kwargs"].partition(" ")[0] for row in flower.rows() if row["result"].startswith("opened")}

    until(lambda: served() >= {job.incident_id for job in [*large, *small]}, "a row of each that says what it opened")
    until(lambda: {row["state"] for row in flower.rows()} <= {"SUCCESS", "RETRY", "FAILURE"}, "every row to be done")
    waiting = re.findall(r"^flower_worker_prefetched_tasks{.*} (\S+)$", flower.get("/metrics").text, re.MULTILINE)
    assert waiting
    assert {float(count) for count in waiting} == {0.0}


def test_neither_password_is_anywhere(place: House, flower: Watched) -> None:
    pages = ["/", "/workers?refresh=1", "/broker", "/tasks", "/api/workers?refresh=1", "/metrics"]
    (worker,) = flower.get("/api/workers").json()
    told = [flower.get(path).text for path in (*pages, f"/worker/{worker}")]
    told += [flower.log(), place.log(), str(flower.process.popen.args)]
    for text in told:
        for secret in (PASSWORD, REDIS_PASSWORD, quote(REDIS_PASSWORD, safe=""), quote(REDIS_PASSWORD)):
            assert secret not in text
    assert "redis://desk:**@127.0.0.1" in flower.log(), "it would have been there"
    acl: Any = place.stack.redis
    assert acl.acl_log() == [], "the README's rule for a Redis user is enough for Flower"


def test_it_stops_on_sigterm_and_keeps_what_it_knew_if_it_shall(place: House, tmp_path: Path) -> None:
    place.fresh()
    job = place.job()
    options = ("--persistent=true", f"--db={tmp_path / 'flower'}")
    with Watched(place.stack.env, tmp_path, *options) as first:
        first.wait_for_workers(1)
        place.open(job)
        _end_of(first, job, {"SUCCESS"})
        assert first.end(signal.SIGTERM) == 0
    with Watched(place.stack.env, tmp_path, *options) as second:
        _end_of(second, job, {"SUCCESS"})
    assert "Traceback" not in second.log()
