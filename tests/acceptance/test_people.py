"""What people do in an outage, against real workers and the sandbox: replay, cancel, resume."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from sandbox.stack import until
from tests.commands import WARROOMS
from worker.jobs import JobState

from .house import LIST

if TYPE_CHECKING:
    from .house import House


def warrooms(house: House, *args: str) -> str:
    done = subprocess.run(
        [WARROOMS, *args], env=house.stack.env, check=True, timeout=60, capture_output=True, text=True
    )
    return done.stdout


def test_dead_letters_are_replayed_and_one_of_unknown_outcome_adopts_its_room(house: House) -> None:
    refused, unsure = house.job(), house.job()
    house.fault("error", refused, code="InvalidParameter", calls=1)
    house.fault("cut", unsure)
    assert {one.state for one in house.open(refused, unsure)} == {JobState.FAILED}
    assert house.record(unsure).look_first
    house.heal()
    looked = house.calls().get(LIST, 0)
    assert "replayed 2 dead letters" in warrooms(house, "failed", "replay", "--all")
    house.finish(refused, unsure)
    assert house.failed() == []
    assert house.calls()[LIST] == looked + 1
    house.assert_one_room_each(refused, unsure)
    house.assert_counters_balance(refused, unsure)


def test_a_suspended_account_is_resumed_by_command_and_a_batch_is_taken_back_meanwhile(house: House) -> None:
    wanted, unwanted = house.jobs(5), house.jobs(5)
    bucket = house.queue.bucket("default")
    house.fault("error", code="NoLicense")
    house.enqueue(*wanted)
    until(lambda: bucket.trouble() is not None, "the suspension")
    house.enqueue(*unwanted, batch="unwanted")
    assert "SUSPENDED: NoLicense" in warrooms(house, "status")
    assert "batch unwanted: cancelled 5 jobs" in warrooms(house, "cancel", "--batch", "unwanted")
    house.heal()
    assert "it was suspended: NoLicense" in warrooms(house, "limit", "resume")
    house.finish(*wanted, within_s=20)
    house.idle()
    house.assert_one_room_each(*wanted)
    assert len(house.rooms()) == 5
    assert {house.record(job).state for job in unwanted} == {JobState.CANCELLED}
    house.assert_counters_balance(*wanted, *unwanted)
