"""Urgent overtakes bulk; accounts do not know of each other."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import TYPE_CHECKING, Final

import pytest

from sandbox.stack import INTEGRATION_ID, until
from worker.jobs import JobState, Lane, WarRoomJob

from .house import CREATE, House

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis.client import PubSub

RATES: Final = {"slow": "60/minute", "fast": "6000/minute"}
BACKLOG: Final = 200


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Two accounts, each with its own key, one from a file and one from the environment."""
    folder = tmp_path_factory.mktemp("accounts")
    (folder / "slow.key").write_text("key-of-slow\n")
    accounts = folder / "accounts.toml"
    accounts.write_text(
        f'[accounts.slow]\napp_key_file = "{folder}/slow.key"\nrates = "{RATES["slow"]}"\n'
        f"integration_id = {INTEGRATION_ID}\n"
        f'[accounts.fast]\napp_key_env = "KEY_OF_FAST"\nrates = "{RATES["fast"]}"\n'
    )
    with House(
        api=("--app-key", "key-of-slow=slow", "--app-key", "key-of-fast=fast"),
        env={"WARROOMS_ACCOUNTS_FILE": str(accounts), "KEY_OF_FAST": "key-of-fast", "WARROOMS_CONCURRENCY": "8"},
        settings={"accounts_file": accounts},
    ) as house:
        house.start_workers(1)
        yield house


def test_urgent_overtakes_a_backlog(two: House) -> None:
    backlog = two.jobs(BACKLOG, account="fast")
    urgent = two.jobs(3, account="fast", lane=Lane.URGENT)
    two.enqueue(*backlog)
    two.enqueue(*urgent)
    two.finish(*urgent)
    assert two.progress("fast").states[JobState.QUEUED] > 0, "the backlog is still there"
    two.finish(*backlog)
    two.assert_one_room_each(*backlog, *urgent)
    two.assert_counters_balance(*backlog, *urgent, account="fast")


def test_a_waiting_job_that_becomes_urgent_overtakes_too(two: House) -> None:
    two.fresh()
    backlog = two.jobs(BACKLOG, account="fast")
    last = backlog[-1]
    two.enqueue(*backlog)
    two.enqueue(last.model_copy(update={"lane": Lane.URGENT}))
    (record,) = two.finish(last)
    assert record.job.lane is Lane.URGENT
    assert two.progress("fast").states[JobState.QUEUED] > 0, "the backlog is still there"
    two.finish(*backlog)
    two.assert_one_room_each(*backlog)
    two.assert_counters_balance(*backlog, account="fast")


def test_a_slow_account_does_not_stop_a_fast_one_and_each_uses_its_own_key(two: House) -> None:
    two.fresh()
    slow, fast = two.jobs(40, account="slow"), two.jobs(60, account="fast")
    two.enqueue(*slow, *fast)  # more slow jobs than the worker has threads, and in front
    until(lambda: two.stack.stats()["accounts"].get("slow", {}).get("arrivals", 0) >= 1, "a call of the slow account")
    two.finish(*fast)
    stats = two.stack.stats()
    assert two.progress("slow").states[JobState.QUEUED] > 0, "the slow account still has its backlog"
    assert stats["accounts"]["fast"]["by_endpoint"] == {CREATE: 60}
    assert stats["accounts"]["slow"]["arrivals"] >= 1
    assert (stats["unknown_key"], stats["refusals"], stats["turned_away"]) == (0, 0, 0)
    assert {two.room_of(job)["account"] for job in fast} == {"fast"}
    opened = [job for job in slow if two.rooms(job)]
    assert {two.room_of(job)["account"] for job in opened} == {"slow"}


def test_the_same_incident_in_two_accounts_has_two_rooms(two: House) -> None:
    two.fresh()
    one = two.job(account="slow")
    other = WarRoomJob(account="fast", incident_id=one.incident_id, integration_id=INTEGRATION_ID)
    two.open(one, other)
    assert sorted(room["account"] for room in two.rooms(one)) == ["fast", "slow"]


def test_batches_take_turns_and_flower_shows_which_job_a_task_serves(shared: House) -> None:
    """Each message of the small batch stands behind those of the large one; its jobs do not."""
    shared.fresh()
    large, small = shared.jobs(30), shared.jobs(5)
    heard: PubSub = shared.stack.redis.pubsub()  # type: ignore[no-untyped-call]
    heard.psubscribe("/*.celeryev/*")
    until(heard.get_message, "that it listens")
    bucket = shared.queue.bucket("default")
    bucket.penalty(60)  # so that all wait when the first is taken
    shared.enqueue(*large, batch="large")
    shared.enqueue(*small, batch="small")
    bucket.clear()
    shared.finish(*large, *small)
    order = [room["incident_id"] for room in shared.rooms()]
    assert max(order.index(job.incident_id) for job in small) < 25
    shown: dict[str, list[str]] = {}
    everybody = {f"{job.incident_id} @ default, bulk, batch large" for job in large}
    everybody |= {f"{job.incident_id} @ default, bulk, batch small" for job in small}

    def all_are_shown() -> bool:
        for event in _events(heard):
            shown.setdefault(event["uuid"], []).append(event["kwargs"])
        return {names[-1] for names in shown.values()} >= everybody

    until(all_are_shown, "Flower's events of all jobs")
    assert all(len(names) == 1 for names in shown.values()), "told once, when it is known which job it is about"
    heard.close()


def _events(heard: PubSub) -> Iterator[dict[str, str]]:
    while message := heard.get_message():
        body = json.loads(b64decode(json.loads(message["data"])["body"]))
        for event in body if isinstance(body, list) else [body]:
            if event["type"] == "task-received":
                yield event
