"""The doctor's judgements: a table each, facts in, findings out."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from producers.checkup import memory, needs, permissions, persistence, server, setup
from producers.checkup.facts import Server
from producers.checkup.finding import Finding, Level, healthy, note, ok, problem, warning, worst_first
from producers.checkup.permissions import Lack, Refusal
from producers.checkup.server import Sample
from producers.cli.doctor import lines
from worker.rate_limit import plan_of
from worker.settings import Account

if TYPE_CHECKING:
    from collections.abc import Mapping

AOF: Final = {"aof_enabled": 1, "aof_last_write_status": "ok", "rdb_last_bgsave_status": "ok"}
EVERYSEC: Final = {"appendfsync": "everysec", "save": ""}
MIB: Final = 1 << 20


def says(finding: Finding | None, level: Level, *words: str) -> None:
    assert finding is not None
    assert finding.level is level
    text = f"{finding.found} | {finding.to_do}"
    for word in words:
        assert word in text


# --- findings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", [Level.PROBLEM, Level.WARNING])
def test_what_is_bad_says_what_to_do(level: Level) -> None:
    with pytest.raises(ValueError, match="needs something to do"):
        Finding(level, "clock", "wrong")


def test_the_worst_stands_first_and_the_rest_keeps_its_order() -> None:
    findings = [ok("a", ""), warning("b", "", "do"), problem("c", "", "do"), note("d", ""), problem("e", "", "do")]
    assert [one.what for one in worst_first(findings)] == ["c", "e", "b", "d", "a"]


def test_warnings_are_allowed_in_a_healthy_place() -> None:
    assert healthy([ok("a", ""), note("b", ""), warning("c", "", "do")])
    assert not healthy([ok("a", ""), problem("c", "", "do")])


def test_people_read_a_line_for_each_check_what_to_do_under_it_and_the_sum() -> None:
    assert lines([ok("clock", "right"), problem("persistence", "none", "CONFIG SET appendonly yes")]) == [
        "PROBLEM  persistence  none",
        "               to do  CONFIG SET appendonly yes",
        "ok       clock        right",
        "1 problem",
    ]
    assert lines([ok("clock", "right")])[-1] == "no problem"
    assert lines([warning("clock", "wrong", "do")] * 2)[-1] == "2 warnings"


# --- the server ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("round_trip_s", "level"), [(0.0004, Level.OK), (0.05, Level.OK), (0.051, Level.WARNING)])
def test_a_redis_far_away_slows_every_call(round_trip_s: float, level: Level) -> None:
    says(
        server.reached("r.example:6379/0", round_trip_s),
        level,
        f"r.example:6379/0 answers in {round_trip_s * 1e3:.1f} ms",
    )


@pytest.mark.parametrize(
    ("info", "level", "words"),
    [
        ({"redis_version": "6.0.16"}, Level.PROBLEM, "Redis 6.0.16 is older than 7.0"),
        ({"redis_version": "5.0"}, Level.PROBLEM, "upgrade"),
        ({"redis_version": "6.2.14"}, Level.PROBLEM, "Redis 6.2.14 is older than 7.0"),
        ({"redis_version": "7.0.0"}, Level.OK, "Redis 7.0.0"),
        ({"redis_version": "7.0.15"}, Level.OK, "Redis 7.0.15"),
        ({"redis_version": "7.2.4"}, Level.OK, "Redis 7.2.4"),
        ({"redis_version": "10.0.0"}, Level.OK, "Redis 10.0.0"),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.2"}, Level.OK, "Valkey 9.1.2"),
        ({}, Level.NOTE, "7.0 or newer is needed"),
    ],
)
def test_a_server_that_is_too_old_lacks_commands(info: Mapping[str, object], level: Level, words: str) -> None:
    says(server.version(Server(info)), level, words)


@pytest.mark.parametrize(
    ("info", "config", "level", "words"),
    [
        ({"role": "master", "connected_slaves": 0}, {}, Level.OK, "a primary with 0 replicas"),
        (
            {"role": "master", "connected_slaves": 2, "min_slaves_good_slaves": 2},
            {"min-replicas-to-write": "1"},
            Level.OK,
            "2 replicas, insists on 1",
        ),
        (
            {"role": "master", "connected_slaves": 1, "min_slaves_good_slaves": 0},
            {"min-replicas-to-write": "1"},
            Level.PROBLEM,
            "0 of the 1 replicas",
        ),
        ({"role": "slave", "master_host": "r1", "master_port": 6379}, {}, Level.PROBLEM, "a replica of r1:6379"),
        ({"redis_mode": "sentinel"}, {}, Level.PROBLEM, "redis+sentinel://host:26379/NAME/0"),
        ({}, {}, Level.NOTE, "could not be checked"),
    ],
)
def test_only_a_primary_takes_jobs(
    info: Mapping[str, object], config: Mapping[str, str], level: Level, words: str
) -> None:
    says(server.role(Server(info, config)), level, words)


@pytest.mark.parametrize(
    ("info", "level"),
    [
        ({"server_mode": "standalone", "cluster_enabled": 0}, Level.OK),
        ({"redis_mode": "standalone"}, Level.OK),
        ({"redis_mode": "cluster"}, Level.PROBLEM),
        ({"server_mode": "standalone", "cluster_enabled": 1}, Level.PROBLEM),
        ({}, Level.NOTE),
    ],
)
def test_celery_works_with_no_cluster(info: Mapping[str, object], level: Level) -> None:
    says(server.cluster(Server(info)), level)


@pytest.mark.parametrize(
    ("skew_s", "round_trip_s", "level", "words"),
    [
        (0.0, 0.001, Level.OK, "within 0.001 s"),
        (-1.9, 0.0, Level.OK, "within 1.900 s"),
        (2.1, 0.0, Level.WARNING, "2.1 s ahead of"),
        (-3600.0, 0.1, Level.WARNING, "3600.0 s behind"),
        (2.1, 0.5, Level.OK, "within 2.100 s"),
        (None, 0.0, Level.NOTE, "TIME is refused"),
    ],
)
def test_a_clock_that_is_wrong_makes_shown_times_lie(
    skew_s: float | None, round_trip_s: float, level: Level, words: str
) -> None:
    says(server.clock(skew_s, round_trip_s), level, words)


@pytest.mark.parametrize(
    ("info", "config", "level", "words"),
    [
        ({"connected_clients": 3, "maxclients": 10_000}, {"timeout": "0"}, Level.OK, "3 of at most 10,000 connected"),
        ({"connected_clients": 3}, {"timeout": "300"}, Level.OK, "idle ones are cut after 300 s"),
        ({"connected_clients": 81, "maxclients": 100}, {}, Level.WARNING, "CONFIG SET maxclients 200"),
        ({"connected_clients": 81}, {"maxclients": "100"}, Level.WARNING, "81 of at most 100"),
        ({}, {}, Level.NOTE, "could not be checked"),
    ],
)
def test_connections_must_have_room(
    info: Mapping[str, object], config: Mapping[str, str], level: Level, words: str
) -> None:
    says(server.clients(Server(info, config)), level, words)


def test_a_server_that_is_loading_is_no_more_than_that() -> None:
    assert server.loading(Server({"loading": 0})) is None
    says(server.loading(Server({"loading": 1, "loading_eta_seconds": 7})), Level.PROBLEM, "about 7 s to go")


@pytest.mark.parametrize(
    ("sample", "level", "words"),
    [
        (Sample([], 0), Level.OK, "empty"),
        (
            Sample(
                [
                    "warrooms:{default}:account",
                    "warrooms.default.urgent",
                    "warrooms.default\x06\x166",
                    "_kombu.binding.celery.pidbox",
                    "unacked_index",
                    "w1@host.celery.pidbox\x06\x169",
                    "1b9d.reply.celery.pidbox",
                    "celeryev.1b9d",
                ],
                8,
            ),
            Level.OK,
            "8 keys, none of another program",
        ),
        (Sample(["celery", "warrooms.x"], 2), Level.WARNING, "2 keys, 1 of another program: celery |"),
        (
            Sample(["a", "b", "c", "d"], 9000),
            Level.WARNING,
            "9,000 keys, 4 of them looked at, 4 of another program: a, b, c, …",
        ),
        (None, Level.NOTE, "SCAN is refused"),
    ],
)
def test_the_database_should_be_ours_alone(sample: Sample | None, level: Level, words: str) -> None:
    says(server.database(sample), level, words)


# --- persistence --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("info", "config", "level", "words"),
    [
        ({}, {}, Level.NOTE, "could not be checked"),
        (AOF, EVERYSEC, Level.OK, "loses up to 2 s"),
        (AOF, {"appendfsync": "always"}, Level.OK, "no job that was accepted is lost"),
        (AOF, {"appendfsync": "no"}, Level.WARNING, "CONFIG SET appendfsync everysec, then CONFIG REWRITE"),
        (AOF, None, Level.NOTE, "how often it is synced could not be read"),
        (AOF, {**EVERYSEC, "no-appendfsync-on-rewrite": "yes"}, Level.WARNING, "no-appendfsync-on-rewrite no"),
        ({"aof_enabled": 0}, {"save": "3600 1"}, Level.PROBLEM, "snapshots only (save 3600 1)"),
        ({"aof_enabled": 0}, {"save": ""}, Level.PROBLEM, "nothing is written to disk"),
        ({"aof_enabled": 0}, {"save": ""}, Level.PROBLEM, "CONFIG SET appendonly yes first, while Redis runs"),
        ({"aof_enabled": 0}, None, Level.PROBLEM, "set appendonly yes in the service's parameters"),
    ],
)
def test_only_an_append_only_file_keeps_jobs(
    info: Mapping[str, object], config: Mapping[str, str] | None, level: Level, words: str
) -> None:
    (finding,) = persistence.persistence(Server(info, config))
    says(finding, level, words)


@pytest.mark.parametrize(
    ("changes", "config", "what", "level"),
    [
        ({"aof_last_write_status": "err"}, EVERYSEC, "aof write", Level.PROBLEM),
        ({"aof_last_bgrewrite_status": "err"}, EVERYSEC, "aof rewrite", Level.WARNING),
        ({"rdb_last_bgsave_status": "err"}, {**EVERYSEC, "save": "60 1"}, "snapshot", Level.PROBLEM),
        ({"rdb_last_bgsave_status": "err"}, None, "snapshot", Level.PROBLEM),
        ({"rdb_last_bgsave_status": "err"}, EVERYSEC, "snapshot", Level.WARNING),
        (
            {"rdb_last_bgsave_status": "err"},
            {**EVERYSEC, "save": "60 1", "stop-writes-on-bgsave-error": "no"},
            "snapshot",
            Level.WARNING,
        ),
    ],
)
def test_a_file_that_could_not_be_written_is_named(
    changes: Mapping[str, object], config: Mapping[str, str] | None, what: str, level: Level
) -> None:
    _, failure = persistence.persistence(Server({**AOF, **changes}, config))
    assert (failure.what, failure.level) == (what, level)


# --- memory -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("info", "config", "level", "words"),
    [
        ({"maxmemory_policy": "noeviction", "evicted_keys": 0}, {}, Level.OK, "it loses none"),
        ({"maxmemory_policy": "volatile-lru"}, {}, Level.PROBLEM, "CONFIG SET maxmemory-policy noeviction"),
        ({"maxmemory_policy": "allkeys-lru"}, None, Level.PROBLEM, "in the service's parameters"),
        ({"maxmemory_policy": "noeviction", "evicted_keys": 3}, {}, Level.WARNING, "dropped 3 keys"),
        ({}, {}, Level.NOTE, "could not be checked"),
    ],
)
def test_a_job_must_never_be_evicted(
    info: Mapping[str, object], config: Mapping[str, str] | None, level: Level, words: str
) -> None:
    says(memory.eviction(Server(info, config)), level, words)


@pytest.mark.parametrize(
    ("used_mib", "limit_mib", "machine_mib", "level", "words"),
    [
        (50, 100, 0, Level.OK, "50.0 MiB used, 50% of maxmemory 100.0 MiB"),
        (80, 100, 0, Level.OK, "80%"),
        (81, 100, 0, Level.WARNING, "CONFIG SET maxmemory 200mb"),
        (100, 100, 0, Level.PROBLEM, "refuses new jobs"),
        (50, 0, 2048, Level.OK, "2% of the machine's memory"),
        (1900, 0, 2048, Level.WARNING, "1.9 GiB used"),
        (50, 0, 0, Level.OK, "no maxmemory is set"),
    ],
)
def test_a_memory_that_is_nearly_full_is_told_in_time(
    used_mib: int, limit_mib: int, machine_mib: int, level: Level, words: str
) -> None:
    info = {"used_memory": used_mib * MIB, "maxmemory": limit_mib * MIB, "total_system_memory": machine_mib * MIB}
    says(memory.memory(Server(info)), level, words)


def test_a_memory_that_is_not_told_is_no_problem() -> None:
    says(memory.memory(Server()), Level.NOTE, "could not be checked")


# --- permissions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "message", "lack", "rule"),
    [
        ("ZADD k 1 m", "User desk has no permissions to run the 'zadd' command", Lack.COMMAND, "+zadd"),
        (
            "SCRIPT LOAD x",
            "this user has no permissions to run the 'script|load' command",
            Lack.COMMAND,
            "+script|load",
        ),
        ("HGET unacked f", "No permissions to access a key", Lack.KEY, "~unacked*"),
        (
            "HGET warrooms.a f",
            "this user has no permissions to access one of the keys used as arguments",
            Lack.KEY,
            "~warrooms*",
        ),
        ("SET unacked_mutex v NX PX 1", "No permissions to access a key", Lack.KEY, "~unacked*"),
        ("LPUSH doctor.reply.celery.pidbox m", "No permissions to access a key", Lack.KEY, "~*.celery.pidbox*"),
        ("PUBLISH /0.celeryev/x m", "No permissions to access a channel", Lack.CHANNEL, "&*"),
    ],
)
def test_a_refusal_names_the_rule_that_is_missing(command: str, message: str, lack: Lack, rule: str) -> None:
    refusal = Refusal(command, message, permission=True)
    assert (refusal.lack, refusal.rule) == (lack, rule)


def test_all_missing_permissions_are_one_command_for_the_administrator() -> None:
    finding = permissions.permissions(
        [
            Refusal("ZADD unacked_index 1 m", "no permissions to run the 'zadd' command", permission=True),
            Refusal("HSET unacked f v", "No permissions to access a key", permission=True),
            Refusal("HGET unacked f", "No permissions to access a key", permission=True),
            Refusal("PSUBSCRIBE /0.celery.pidbox", "No permissions to access a channel", permission=True),
        ],
        "desk",
    )
    assert finding.found == (
        "user 'desk' may not run ZADD; may not touch keys unacked*; may not use channels /0.celery.pidbox"
    )
    assert finding.to_do.startswith("ACL SETUSER desk +zadd ~unacked* &* (")


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("You can't write against a read only replica.", "point REDIS_URL to the primary"),
        ("command not allowed when used memory > 'maxmemory'.", "see 'memory' here"),
        ("MISCONF Errors writing to the AOF file: No space left on device", "see 'aof write'"),
        ("NOREPLICAS Not enough good replicas to write.", "see 'role' here"),
        ("unknown command 'EVAL', with args beginning with: ", "has no such command"),
        ("something new", "see Redis' log"),
    ],
)
def test_a_server_that_refuses_everybody_is_no_matter_of_permission(message: str, words: str) -> None:
    refusals = [Refusal("HSET k f v", message, permission=False), Refusal("LPUSH k m", message, permission=False)]
    says(permissions.writing(refusals, ""), Level.PROBLEM, "Redis refuses HSET and 1 more", words)
    says(permissions.permissions(refusals, "desk"), Level.OK)


def test_a_test_job_speaks_for_the_rest() -> None:
    says(permissions.writing([], ""), Level.OK, "written, queued, popped and deleted")
    says(permissions.writing([], "NOPERM no permissions to run the 'exec' command"), Level.PROBLEM, "ACL SETUSER")
    lacking = Refusal("ZADD k 1 m", "no permissions to run the 'zadd' command", permission=True)
    assert permissions.writing([lacking], "") is None


def test_every_command_of_our_scripts_is_rehearsed() -> None:
    rehearsed = {line.split()[0] for line in needs.needs(["default"], 0)}
    scripts = [*Path(str(files("worker"))).rglob("*.lua")]
    assert len(scripts) > 1
    for script in scripts:
        text = script.read_text(encoding="utf-8")
        assert set(re.findall(r"redis\.p?call\(\s*'(\w+)'", text)) <= rehearsed


def test_the_readme_gives_the_rule_that_is_tested() -> None:
    readme = Path(__file__).parents[3] / "README.md"
    assert f"ACL SETUSER warrooms on >PASSWORD {permissions.RULE}\n" in readme.read_text(encoding="utf-8")


def test_every_account_is_rehearsed_on_its_own_keys() -> None:
    text = "\n".join(needs.needs(["eu", "us"], 3))
    for name in ("warrooms:{eu}:account", "warrooms.us.urgent", "/3.celery.pidbox"):
        assert name in text


# --- settings -----------------------------------------------------------------------------------------------------


def account(integration_id: int | None = 7) -> Account:
    return Account(name="eu", plan=plan_of("1000/minute"), integration_id=integration_id)


def test_an_account_shows_its_limits_and_its_integration() -> None:
    says(setup.account(account()), Level.OK, "1000/60s, of which we keep 992/min", "integration 7")
    says(setup.account(account(None)), Level.NOTE, "gets the only one there is")


@pytest.mark.parametrize(
    ("key", "level", "words"),
    [
        (setup.Key(asked=True), Level.OK, "there is one"),
        (setup.Key(asked=False, fault="no app key for account 'eu': set EU_KEY"), Level.NOTE, "| set EU_KEY"),
        (setup.Key(asked=True, fault="the file /run/key is empty"), Level.WARNING, "no worker starts"),
    ],
)
def test_only_workers_need_a_key(key: setup.Key, level: Level, words: str) -> None:
    says(setup.app_key(account(), key), level, words)


def test_an_api_address_that_is_wrong_is_not_shown() -> None:
    says(setup.base_url("https://api.example", ""), Level.OK, "https://api.example")
    finding = setup.base_url("https://user:s3cret@api.example", "FLASHDUTY_BASE_URL must be …")
    says(finding, Level.PROBLEM, "correct FLASHDUTY_BASE_URL")
    assert "s3cret" not in f"{finding}"
