"""An API that is down, an account that is suspended: what everybody is told, and how it ends."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from worker.errors import AccessDenied, AccountRefused, NotSent
from worker.health import Level, Sign, Trouble
from worker.jobs import Lane
from worker.rate_limit import SECOND_US
from worker.slots import Reserved

from .desk import EXPIRY_STEP_MS, KEPT_MS, START_US
from .outages import (
    NO_KEY,
    TIMEOUT,
    a_well_bucket_is_small,
    goes_down,
    is_suspended,
    probe,
    recovers,
    traffic_comes_back_on_a_ramp,
)
from .safety import ACCOUNT
from .tables import STEADY
from .workers import Crew, Simulation

if TYPE_CHECKING:
    from collections.abc import Callable

    from .desk import Desk, Open


# --- what opens it --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.05, 0.1])
@pytest.mark.parametrize("seed", range(5))
def test_scattered_failures_never_open_it(open_desk: Open, share: float, seed: int) -> None:
    dice, desk = random.Random(seed), open_desk(STEADY)
    for _ in range(400):
        sign = Sign.UNWELL if dice.random() < share else Sign.WELL
        assert desk.bucket.report(sign, 1, None).level < Level.DOWN


@pytest.mark.parametrize("seed", range(5))
def test_an_api_of_which_most_calls_fail_is_down_soon(open_desk: Open, seed: int) -> None:
    dice, desk = random.Random(seed), open_desk(STEADY)
    signs = (Sign.UNWELL if dice.random() < 0.8 else Sign.WELL for _ in range(60))
    assert any(desk.bucket.report(sign, 1, None).level is Level.DOWN for sign in signs)


# --- probes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [goes_down, is_suspended])
@pytest.mark.parametrize("seed", range(5))
def test_of_many_callers_exactly_one_is_the_probe(
    open_desk: Open, trouble: Callable[[Desk], object], seed: int
) -> None:
    dice, desk = random.Random(seed), open_desk(ACCOUNT)
    for _ in range(30):  # a line stands in front of it
        desk.bucket.acquire(dice.choice(list(Lane)))
    desk.now_us += SECOND_US
    trouble(desk)
    left_s = desk.bucket.peek().lines.pause_s
    early = [_asks(dice, desk) for _ in range(30)]
    desk.now_us += round(left_s * SECOND_US) - desk.horizon_us - 1
    early += [_asks(dice, desk) for _ in range(30)]
    desk.now_us += dice.randint(1, 2 * desk.horizon_us)
    asked = [_asks(dice, desk) for _ in range(60)]
    assert not any(early)
    assert sum(asked) == 1
    assert asked[0], "whoever asks first"


def _asks(dice: random.Random, desk: Desk) -> bool:
    return isinstance(desk.bucket.acquire(dice.choice(list(Lane)), ticket=dice.random() < 0.5), Reserved)


def test_an_outage_of_ten_minutes_is_probed_and_full_speed_is_back_within_thirty_seconds(open_desk: Open) -> None:
    desk = open_desk(ACCOUNT)
    simulation = Simulation(desk, [Crew(12), Crew(3, lane=Lane.URGENT, busy_us=400_000)])
    simulation.ends = Sign.WELL
    simulation.run(30)
    down_us, simulation.ends = desk.now_us, Sign.UNWELL
    simulation.run(600)
    up_us, simulation.ends = desk.now_us, Sign.WELL
    slots = [call.slot_us for call in simulation.run(90).calls]
    in_the_outage = [slot for slot in slots if down_us + SECOND_US <= slot < up_us]
    after = [slot for slot in slots if up_us + 30 * SECOND_US <= slot]
    assert 38 <= len(in_the_outage) <= 50, "a probe about every 15 s"
    assert len(after) >= 0.985 * 60 * ACCOUNT.rate_per_s


# --- the ramp, and what is left behind ----------------------------------------------------------------------------


def test_traffic_comes_back_on_a_ramp(open_desk: Open) -> None:
    traffic_comes_back_on_a_ramp(open_desk)


def test_a_suspension_ends_without_a_ramp(open_desk: Open) -> None:
    desk = open_desk(STEADY)
    is_suspended(desk)
    recovers(desk)
    assert len(Simulation(desk, [Crew(12)]).run(10).calls) >= 100


def test_what_an_outage_wrote_is_removed_when_it_is_over(open_desk: Open) -> None:
    a_well_bucket_is_small(open_desk)


def test_a_bucket_of_an_account_that_is_down_takes_500_bytes_at_most(open_desk: Open) -> None:
    desk = open_desk(ACCOUNT)
    desk.bucket.acquire(Lane.BULK)
    goes_down(desk)
    assert 0 < (desk.store.client.memory_usage(desk.bucket.key) or 0) <= 500


def test_both_keys_end_a_day_after_the_last_question(open_desk: Open) -> None:
    desk = open_desk(ACCOUNT)
    client = desk.store.client
    for trouble, wait_ms in ((goes_down, 1_000), (is_suspended, 55_000)):
        trouble(desk)
        for key in (desk.bucket.key, desk.bucket.trouble_key):
            assert -2_000 < int(client.pttl(key)) - KEPT_MS - wait_ms <= EXPIRY_STEP_MS + 2_000
        for key in (desk.bucket.key, desk.bucket.trouble_key):
            client.pexpire(key, 1000)
        desk.now_us += EXPIRY_STEP_MS * 1000
        probe(desk)
        assert int(client.pttl(desk.bucket.trouble_key)) == pytest.approx(int(client.pttl(desk.bucket.key)), abs=100)
        assert int(client.pttl(desk.bucket.key)) > KEPT_MS


# --- why ----------------------------------------------------------------------------------------------------------


def test_a_suspended_account_tells_why_until_a_probe_succeeds(open_desk: Open) -> None:
    desk = open_desk(STEADY)
    assert desk.bucket.trouble() is None
    is_suspended(desk)
    why = Trouble(
        level=Level.SUSPENDED,
        since=START_US / SECOND_US,
        probes=0,
        code="Unauthorized",
        message=str(NO_KEY),
        hint="check the key",
        request_id="r2",
    )
    assert desk.bucket.trouble() == why
    probe(desk)
    other = AccountRefused("no", code="BalanceNotEnough", status=402, hint="pay", request_id="r3")
    desk.bucket.report(Sign.REFUSED, 0, other)
    trouble = desk.bucket.trouble()
    assert trouble is not None
    assert (trouble.since, trouble.probes, trouble.code, trouble.hint) == (why.since, 1, "BalanceNotEnough", "pay")
    assert trouble.request_id == "r3"
    recovers(desk)
    assert desk.bucket.trouble() is None


def test_a_5xx_to_its_probe_does_not_hide_why_an_account_is_suspended(open_desk: Open) -> None:
    desk = open_desk(STEADY)
    is_suspended(desk)
    probe(desk)
    desk.bucket.report(Sign.UNWELL, 0, TIMEOUT)
    trouble = desk.bucket.trouble()
    assert trouble is not None
    assert (trouble.level, trouble.code, trouble.probes) == (Level.SUSPENDED, "Unauthorized", 1)


def test_an_api_that_is_down_tells_its_last_failure(open_desk: Open) -> None:
    desk = open_desk(STEADY)
    for number in range(5):
        assert desk.bucket.trouble() is None
        desk.bucket.report(Sign.UNWELL, 1, NotSent(f"no route {number}", code="NotConnected"))
    trouble = desk.bucket.trouble()
    assert trouble is not None
    assert (trouble.level, trouble.message) == (Level.DOWN, "NotConnected: no route 4")
    for probes in (1, 2):
        probe(desk)
        desk.bucket.report(Sign.UNWELL, 0, TIMEOUT)
        trouble = desk.bucket.trouble()
        assert trouble is not None
        assert (trouble.code, trouble.probes, trouble.since) == ("Timeout", probes, START_US / SECOND_US)
    probe(desk)
    is_suspended(desk)  # went out before
    desk.bucket.report(Sign.REFUSED, 0, NO_KEY)
    trouble = desk.bucket.trouble()
    assert trouble is not None
    assert (trouble.level, trouble.code, trouble.since) == (Level.SUSPENDED, "Unauthorized", START_US / SECOND_US)


def test_the_fifth_denial_tells_why(open_desk: Open) -> None:
    desk = open_desk(STEADY)
    for _ in range(5):
        assert desk.bucket.trouble() is None
        desk.bucket.report(Sign.DENIED, 1, AccessDenied("not yours", code="AccessDenied", status=403, hint="rights"))
    trouble = desk.bucket.trouble()
    assert trouble is not None
    assert (trouble.level, trouble.code, trouble.hint) == (Level.SUSPENDED, "AccessDenied", "rights")


def test_resume_and_clear_forget_why(open_desk: Open) -> None:
    for forget in ("resume", "clear"):
        desk = open_desk(STEADY)
        is_suspended(desk)
        getattr(desk.bucket, forget)()
        assert desk.bucket.trouble() is None
        assert desk.store.client.exists(desk.bucket.trouble_key) == 0


def test_a_second_outage_begins_anew(open_desk: Open) -> None:
    desk = open_desk(STEADY)
    goes_down(desk)
    for _ in range(4):
        probe(desk)
        desk.bucket.report(Sign.UNWELL, 0, TIMEOUT)
    recovers(desk)
    desk.now_us += 60 * SECOND_US
    assert goes_down(desk).pause_s == 1
    trouble = desk.bucket.trouble()
    assert trouble is not None
    assert (trouble.probes, trouble.since) == (0, desk.now_us / SECOND_US)
