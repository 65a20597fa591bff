"""The last refused messages, in Redis and on the command line."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.commands import one_object
from worker.refusals import KEPT, LONGEST, Refusal, Refusals

if TYPE_CHECKING:
    from tests.commands import Run
    from worker.redis_store import RedisStore


def test_the_newest_hundred_are_kept_for_a_week(store: RedisStore) -> None:
    refusals = Refusals(store)
    assert refusals.newest() == []
    for number in range(KEPT + 5):
        refusals.keep(Refusal(float(number), "warrooms.default", f"reason {number}"))
    kept = refusals.newest()
    assert (len(kept), kept[0].reason, kept[-1].reason) == (KEPT, f"reason {KEPT + 4}", "reason 5")
    assert 604_700 < store.client.ttl("warrooms:refused") <= 604_800


def test_whatever_was_sent_each_part_is_cut(store: RedisStore) -> None:
    refusals = Refusals(store)
    refusals.keep(Refusal(1.0, "q" * 999, "r" * 999, "i" * 999, "s" * 999))
    assert refusals.newest() == [Refusal(1.0, "q" * LONGEST, "r" * LONGEST, "i" * LONGEST, "s" * LONGEST)]


def test_people_see_them(run: Run, store: RedisStore) -> None:
    assert run("failed", "refused").stdout == "no message was refused in the last week\n"
    now_s = time.time()
    Refusals(store).keep(Refusal(now_s - 60, "warrooms.default", "incident_id: is missing", "t-1", "urgent=True"))
    Refusals(store).keep(Refusal(now_s, "", "it is no message (ValueError) \x1b[31m"))
    first, second, total = run("failed", "refused").stdout.splitlines()
    assert first.endswith("  unknown queue  it is no message (ValueError) \\x1b[31m")
    assert second.endswith("  warrooms.default  incident_id: is missing  (urgent=True)  task t-1")
    assert total == "2 messages refused: nothing was queued; correct the sender, and send again"
    listed = one_object(run("failed", "refused", "--json"))["refused"]
    assert [one["task_id"] for one in listed] == ["", "t-1"]
    assert set(listed[0]) == {"at", "queue", "reason", "task_id", "shown"}
