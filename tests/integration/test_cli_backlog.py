"""`warrooms backlog` and `integrations` in a process of their own, against a sandbox of the API and a real Valkey."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import pytest

from producers.bookmark import Bookmarks
from producers.incident_list import LOOKS
from sandbox import Sandbox, SandboxConfig
from tests.commands import WARROOMS, one_object, opens
from worker.errors import AccountRefused
from worker.health import Sign
from worker.jobs import JobState, WarRoomJob
from worker.rate_limit import plan_of
from worker.token_bucket import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from producers.bookmark import Bookmark
    from tests.commands import Done, Run
    from worker.ledger import Ledger
    from worker.redis_store import RedisStore

KEY: Final = "sandbox-key"
IM: Final = 2490562293131
LIST: Final = "/incident/list"
LOOK: Final = "/incident/war-room/list"
DAY_S: Final = 86_400
SECRETS: Final = ("secret-push-key", "secret-setting")


@pytest.fixture
def api() -> Iterator[Sandbox]:
    with Sandbox(SandboxConfig(rates="100000/second")) as sandbox:
        yield sandbox


@pytest.fixture
def env(env: dict[str, str], api: Sandbox) -> dict[str, str]:
    ours = {"FLASHDUTY_BASE_URL": api.url, "FLASHDUTY_APP_KEY": KEY, "WARROOMS_RATES": "60000/minute"}
    return env | ours


@pytest.fixture(autouse=True)
def no_secrets(store: RedisStore) -> Iterator[None]:
    """Nothing of the integrations' secrets comes into Redis, whatever was asked."""
    yield
    for key in store.client.scan_iter("*"):
        assert not any(secret.encode() in store.client.dump(key) for secret in SECRETS)  # type: ignore[operator]


def seed(api: Sandbox, count: int, *, ago_s: int = 3600, **kind: object) -> list[str]:
    return api.add_incidents(count=count, start_time_s=int(time.time()) - ago_s, spacing_s=1, **kind)


def calls(api: Sandbox) -> dict[str, int]:
    by_endpoint: Any = api.stats()["by_endpoint"]
    return dict(by_endpoint)


def queued(ledger: Ledger) -> int:
    return ledger.progress().states[JobState.QUEUED]


def test_open_incidents_are_queued_with_our_integration_and_not_the_alerts(
    run: Run, api: Sandbox, ledger: Ledger
) -> None:
    ids = seed(api, 250)
    seed(api, 3, progress="Closed")
    seed(api, 3, ago_s=3 * DAY_S)
    done = run("backlog", "--since", "24h", "--batch", "night")
    assert done.returncode == 0
    assert done.stdout.splitlines()[:2] == ["250 incidents read with 4 calls", "batch night: 250 queued"]
    assert "250 incidents to read by the API's count: 3 calls to list them, 250 to open rooms; " in done.stderr
    assert queued(ledger) == 250
    assert all(ledger.record(f"default.{one}.7") for one in ids), "the integration is the configured one"
    assert calls(api) == {LIST: 4}


def test_filters_reach_the_api(run: Run, api: Sandbox, ledger: Ledger) -> None:
    (wanted,) = seed(api, 1, severity="Warning", progress="Processing", channel_id=12)
    seed(api, 1, severity="Info", progress="Processing", channel_id=12)
    seed(api, 1, severity="Warning", progress="Processing", channel_id=14)
    options = ("--severity", "critical,WARNING", "--progress", "processing", "--channel", "12,13")
    assert run("backlog", "--since", "1d", *options).returncode == 0
    assert queued(ledger) == 1
    assert ledger.record(f"default.{wanted}.7")


def test_running_it_again_doubles_nothing(run: Run, api: Sandbox, ledger: Ledger) -> None:
    seed(api, 120)
    first, second = (one_object(run("backlog", "--since", "1d", "--json")) for _ in range(2))
    assert (first["queued"], second["queued"], second["already_queued"]) == (120, 0, 120)
    assert first["batch"] != second["batch"]
    assert queued(ledger) == 120


def test_a_span_over_31_days_is_read_in_windows(run: Run, api: Sandbox, ledger: Ledger) -> None:
    seed(api, 2, ago_s=80 * DAY_S)
    seed(api, 3, ago_s=40 * DAY_S)
    seed(api, 4)
    done = one_object(run("backlog", "--since", "90d", "--until", "1m", "--json"))
    assert (done["read"], queued(ledger)) == (9, 9)
    assert calls(api) == {LIST: 6}, "one to count and one to read each of three windows"


def test_a_count_that_the_api_caps_is_only_said_as_the_least(run: Run, api: Sandbox, ledger: Ledger) -> None:
    seed(api, 1100)
    done = run("backlog", "--since", "1d")
    assert "at least 1,000 incidents to read by the API's count" in done.stderr
    assert queued(ledger) == 1100


def test_a_dry_run_reads_everything_and_changes_nothing(run: Run, api: Sandbox, store: RedisStore) -> None:
    seed(api, 130)
    done = run("backlog", "--since", "1d", "--without-room", "--dry-run")
    assert done.returncode == 0
    assert done.stdout.startswith(
        "dry run: 130 incidents read with 3 calls; nothing was queued\n130 incidents to read by"
    )
    assert ", 130 to look for their rooms, 130 to open rooms, or to ask whether " in done.stdout
    left = {str(key).rpartition(":")[2] for key in store.client.scan_iter("*")}
    assert left <= {"bucket", "calls", "history"}, "its calls are counted, and nothing else is kept"
    told = one_object(run("backlog", "--since", "1d", "--without-room", "--dry-run", "--json"))
    assert told["estimate"]["list_calls"] + told["estimate"]["look_calls"] == 2 + 130


def test_incidents_that_have_a_room_are_left_out_if_asked_for(
    run: Run, api: Sandbox, ledger: Ledger, env: dict[str, str]
) -> None:
    ids = seed(api, 5)
    _opened_by_somebody_else(env, ids[2])
    done = run("backlog", "--since", "1d", "--without-room", "--batch", "b")
    assert "batch b: 4 queued, 1 left out: they have a room\n" in done.stdout
    assert ledger.record(f"default.{ids[2]}.7") is None
    assert calls(api)[LOOK] == 5


def _opened_by_somebody_else(env: dict[str, str], incident_id: str) -> None:
    from worker.flashduty import Flashduty  # noqa: PLC0415

    other = Flashduty(base_url=env["FLASHDUTY_BASE_URL"], app_key=lambda: KEY)
    other.create(WarRoomJob(incident_id=incident_id, integration_id=7))
    other.close()


def test_a_room_whose_group_is_gone_is_none(run: Run, api: Sandbox, ledger: Ledger, env: dict[str, str]) -> None:
    ids = seed(api, 3)
    for one in ids[:2]:
        _opened_by_somebody_else(env, one)
    assert api.lose_groups(incident_id=ids[0]) == 1
    done = run("backlog", "--since", "1d", "--without-room", "--batch", "b")
    assert "batch b: 2 queued, 1 left out: they have a room\n1 incident with a room whose group is gone" in done.stdout
    assert "3 incidents read with 7 calls\n" in done.stdout, "two lists, three looks, two rooms"
    assert ledger.record(f"default.{ids[0]}.7")
    assert ledger.record(f"default.{ids[1]}.7") is None


def test_a_room_of_ours_whose_group_is_gone_is_left_to_a_person(
    run: Run, api: Sandbox, ledger: Ledger, env: dict[str, str]
) -> None:
    (one,) = seed(api, 1)
    assert run("open", one).returncode == 0
    opens(ledger, f"default.{one}.7")
    _opened_by_somebody_else(env, one)
    api.lose_groups(incident_id=one)
    done = run("backlog", "--since", "1d", "--without-room", "--batch", "b")
    assert "batch b: 0 queued, 1 already open\n" in done.stdout
    assert "1 of the groups that are gone was ours: " in done.stderr


@contextmanager
def cut_off(
    env: dict[str, str], store: RedisStore, number: signal.Signals, *options: str
) -> Iterator[tuple[str, str, Bookmark]]:
    """A slow one that gets the signal once something was read: its output, and how far it got."""
    bookmarks = Bookmarks(store, "default")
    command = [WARROOMS, "backlog", "--since", "1d", "--without-room", *options]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as it:
        while (found := bookmarks.find(_begun(store))) is None or not found.read:
            assert it.poll() is None
        it.send_signal(number)
        out, err = it.communicate(timeout=20)
    assert it.returncode == (-number if number is signal.SIGKILL else 128 + number), (out, err)
    place = bookmarks.find(_begun(store))
    assert place is not None
    yield out, err, place


def _begun(store: RedisStore) -> str:
    """The only batch that is begun; empty if none is."""
    keys = [str(key) for key in store.client.scan_iter("warrooms:{default}:backlog:*")]
    return keys[0].rpartition(":")[2] if keys else ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_one_goes_on_with_its_batch(
    run: Run, api: Sandbox, ledger: Ledger, env: dict[str, str], store: RedisStore, number: signal.Signals
) -> None:
    seed(api, 250)
    api.change_limits(latency="constant:0.02")
    with cut_off(env, store, number, "--batch", "night") as (_, err, place):
        again = "; the rest, with nothing doubled: warrooms backlog --since 1d --without-room --batch night"
        assert err.splitlines()[-1] == f"warrooms: stopped: what was queued goes on{again}"
    before, looked = queued(ledger), calls(api)[LOOK]
    assert before in {place.read, place.read + LOOKS}, "at most one piece was queued and not yet remembered"
    assert looked - place.read <= LOOKS + 1
    api.change_limits(latency="constant:0")
    options = ("backlog", "--without-room", "--batch", "night", "--since")
    other = run(*options, "2d")
    assert other.returncode == 2
    assert "was begun with other options" in other.stderr
    rest = run(*options, "1d")
    assert rest.returncode == 0
    assert f"going on behind {place.read} incidents that were read before, from 2" in rest.stderr
    assert f"{250 - place.read} incidents to read by the API's count" in rest.stderr
    assert queued(ledger) == 250
    assert calls(api)[LOOK] - looked == 250 - place.read, "no incident is asked for twice"
    assert not _begun(store)


@pytest.mark.parametrize("json", [(), ("--json",)])
def test_one_that_was_killed_has_said_how_to_go_on(
    run: Run, api: Sandbox, ledger: Ledger, env: dict[str, str], store: RedisStore, json: tuple[str, ...]
) -> None:
    seed(api, 120)
    api.change_limits(latency="constant:0.02")
    with cut_off(env, store, signal.SIGKILL, *json) as (_, err, _place):
        batch, _, command = err.splitlines()[0].removeprefix("batch ").partition("; if this is cut off, go on with: ")
        assert command == " ".join(("warrooms backlog --since 1d --without-room", *json, f"--batch {batch}"))
    api.change_limits(latency="constant:0")
    assert run(*command.split()[1:]).returncode == 0
    assert queued(ledger) == 120


def test_a_terminal_that_was_closed_changes_nothing(
    api: Sandbox, ledger: Ledger, env: dict[str, str], store: RedisStore
) -> None:
    seed(api, 120)
    api.change_limits(latency="constant:0.02")
    ours, theirs = os.openpty()
    command = [WARROOMS, "backlog", "--since", "1d", "--without-room"]
    with subprocess.Popen(command, env=env, stdin=theirs, stdout=theirs, stderr=theirs) as it:
        os.close(theirs)
        while not queued(ledger):
            assert it.poll() is None
        os.close(ours)
        it.send_signal(signal.SIGHUP)
        it.send_signal(signal.SIGHUP)
        it.wait(timeout=20)
    assert it.returncode == 128 + signal.SIGHUP
    assert _begun(store)


def test_a_signal_while_it_follows_says_where_to_look_again(
    api: Sandbox, env: dict[str, str], store: RedisStore, ledger: Ledger
) -> None:
    seed(api, 2)
    command = [WARROOMS, "backlog", "--since", "1d", "--batch", "b", "--wait"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as it:
        assert it.stderr is not None
        while not (line := it.stderr.readline()).startswith("0 of 2 done"):
            assert line
        it.send_signal(signal.SIGTERM)
        _, err = it.communicate(timeout=20)
    assert it.returncode == 143
    assert err.splitlines()[-1].endswith("the jobs go on, look again with: warrooms watch --batch b")
    assert queued(ledger) == 2
    assert not _begun(store)


def test_a_signal_before_anything_was_read_says_so(api: Sandbox, env: dict[str, str]) -> None:
    api.add_fault({"kind": "hang", "endpoints": ASK})
    command = [WARROOMS, "backlog", "--since", "1d"]
    unset = env | {"FLASHDUTY_INTEGRATION_ID": ""}
    with subprocess.Popen(command, env=unset, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as it:
        while not calls(api):
            assert it.poll() is None
        it.send_signal(signal.SIGTERM)
        out, err = it.communicate(timeout=20)
    assert (it.returncode, out, err) == (143, "", "warrooms: stopped; nothing was queued\n")


def test_of_which_nothing_was_read_may_be_begun_anew_with_other_options(run: Run, api: Sandbox, ledger: Ledger) -> None:
    seed(api, 1)
    api.add_fault({"kind": "error", "code": "InvalidParameter", "calls": 1})
    assert run("backlog", "--since", "1d", "--batch", "b").returncode == 2
    assert run("backlog", "--since", "2d", "--batch", "b").returncode == 0
    assert queued(ledger) == 1


def test_without_an_app_key_it_says_that_it_needs_one(run: Run, env: dict[str, str]) -> None:
    for command in (["backlog", "--since", "1d"], ["integrations"]):
        done = run(*command, env=env | {"FLASHDUTY_APP_KEY": ""})
        assert (done.returncode, done.stdout) == (2, "")
        assert "no app key for account 'default': set FLASHDUTY_APP_KEY (or FLASHDUTY_APP_KEY_FILE)" in done.stderr
        assert "this asks the API itself" in done.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--since", "24"), "did you mean 24h or 24d?"),
        (("--since", "1h", "--until", "2h"), "--since '1h' must lie before --until '2h'"),
        (
            ("--since", "1h", "--severity", "critcal"),
            "--severity is a list of Critical, Warning, Info, got 'critcal'; did",
        ),
        (("--since", "1h", "--progress", "open"), "--progress is a list of Triggered, Processing, Closed, got 'open'"),
        (("--since", "1h", "--channel", "12,x"), "--channel is a list of whole numbers like 12,13, got 'x'"),
        (("--since", "1h", "--account", "nobody"), "--account 'nobody' is not known"),
        (("--since", "1h", "--batch", "a b"), "--batch must be 1 to 100 letters"),
        (("--since", "2099-01-01"), "--since '2099-01-01' must lie before now"),
        (("--since", "1h", "--severity", ""), "--severity is empty: name something, or leave it out"),
        (("--since", "1h", "--progress", ","), "--progress is empty: "),
        (("--since", "1h", "--channel", " "), "--channel is empty: "),
        ((), "missing option '--since'"),
    ],
)
def test_wrong_options_are_said_before_any_call(
    run: Run, api: Sandbox, options: tuple[str, ...], sentence: str
) -> None:
    done = run("backlog", *options)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert calls(api) == {}


def test_a_key_that_the_api_refuses_ends_it_and_leaves_the_workers_alone(
    run: Run, env: dict[str, str], store: RedisStore
) -> None:
    done = run(
        "backlog",
        "--since",
        "1d",
        "--batch",
        "b",
        env=env | {"FLASHDUTY_APP_KEY": "of somebody else".replace(" ", "-")},
    )
    assert done.returncode == 3
    assert "Unauthorized (HTTP 401)" in done.stderr
    assert "warrooms backlog --since 1d --batch b" in done.stderr
    assert bucket(store).trouble() is None


def bucket(store: RedisStore) -> TokenBucket:
    return TokenBucket(store, "default", plan_of("60000/minute"))


def test_a_suspended_account_is_said_and_not_waited_for(run: Run, api: Sandbox, store: RedisStore) -> None:
    refused = AccountRefused("the app key is not valid", code="Unauthorized", status=401)
    bucket(store).report(Sign.REFUSED, 0.0, refused)
    done = run("backlog", "--since", "1d")
    assert done.returncode == 3
    assert "the account is suspended: Unauthorized (HTTP 401): the app key is not valid; mend that" in done.stderr
    assert calls(api) == {}


def test_a_429_pauses_the_shared_bucket_and_is_waited_for(run: Run, api: Sandbox, ledger: Ledger) -> None:
    seed(api, 3)
    api.add_fault({"kind": "too-frequent", "calls": 1, "retry_after_s": 1})
    done = run("backlog", "--since", "1d")
    assert done.returncode == 0
    assert "the API said 429: the account is paused for " in done.stderr
    assert queued(ledger) == 3


def test_an_unreachable_redis_is_said(run: Run, env: dict[str, str]) -> None:
    done = run("backlog", "--since", "1d", env=env | {"REDIS_URL": "redis://127.0.0.1:1/0"})
    assert done.returncode == 3
    assert "cannot reach Redis at 127.0.0.1:1" in done.stderr


def test_every_call_waits_for_its_slot(run: Run, api: Sandbox, env: dict[str, str]) -> None:
    """Counted by the API, which refuses what is over its limit."""
    seed(api, 60)
    api.change_limits(rates="20/second")
    done = run("backlog", "--since", "1d", "--without-room", env=env | {"WARROOMS_RATES": "20/second"})
    assert done.returncode == 0
    assert "429" not in done.stderr
    assert {status for *_, status in api.arrivals()} == {200}
    arrivals = [at_s for at_s, *_ in api.arrivals()]
    assert all(one <= two for one, two in pairwise(arrivals))
    assert len(arrivals) == 62


# --- integrations ---


def test_integrations_are_listed_without_their_secrets(run: Run, api: Sandbox) -> None:
    api.set_integrations({"data_source_id": 7}, {"data_source_id": 8, "name": "red\x1b[31m", "plugin_type": "slack"})
    text, machine = run("integrations"), run("integrations", "--json")
    assert text.stdout.splitlines() == [
        "account default: 7 is set",
        "  7  Feishu Ops   feishu  enabled",
        "  8  red\\x1b[31m  slack   enabled",
    ]
    (account,) = one_object(machine)["accounts"]
    assert account["default"] == 7
    assert account["integrations"][0] == {"id": 7, "name": "Feishu Ops", "kind": "feishu", "status": "enabled"}
    shown = text.stdout + text.stderr + machine.stdout + machine.stderr
    assert not any(secret in shown for secret in SECRETS)


@pytest.mark.parametrize(
    ("integrations", "said"),
    [
        ([{}], f"{IM} is used when a job names none"),
        ([], "no IM integration of this account has war rooms enabled: enable one"),
        ([{"data_source_id": 7}, {"data_source_id": 8}], "2 have war rooms enabled: 7 (Feishu Ops, feishu), 8 ("),
        ([{"data_source_id": 7}, {"data_source_id": 8, "status": "disabled"}], "7 is used when a job names none"),
    ],
)
def test_integrations_says_which_one_goes_without_saying(
    run: Run, api: Sandbox, env: dict[str, str], integrations: list[dict[str, object]], said: str
) -> None:
    api.set_integrations(*integrations)
    done = run("integrations", env=env | {"FLASHDUTY_INTEGRATION_ID": ""})
    assert done.returncode == 0
    assert said in done.stdout


ID: Final = "69da451ef77b1b51f40e83ee"
ASK: Final = "/datasource/im/war-room-enabled/list"


def test_the_only_integration_is_found_once_an_hour(
    run: Run, api: Sandbox, env: dict[str, str], ledger: Ledger, store: RedisStore
) -> None:
    unset = env | {"FLASHDUTY_INTEGRATION_ID": ""}
    assert run("open", ID, env=unset).returncode == 0
    assert run("bulk", "-", stdin=f"{'a' * 24}\n{'b' * 24}\n", env=unset).returncode == 0
    seed(api, 2)
    assert run("backlog", "--since", "1d", env=unset).returncode == 0
    assert ledger.record(f"default.{ID}.{IM}")
    assert ledger.record(f"default.{'a' * 24}.{IM}")
    assert queued(ledger) == 5
    assert calls(api)[ASK] == 1
    assert 3500 < store.client.ttl("warrooms:{default}:integration") <= 3600
    without_key = run("open", "c" * 24, env=unset | {"FLASHDUTY_APP_KEY": ""})
    assert without_key.returncode == 0, "somebody with a key has asked lately"


def test_a_job_that_names_its_integration_asks_nobody(run: Run, api: Sandbox, env: dict[str, str]) -> None:
    unset = env | {"FLASHDUTY_INTEGRATION_ID": ""}
    lines = json.dumps({"incident_id": ID, "integration_id": 9})
    assert run("bulk", "-", stdin=lines, env=unset).returncode == 0
    assert run("open", ID, "--integration", "9", env=unset).returncode == 0
    assert calls(api) == {}


def test_where_nobody_can_tell_the_integration_it_says_what_there_is(
    run: Run, api: Sandbox, env: dict[str, str], store: RedisStore
) -> None:
    unset = env | {"FLASHDUTY_INTEGRATION_ID": ""}
    api.set_integrations({"data_source_id": 7}, {"data_source_id": 8})
    both = "2 have war rooms enabled: 7 (Feishu Ops, feishu), 8 (Feishu Ops, feishu)"

    def refused(*command: str, env: dict[str, str], stdin: str = "") -> Done:
        done = run(*command, env=env, stdin=stdin)
        assert done.returncode == 2
        return done

    assert both in refused("open", ID, env=unset).stderr
    assert both in refused("bulk", "-", stdin=ID, env=unset).stderr
    assert both in refused("backlog", "--since", "1d", env=unset).stderr
    keyless = refused("open", ID, env=unset | {"FLASHDUTY_APP_KEY": ""}).stderr
    assert "set FLASHDUTY_INTEGRATION_ID or give --integration" in keyless
    assert both in keyless
    store.client.delete("warrooms:{default}:integration")
    keyless = refused("open", ID, env=unset | {"FLASHDUTY_APP_KEY": ""}).stderr
    assert "its only IM integration is found by a worker that runs, or with its app key here" in keyless
