"""Rows of clock, command and reply: what the bucket answers, and the tokens it holds then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

import pytest

from worker.jobs import Lane
from worker.rate_limit import SECOND_US, plan_of
from worker.slots import Reserved

from .desk import EXPIRY_STEP_MS, KEPT_MS, START_US
from .tables import STEADY, TWO_LIMITS, Row, play

if TYPE_CHECKING:
    from worker.rate_limit import Plan

    from .desk import Desk, Open

TABLES: Final[dict[str, tuple[Plan, tuple[Row, ...]]]] = {
    "a hit passes nobody who waits": (
        STEADY,
        (
            (0, "bulk", "back in 150 | -1"),
            (0, "bulk", "back in 250 | -1"),
            (250, "hit", "no | 1.5"),
            (250, "bulk+", "slot in 0 | 0.5"),
            (399, "hit", "no | 1.99"),
            (400, "hit", "yes | 1"),
        ),
    ),
    "a bucket seen for the first time is empty, and one horizon later it holds its first token": (
        STEADY,
        (
            (0, "peek", "slot in 200 | -1"),
            (0, "bulk", "back in 150 | -1"),
            (0, "urgent", "back in 150 | -1"),
            (149, "bulk+", "back in 101 | 0.49"),
            (150, "bulk+", "back in 200 | 0.5"),
            (200, "peek", "slot in 0 | 1"),
            (250, "bulk+", "slot in 0 | 0.5"),
        ),
    ),
    "after a rest it gives its burst, then one slot within the horizon, then places in a line": (
        STEADY,
        (
            (0, "hit", "no | -1"),
            (10_000, "peek", "slot in 0 | 4"),
            (10_000, "bulk", "slot in 0 | 3"),
            (10_000, "bulk", "slot in 0 | 2"),
            (10_000, "bulk", "slot in 0 | 1"),
            (10_000, "bulk", "slot in 0 | 0"),
            (10_000, "bulk", "slot in 100 | -1"),
            (10_000, "bulk", "back in 150 | -1"),
            (10_050, "bulk+", "back in 200 | -0.5"),
            (20_000, "bulk", "slot in 0 | 3"),
        ),
    ),
    "state lost while a slot lies ahead: the next slot is the one the lost bucket would have given": (
        STEADY,
        (
            (0, "hit", "no | -1"),
            (10_000, "bulk", "slot in 0 | 3"),
            (10_000, "bulk", "slot in 0 | 2"),
            (10_000, "bulk", "slot in 0 | 1"),
            (10_000, "bulk", "slot in 0 | 0"),
            (10_000, "bulk", "slot in 100 | -1"),
            (10_000, "forget", "| -1"),
            (10_000, "bulk", "back in 150 | -1"),
            (10_150, "bulk+", "slot in 50 | -0.5"),
        ),
    ),
    "both limits hold at once": (
        TWO_LIMITS,
        (
            (0, "hit", "no | -4 -1"),
            (10_000, "bulk", "slot in 0 | 0 3"),
            (10_000, "bulk", "slot in 25 | -1 2"),
            (10_000, "bulk", "slot in 50 | -2 1"),
            (10_000, "bulk", "slot in 75 | -3 0"),
            (10_000, "bulk", "slot in 100 | -4 -1"),
            (10_000, "bulk", "back in 150 | -4 -1"),
        ),
    ),
    "a slot is reserved within the horizon only; hit takes only what is free this moment": (
        STEADY,
        (
            (0, "hit", "no | -1"),
            (199, "bulk", "slot in 1 | -0.01"),
            (9_899, "hit", "yes | 3"),
            (10_000, "hit", "yes | 3"),
            (10_000, "hit", "yes | 2"),
            (10_000, "hit", "yes | 1"),
            (10_000, "hit", "yes | 0"),
            (10_000, "hit", "no | 0"),
            (10_000, "bulk", "slot in 100 | -1"),
            (10_000, "bulk", "back in 150 | -1"),
            (10_099, "bulk", "back in 151 | -0.01"),
            (10_249, "bulk+", "slot in 0 | 0.49"),
        ),
    ),
    "whoever comes back as told finds a slot, and a newcomer goes to the end": (
        STEADY,
        (
            (0, "bulk", "back in 150 | -1"),
            (0, "bulk", "back in 250 | -1"),
            (0, "bulk", "back in 350 | -1"),
            (150, "bulk+", "slot in 50 | -0.5"),
            (150, "bulk", "back in 300 | -0.5"),
            (250, "bulk+", "slot in 50 | -0.5"),
            (350, "bulk+", "slot in 50 | -0.5"),
            (450, "bulk+", "slot in 50 | -0.5"),
        ),
    ),
    "whoever comes back too early goes to the end of the line": (
        STEADY,
        (
            (0, "bulk", "back in 150 | -1"),
            (0, "bulk", "back in 250 | -1"),
            (100, "bulk", "back in 250 | 0"),
            (150, "bulk+", "slot in 50 | -0.5"),
            (160, "bulk+", "back in 290 | -0.4"),
        ),
    ),
    "an urgent newcomer overtakes the bulk line": (
        STEADY,
        (
            (0, "bulk", "back in 150 | -1"),
            (0, "bulk", "back in 250 | -1"),
            (0, "bulk", "back in 350 | -1"),
            (0, "urgent", "back in 150 | -1"),
            (150, "urgent+", "slot in 50 | -0.5"),
            (150, "bulk+", "back in 300 | -0.5"),
            (250, "bulk+", "slot in 50 | -0.5"),
        ),
    ),
    "after nine urgent slots bulk gets one, and urgent waits one slot for it": (
        STEADY,
        (
            (0, "hit", "no | -1"),
            (200, "urgent+", "slot in 0 | 0"),
            (300, "urgent+", "slot in 0 | 0"),
            (400, "urgent+", "slot in 0 | 0"),
            (500, "urgent+", "slot in 0 | 0"),
            (600, "urgent+", "slot in 0 | 0"),
            (700, "urgent+", "slot in 0 | 0"),
            (800, "urgent+", "slot in 0 | 0"),
            (900, "urgent+", "slot in 0 | 0"),
            (1_000, "urgent+", "slot in 0 | 0"),
            (1_000, "urgent+", "slot in 100 | -1"),
            (1_000, "bulk", "back in 150 | -1"),
            (1_100, "urgent+", "back in 100 | 0"),
            (1_150, "bulk+", "slot in 50 | -0.5"),
            (1_200, "urgent+", "slot in 100 | -1"),
        ),
    ),
    "bulk that does not come for its slot delays urgent only until that slot": (
        STEADY,
        (
            (0, "hit", "no | -1"),
            (200, "urgent+", "slot in 0 | 0"),
            (300, "urgent+", "slot in 0 | 0"),
            (400, "urgent+", "slot in 0 | 0"),
            (500, "urgent+", "slot in 0 | 0"),
            (600, "urgent+", "slot in 0 | 0"),
            (700, "urgent+", "slot in 0 | 0"),
            (800, "urgent+", "slot in 0 | 0"),
            (900, "urgent+", "slot in 0 | 0"),
            (1_000, "urgent+", "slot in 0 | 0"),
            (1_000, "urgent+", "slot in 100 | -1"),
            (1_000, "bulk", "back in 150 | -1"),
            (1_100, "urgent+", "back in 100 | 0"),
            (1_200, "urgent+", "slot in 0 | 0"),
            (1_200, "bulk+", "slot in 100 | -1"),
        ),
    ),
    "an endless urgent line does not send bulk behind its end, but to its turns": (
        STEADY,
        (
            (0, "hit", "no | -1"),
            (0, "urgent", "back in 150 | -1"),
            (0, "urgent", "back in 250 | -1"),
            (0, "urgent", "back in 350 | -1"),
            (0, "urgent", "back in 450 | -1"),
            (0, "urgent", "back in 550 | -1"),
            (0, "urgent", "back in 650 | -1"),
            (0, "urgent", "back in 750 | -1"),
            (0, "urgent", "back in 850 | -1"),
            (0, "urgent", "back in 950 | -1"),
            (0, "urgent", "back in 1050 | -1"),
            (0, "urgent", "back in 1150 | -1"),
            (0, "urgent", "back in 1250 | -1"),
            (0, "urgent", "back in 1350 | -1"),
            (0, "urgent", "back in 1450 | -1"),
            (0, "urgent", "back in 1550 | -1"),
            (0, "urgent", "back in 1650 | -1"),
            (0, "urgent", "back in 1750 | -1"),
            (0, "urgent", "back in 1850 | -1"),
            (0, "urgent", "back in 1950 | -1"),
            (0, "urgent", "back in 2050 | -1"),
            (0, "urgent", "back in 2150 | -1"),
            (0, "urgent", "back in 2250 | -1"),
            (0, "urgent", "back in 2350 | -1"),
            (0, "urgent", "back in 2450 | -1"),
            (0, "urgent", "back in 2550 | -1"),
            (0, "urgent", "back in 2650 | -1"),
            (0, "urgent", "back in 2750 | -1"),
            (0, "urgent", "back in 2850 | -1"),
            (0, "urgent", "back in 2950 | -1"),
            (0, "urgent", "back in 3050 | -1"),
            (0, "bulk", "back in 1050 | -1"),
            (0, "bulk", "back in 2050 | -1"),
            (150, "urgent+", "slot in 50 | -0.5"),
            (150, "bulk+", "back in 900 | -0.5"),
        ),
    ),
    "places that were abandoned go to whoever asks as soon as a slot was missed": (
        STEADY,
        (
            (0, "bulk", "back in 150 | -1"),
            (0, "bulk", "back in 250 | -1"),
            (0, "bulk", "back in 350 | -1"),
            (0, "bulk", "back in 450 | -1"),
            (299, "bulk", "back in 251 | 1.99"),
            (300, "bulk", "slot in 0 | 1"),
            (300, "bulk", "back in 350 | 1"),
        ),
    ),
    "a slot is taken back once, and only one before the next grant": (
        STEADY,
        (
            (0, "hit", "no | -1"),
            (10_000, "bulk", "slot in 0 | 3"),
            (10_000, "bulk", "slot in 0 | 2"),
            (10_000, "bulk", "slot in 0 | 1"),
            (10_000, "bulk", "slot in 0 | 0"),
            (10_000, "refund 4", "yes | 1"),
            (10_000, "refund 3", "no | 1"),
            (10_000, "refund 4", "no | 1"),
            (10_000, "bulk", "slot in 0 | 0"),
            (10_000, "refund 5", "yes | 1"),
            (10_000, "refund 2", "no | 1"),
        ),
    ),
    "a token that would have spilled over is not taken back": (
        STEADY,
        (
            (0, "hit", "no | -1"),
            (10_000, "bulk", "slot in 0 | 3"),
            (10_100, "bulk", "slot in 0 | 3"),
            (10_100, "refund 1", "no | 3"),
            (10_100, "refund 2", "yes | 4"),
        ),
    ),
    "an older slot is taken back while the bucket had room for it all the time": (
        STEADY,
        (
            (0, "hit", "no | -1"),
            (10_000, "bulk", "slot in 0 | 3"),
            (10_000, "bulk", "slot in 0 | 2"),
            (10_000, "bulk", "slot in 0 | 1"),
            (10_050, "bulk", "slot in 0 | 0.5"),
            (10_060, "refund 2", "yes | 1.6"),
        ),
    ),
    "a lost bucket takes nothing back": (
        STEADY,
        (
            (0, "hit", "no | -1"),
            (10_000, "bulk", "slot in 0 | 3"),
            (10_000, "forget", "| -1"),
            (10_000, "refund 1", "no | -1"),
        ),
    ),
    "nothing is taken back across a penalty": (
        STEADY,
        (
            (0, "hit", "no | -1"),
            (10_000, "bulk", "slot in 0 | 3"),
            (10_000, "429 after 1", "pause 1 s | 0"),
            (10_000, "refund 1", "no | 0"),
        ),
    ),
    "the longest pause wins, and the buckets are empty on resume": (
        STEADY,
        (
            (0, "hit", "no | -1"),
            (10_000, "429 after 5", "pause 5 s | 0"),
            (11_000, "429 after 2", "pause 4 s | 0"),
            (11_000, "429 after 9", "pause 9 s | 0"),
            (12_000, "bulk", "back in 8050 | 0"),
            (19_949, "bulk+", "back in 201 | 0"),
            (20_000, "bulk+", "slot in 100 | -1"),
            (20_000, "peek", "slot in 200 | -1"),
        ),
    ),
    "429s without a Retry-After pause 1, 2, 4 ... 60 s; late ones do not double it; 10 quiet seconds end the row": (
        STEADY,
        (
            (0, "429", "pause 1 s | 0"),
            (500, "429", "pause 0.5 s | 0"),
            (1_000, "429", "pause 2 s | 0"),
            (2_999, "429", "pause 0.001 s | 0"),
            (3_000, "429", "pause 4 s | 0"),
            (17_000, "429", "pause 8 s | 0"),
            (25_000, "429", "pause 16 s | 0"),
            (41_000, "429", "pause 32 s | 0"),
            (50_000, "429", "pause 23 s | 0"),
            (73_000, "429", "pause 60 s | 0"),
            (133_000, "429", "pause 60 s | 0"),
            (203_000, "429", "pause 60 s | 0"),
            (273_001, "429", "pause 1 s | 0"),
        ),
    ),
    "a told pause does not end the row of blind ones": (
        STEADY,
        (
            (0, "429", "pause 1 s | 0"),
            (1_000, "429", "pause 2 s | 0"),
            (3_000, "429 after 3", "pause 3 s | 0"),
            (6_000, "429", "pause 4 s | 0"),
        ),
    ),
    "a clock that steps back an hour stops nothing and gives no token": (
        STEADY,
        (
            (0, "hit", "no | -1"),
            (3_600_000, "bulk", "slot in 0 | 3"),
            (3_600_000, "bulk", "slot in 0 | 2"),
            (3_600_000, "bulk", "slot in 0 | 1"),
            (3_600_000, "bulk", "slot in 0 | 0"),
            (3_600_000, "bulk", "slot in 100 | -1"),
            (3_600_000, "bulk", "back in 150 | -1"),
            (0, "bulk", "back in 250 | -1"),
            (0, "bulk+", "back in 350 | -1"),
            (150, "bulk+", "slot in 50 | -0.5"),
            (100, "bulk+", "back in 300 | -0.5"),
        ),
    ),
    "a pause survives a clock that steps back, with what was left of it": (
        STEADY,
        (
            (0, "hit", "no | -1"),
            (3_600_000, "429 after 2", "pause 2 s | 0"),
            (3_601_000, "peek", "slot in 1100 | 0"),
            (0, "peek", "slot in 2100 | 0"),
            (0, "hit", "no | 0"),
            (2_000, "hit", "no | 0"),
            (2_100, "hit", "yes | 0"),
        ),
    ),
    "a pause that is over stays over when the clock steps back": (
        STEADY,
        (
            (0, "hit", "no | -1"),
            (3_600_000, "429 after 2", "pause 2 s | 0"),
            (3_700_000, "hit", "yes | 3"),
            (3_100_000, "hit", "yes | 2"),
        ),
    ),
}


@pytest.mark.parametrize("sentence", TABLES)
def test_truth_table(open_desk: Open, sentence: str) -> None:
    plan, rows = TABLES[sentence]
    play(open_desk, rows, plan)


def test_a_retry_after_pauses_an_hour_at_most(open_desk: Open) -> None:
    assert open_desk(STEADY).bucket.penalty(99_999) == 3600


def run_id(desk: Desk) -> str:
    info = cast("dict[str, str]", desk.store.client.info("server"))
    return info["run_id"][:12]


def test_sixteen_digits_are_kept_exactly(open_desk: Open) -> None:
    desk = open_desk(STEADY, now_us=START_US + 123_457)
    desk.bucket.acquire(Lane.BULK)
    desk.bucket.acquire(Lane.URGENT)
    desk.bucket.penalty(1.000_003)
    first = START_US + 123_457 + desk.horizon_us + STEADY.interval_us
    resume = START_US + 123_457 + 1_000_003
    assert {name: value for name, value in desk.state().items() if name not in "ex"} == {
        "i": run_id(desk),
        "n": str(START_US + 123_457),
        "p": str(resume),
        "s": "0",
        "k": "0",
        "u": str(first + STEADY.interval_us),
        "b": str(first + STEADY.interval_us),
        "t1": str(resume + 4 * STEADY.interval_us),
        "c1": str(resume + 4 * STEADY.interval_us),
    }


def test_a_bucket_takes_400_bytes_at_most_and_never_outlives_its_use(open_desk: Open) -> None:
    desk = open_desk(plan_of("50/second;1000/minute"))
    client = desk.store.client
    for lane in (Lane.BULK, Lane.URGENT, Lane.BULK):
        desk.bucket.acquire(lane)
        assert 0 < int(client.pttl(desk.bucket.key)) <= KEPT_MS + EXPIRY_STEP_MS + 2_000
    desk.bucket.penalty(3600)
    kept_ms = int(client.pttl(desk.bucket.key))
    assert KEPT_MS + 3_590_000 < kept_ms <= KEPT_MS + EXPIRY_STEP_MS + 3_602_000
    assert 0 < (client.memory_usage(desk.bucket.key) or 0) <= 400


def test_a_look_and_a_refused_refund_leave_no_key(open_desk: Open) -> None:
    desk = open_desk(STEADY)
    desk.bucket.peek()
    assert not desk.bucket.refund(f"{START_US}")
    assert desk.store.client.exists(desk.bucket.key) == 0


def test_a_caller_with_a_shorter_horizon_frees_no_slot_of_the_others(open_desk: Open) -> None:
    far, now = open_desk(STEADY), open_desk(STEADY, horizon_us=0)
    now.bucket.key = far.bucket.key
    far.bucket.acquire(Lane.BULK)
    for desk in (far, now):
        desk.now_us += 10 * SECOND_US
    slots = 0
    for _ in range(20):
        for desk in (far, now):
            slots += isinstance(desk.bucket.acquire(Lane.BULK, ticket=True), Reserved)
    assert slots <= STEADY.limits[0].burst + 1


def test_without_a_clock_of_its_own_the_bucket_lives_on_the_clock_of_redis(open_desk: Open) -> None:
    desk = open_desk(STEADY)
    bucket = desk.another(own_clock=False)
    bucket.acquire(Lane.BULK)
    seconds, microseconds = desk.store.client.time()
    seen = int(desk.store.client.hgetall(bucket.key)["n"] or 0)
    assert 0 <= seconds * SECOND_US + microseconds - seen < 5 * SECOND_US
