"""`warrooms doctor` in a process of its own, against real servers that are wrong in one way or another."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
import redis

from producers.checkup.finding import Level
from producers.checkup.needs import OUTSIDE, needs
from producers.checkup.permissions import RULE
from producers.cli.probing import look
from producers.cli.trial import rehearse
from sandbox.stack import embedded_redis, until
from worker.redis_store import RedisStore

if TYPE_CHECKING:
    from collections.abc import Iterator

WARROOMS = str(Path(sys.executable).with_name("warrooms"))
PASSWORD: Final = "p4ss-w0rd"
KEY: Final = "fd-s3cret-key"


class Checkup(NamedTuple):
    code: int
    ok: bool
    levels: dict[str, str]
    texts: dict[str, str]
    output: str


def run(url: str, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("FLASHDUTY_", "WARROOMS_"))}
    done = subprocess.run(
        [WARROOMS, "doctor", *options],
        env=mine | {"REDIS_URL": url, "FLASHDUTY_INTEGRATION_ID": "7"} | env,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done


def doctor(url: str, **env: str) -> Checkup:
    done = run(url, "--json", **env)
    answer = json.loads(done.stdout)
    assert set(answer) == {"ok", "findings"}
    findings = answer["findings"]
    assert all(set(one) == {"level", "what", "found", "to_do"} for one in findings)
    return Checkup(
        done.returncode,
        answer["ok"],
        {one["what"]: one["level"] for one in findings},
        {one["what"]: f"{one['found']} | {one['to_do']}" for one in findings},
        done.stdout + done.stderr,
    )


@pytest.fixture(scope="module")
def good_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Valkey as it should be."""
    with embedded_redis(tmp_path_factory.mktemp("good"), appendonly="yes", maxmemory="100mb") as url:
        yield url


@pytest.fixture
def good(good_url: str) -> Iterator[redis.Redis]:
    """Its client: the database is empty, and the doctor must leave it empty."""
    with redis.Redis.from_url(good_url, decode_responses=True) as client:
        client.flushall()
        yield client
        assert [*client.scan_iter("warrooms*"), *client.scan_iter("unacked*"), *client.scan_iter("_kombu*")] == []


@pytest.fixture
def desk(good: redis.Redis, good_url: str) -> Iterator[str]:
    """The address for a user `desk`, who has no right yet."""
    good.execute_command("ACL", "SETUSER", "desk", "on", f">{PASSWORD}")  # type: ignore[no-untyped-call]
    yield good_url.replace("//", f"//desk:{PASSWORD}@")
    good.acl_deluser("desk")


def grant(good: redis.Redis, rules: str) -> None:
    good.execute_command("ACL", "SETUSER", "desk", *rules.split())  # type: ignore[no-untyped-call]


def test_a_redis_as_it_should_be_has_no_problem_and_no_warning(good: redis.Redis, good_url: str) -> None:
    assert good.dbsize() == 0
    checkup = doctor(good_url, FLASHDUTY_APP_KEY=KEY)
    assert (checkup.code, checkup.ok) == (0, True)
    assert set(checkup.levels.values()) == {"ok"}
    assert "fsync every second" in checkup.texts["persistence"]
    assert KEY not in checkup.output
    assert good.dbsize() == 0


def test_people_get_a_line_for_each_check_and_what_to_do(valkey_url: str, store: RedisStore) -> None:
    done = run(valkey_url, FLASHDUTY_APP_KEY=KEY)
    assert done.returncode == 1
    first, to_do, *_, last = done.stdout.splitlines()
    assert first.startswith("PROBLEM  persistence")
    assert to_do.split("to do  ")[1].startswith("CONFIG SET appendonly yes first")
    assert last == "1 problem"
    assert f"{store.place} answers in " in done.stdout


def test_what_the_doctor_says_about_persistence_helps(tmp_path: Path) -> None:
    with embedded_redis(tmp_path, save="3600 1", maxmemory_policy="allkeys-lru") as url:
        sick = doctor(url)
        assert (sick.levels["persistence"], sick.levels["eviction"], sick.code) == ("problem", "problem", 1)
        with redis.Redis.from_url(url) as client:
            client.config_set("appendonly", "yes")
            client.config_set("maxmemory-policy", "noeviction")
            until(lambda: _rewritten(client), "the append-only file")
        assert doctor(url).code == 0


def _rewritten(client: redis.Redis) -> bool:
    info: Any = client.info("persistence")
    return not info["aof_rewrite_in_progress"] and not info["aof_rewrite_scheduled"]


def test_a_memory_that_is_full_is_told_and_so_is_what_is_refused(good: redis.Redis, good_url: str) -> None:
    good.config_set("maxmemory", 1000)
    checkup = doctor(good_url)
    good.config_set("maxmemory", "100mb")
    assert (checkup.levels["memory"], checkup.levels["writing"], checkup.code) == ("problem", "problem", 1)
    assert checkup.levels["permissions"] == "ok"


def test_a_replica_is_no_place_for_jobs(good: redis.Redis, tmp_path: Path) -> None:
    port = good.get_connection_kwargs()["port"]
    with embedded_redis(tmp_path, replicaof=f"127.0.0.1 {port}", appendonly="yes") as url:
        checkup = doctor(url)
        assert good.ping()
    assert (checkup.levels["role"], checkup.levels["writing"], checkup.code) == ("problem", "problem", 1)
    assert f"a replica of 127.0.0.1:{port}" in checkup.texts["role"]


def test_a_cluster_is_told_before_anything_fails_in_it(tmp_path: Path) -> None:
    with socket.socket() as probe:  # the bus would take the port plus 10,000, which may be none
        probe.bind(("127.0.0.1", 0))
        bus = str(probe.getsockname()[1])
    with embedded_redis(tmp_path, cluster_enabled="yes", cluster_port=bus) as url:
        checkup = doctor(url)
    assert (checkup.levels["cluster"], checkup.code) == ("problem", 1)


def test_keys_of_another_program_are_told_whatever_their_names_hold(good: redis.Redis, good_url: str) -> None:
    good.set(b"\xff\x00session", "x")
    checkup = doctor(good_url)
    assert (checkup.levels["database"], checkup.code) == ("warning", 0)
    assert "1 key, 1 of another program: \\xff" in checkup.texts["database"]


def test_a_clock_that_is_wrong_is_told(good: redis.Redis, good_url: str) -> None:
    assert good.ping()
    store = RedisStore(good_url)
    clocks = {one.what: one for one in look(store, ["default"], now=lambda: 1_000_000_000.0)}
    store.close()
    assert clocks["clock"].level is Level.WARNING


# --- permissions --------------------------------------------------------------------------------------------------


def test_the_rule_of_the_readme_is_enough(good: redis.Redis, desk: str) -> None:
    grant(good, RULE)
    checkup = doctor(desk, FLASHDUTY_APP_KEY=KEY)
    assert (checkup.code, set(checkup.levels.values())) == (0, {"ok"})
    assert PASSWORD not in checkup.output


def test_the_rules_that_the_doctor_names_are_enough(good: redis.Redis, desk: str) -> None:
    grant(good, "~warrooms* +@all -@dangerous -zadd -@scripting +config|get")
    for _ in range(3):  # Redis names one lack at a time: first the command, then the key
        checkup = doctor(desk)
        if checkup.code == 0:
            break
        assert checkup.levels["permissions"] == "problem"
        _, _, rules = checkup.texts["permissions"].partition("ACL SETUSER desk ")
        grant(good, rules.partition(" (")[0])
    assert checkup.levels["permissions"] == "ok"


def test_where_config_is_forbidden_the_rest_is_still_told(good: redis.Redis, desk: str) -> None:
    grant(good, f"{RULE} -config")
    checkup = doctor(desk, FLASHDUTY_APP_KEY=KEY)
    assert checkup.code == 0
    assert {what for what, level in checkup.levels.items() if level != "ok"} == {"persistence"}
    assert "could not be read" in checkup.texts["persistence"]


def test_a_user_without_transactions_changes_nothing_when_they_are_rehearsed(good: redis.Redis, desk: str) -> None:
    grant(good, f"{RULE} -multi")
    checkup = doctor(desk)
    assert "may not run MULTI" in checkup.texts["permissions"]
    assert good.dbsize() == 0
    grant(good, "+multi -exec")
    assert "'exec' command" in doctor(desk).texts["writing"]
    assert good.dbsize() == 0


def test_a_rehearsal_executes_nothing(store: RedisStore) -> None:
    client = store.client
    client.rpush("warrooms.default", "job")
    client.hset("unacked", "f", "precious")
    assert rehearse(client, needs(["default"], 0), OUTSIDE) == []
    assert client.lrange("warrooms.default", 0, -1) == ["job"]
    assert client.hgetall("unacked") == {"f": "precious"}
    assert client.dbsize() == 2
    client.flushall()


# --- what stands in the way ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "env", "code", "what"),
    [
        (f"redis://:{PASSWORD}@127.0.0.1:1/0", {}, 3, "redis"),
        (f"redis://:{PASSWORD}/x@127.0.0.1:1/0", {}, 2, "settings"),
        (f"redis://:{PASSWORD}@127.0.0.1:1/0", {"WARROOMS_RATES": "often"}, 2, "settings"),
        (f"redis://:{PASSWORD}@127.0.0.1:1/0", {"WARROOMS_CONCURRENCY": "many"}, 2, "settings"),
        (f"redis://:{PASSWORD}@127.0.0.1:1/0", {"FLASHDUTY_BASE_URL": f"https://u:{PASSWORD}@x"}, 2, "api"),
    ],
)
def test_what_stands_in_the_way_is_a_finding_too(url: str, env: dict[str, str], code: int, what: str) -> None:
    checkup = doctor(url, **env)
    assert (checkup.code, checkup.ok, checkup.levels[what]) == (code, False, "problem")
    assert PASSWORD not in checkup.output


def test_a_wrong_password_is_out_of_reach(good: redis.Redis, desk: str) -> None:
    grant(good, RULE)
    checkup = doctor(desk.replace(PASSWORD, "wr0ng"))
    assert checkup.code == 3
    assert "refuses the password | correct it in REDIS_URL" in checkup.texts["redis"]
    assert "wr0ng" not in checkup.output


def test_an_app_key_that_can_be_none_is_told_and_not_shown(good: redis.Redis, good_url: str) -> None:
    assert good.ping()
    checkup = doctor(good_url, FLASHDUTY_APP_KEY=f"{KEY} x")
    assert (checkup.levels["key of default"], checkup.code) == ("warning", 0)
    assert KEY not in checkup.output
    assert doctor(good_url).levels["key of default"] == "note"


def test_every_account_of_the_file_is_looked_at(good: redis.Redis, good_url: str, tmp_path: Path) -> None:
    assert good.ping()
    file = tmp_path / "accounts.toml"
    file.write_text('[accounts.eu]\napp_key_env = "EU_KEY"\nintegration_id = 7\n[accounts.us]\napp_key_file = "gone"\n')
    checkup = doctor(good_url, WARROOMS_ACCOUNTS_FILE=str(file), EU_KEY=KEY)
    assert [checkup.levels[what] for what in ("key of eu", "key of us", "account us")] == ["ok", "warning", "note"]
