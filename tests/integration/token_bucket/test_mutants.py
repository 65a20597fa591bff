"""The tests are tested: every plausible mistake in the script is caught, by each judge that is named for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from . import test_health_table
from .desk import Desk, MutantStore
from .histories import bucket_and_twin_agree
from .outages import a_well_bucket_is_small, traffic_comes_back_on_a_ramp
from .safety import (
    a_bucket_that_was_rolled_back_gives_no_more,
    a_lost_bucket_gives_no_more,
    every_answer_to_a_refund_is_safe,
    no_server_refuses_a_used_slot,
)
from .tables import play
from .test_truth_table import TABLES

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.rate_limit import Plan

    from .desk import Open


def tables(open_desk: Open) -> None:
    for plan, rows in TABLES.values():
        play(open_desk, rows, plan)


def health(open_desk: Open) -> None:
    for rows in test_health_table.TABLES.values():
        play(open_desk, rows)


def twin(open_desk: Open) -> None:
    bucket_and_twin_agree(open_desk, seeds=2, length=400)


def servers(open_desk: Open) -> None:
    no_server_refuses_a_used_slot(open_desk, seconds=30, seeds=1)


def refunds(open_desk: Open) -> None:
    every_answer_to_a_refund_is_safe(open_desk)


JUDGES: Final[dict[str, Callable[[Open], None]]] = {
    "tables": tables,
    "twin": twin,
    "health": health,
    "ramp": traffic_comes_back_on_a_ramp,
    "size": a_well_bucket_is_small,
    "rollback": a_bucket_that_was_rolled_back_gives_no_more,
    "servers": servers,
    "refunds": refunds,
    "loss": a_lost_bucket_gives_no_more,
}

MUTANTS: Final = {
    "the interval is a tenth too short": (
        "tonumber(ARGV[3 + 2 * i]), tonumber(",
        "math.floor(0.9 * tonumber(ARGV[3 + 2 * i])), tonumber(",
        "tables twin servers refunds",
    ),
    "the interval is one microsecond too short": (
        "tonumber(ARGV[3 + 2 * i]), tonumber(",
        "tonumber(ARGV[3 + 2 * i]) - 1, tonumber(",
        "twin servers refunds",
    ),
    "no tolerance": ("math.max(at, tat[i] - tolerance[i])", "math.max(at, tat[i])", "tables twin"),
    "twice the tolerance": (
        "math.max(at, tat[i] - tolerance[i])",
        "math.max(at, tat[i] - 2 * tolerance[i])",
        "tables twin servers refunds",
    ),
    "the second limit is not asked": (
        "for i = 1, n do\n    at = ",
        "for i = 1, 1 do\n    at = ",
        "tables twin servers",
    ),
    "the second limit is not charged": (
        "for i = 1, n do\n    -- Giving",
        "for i = 1, 1 do\n    -- Giving",
        "tables servers",
    ),
    "full on first sight": (
        "local empty = math.max(now, pause) + horizon + tolerance[i] + interval[i]",
        "local empty = now",
        "tables twin loss",
    ),
    "empty on first sight, but slots ahead forgotten": (
        "local empty = math.max(now, pause) + horizon + tolerance[i] + interval[i]",
        "local empty = math.max(now, pause) + tolerance[i] + interval[i]",
        "tables twin loss",
    ),
    "no horizon": ("mine - now <= horizon and not", "not", "tables twin"),
    "the horizon is one microsecond short": ("mine - now <= horizon", "mine - now < horizon", "tables"),
    "every refund is taken": ("tonumber(issued) == stamp[i]", "tonumber(issued)", "tables twin servers refunds"),
    "spilled tokens come back": ("tat[i] - slot < interval[i]", "false", "tables twin refunds"),
    "two refunds in a row": ("stamp[i] = stamp[i] + 1 -- one", "-- one", "tables twin refunds"),
    "a refund gives two tokens": (
        "tat[i] = tat[i] - interval",
        "tat[i] = tat[i] - 2 * interval",
        "tables twin refunds",
    ),
    "the last penalty wins": ("if now + length > pause then", "if true then", "tables twin"),
    "tokens gather during a pause": (
        "tat[i] = math.max(tat[i], pause + tolerance[i] + interval[i])",
        "tat[i] = tat[i]",
        "tables twin",
    ),
    "late 429s double the pause": ("if pause > now then", "if false then", "tables twin"),
    "the row of 429s never ends": ("(now - pause <= STREAK_US)", "true", "tables"),
    "a blind pause beyond a minute": ("BLIND_PAUSE_US)\n", "10 * BLIND_PAUSE_US)\n", "tables"),
    "tickets are ignored": ("(has_ticket or spare)", "spare", "tables twin"),
    "newcomers pass the line": ("(has_ticket or spare)", "true", "tables twin"),
    "missed slots are lost": (
        "now - (tat[slowest] - tolerance[slowest]) >= widest",
        "false",
        "tables twin",
    ),
    "urgent stands in the bulk line": ("lane == 'urgent' and urgent_end or bulk_end", "bulk_end", "tables twin"),
    "bulk starves": ("local bulk_is_due = in_a_row >= share", "local bulk_is_due = false", "tables twin"),
    "urgent waits for dead bulk workers": (" and free > now\n", "\n", "tables twin"),
    "bulk queues behind all of urgent": (
        "elseif lane == 'bulk' and urgent_waits then",
        "elseif false then",
        "tables twin",
    ),
    "a clock that steps back is believed": ("local back = math.max(", "local back = 0 * math.max(", "tables twin"),
    "a clock that steps back refills": (
        "or known - back) or empty",
        "or now) or empty",
        "tables twin servers",
    ),
    "a hit passes those who wait": ("newcomer('bulk') <= now", "slot <= now", "tables"),
    "a hit is not remembered": ("save() -- also if refused", "-- also if refused", "tables twin"),
    "levels are rounded up": ("math.floor(1000 *", "math.ceil(1000 *", "twin"),
    # --- restarts ---
    "a restart is not noticed": ("local restarted = stored[14] ~= run", "local restarted = false", "health rollback"),
    "a restart is noticed for ever": ("if restarted then\n", "if false then\n", "tables health twin"),
    "old slots are taken back after a restart": (
        "not restarted and tonumber(stored[NAMED + 2 * i])",
        "tonumber(stored[NAMED + 2 * i])",
        "health",
    ),
    # --- health ---
    "a success makes no failure good": (
        "failures, denials = math.max(failures - 1, 0), math.max(denials - 1, 0)",
        "failures = failures",
        "health twin",
    ),
    "a success makes all failures good": (
        "failures, denials = math.max(failures - 1, 0), math.max(denials - 1, 0)",
        "failures, denials = 0, 0",
        "health twin",
    ),
    "answers to old calls count": ("now - age >= opened_at", "true", "health twin"),
    "everybody is a probe": ("probe_at = now + wait + PROBE_US", "probe_at = probe_at", "health twin"),
    "a hit is a probe": ("(level < DOWN and newcomer(", "(newcomer(", "twin"),
    "a probe that was not sent is waited for": (
        "local free_again = frees_the_next_probe(receipt)\n  if taken_back",
        "local free_again = false\n  if taken_back",
        "health twin",
    ),
    "any 429 frees the next probe": ("string.find(receipt, PROBE, 1, true) ~= nil", "true", "health twin"),
    "a probe's 429 frees no other": (
        "local free_again = frees_the_next_probe(receipt)\n  local length",
        "local free_again = false\n  local length",
        "health twin",
    ),
    "probes go out every second": (
        "PROBES_US[math.min(failed_probes + 1, #PROBES_US)]",
        "PROBES_US[1]",
        "health twin",
    ),
    "a suspended account is probed every second": (
        "open(SUSPENDED, SUSPENDED_US, ...)",
        "open(SUSPENDED, PROBES_US[1], ...)",
        "health twin",
    ),
    "a 5xx makes people forget why it is suspended": ("if level == SUSPENDED and redis", "if false and redis", "twin"),
    "an answer on the way closes the outage": ("if how == 'answered' then", "if false then", "health twin"),
    "a denial leaves the API down": ("if level == DOWN then -- it answers", "if false then -- it", "health twin"),
    "who was sent away keeps a place": ("urgent_end, bulk_end = 0, 0 -- who", "-- who", "twin"),
    "who is sent away gets a place": ("if level < DOWN and held_until <= now then", "if true then", "health twin"),
    "no ramp": ("if ramp_end > now then -- traffic", "if false then -- traffic", "health twin ramp"),
    "the ramp is steep": ("(SLOWEST - 1) * part", "0.1 * part", "health twin ramp"),
    "the ramp is faster than full speed": ("(SLOWEST - 1) * part", "-0.6 * part", "health twin ramp"),
    "the ramp has no end": ("local part = math.min(", "local part = math.max(1, ", "health twin"),
    "the ramp of a slow account ends late": ("math.min(longer, to_the_end)", "longer", "twin ramp"),
    "a well account keeps its trouble": ("redis.call('HDEL', key, 'l'", "redis.call('HDEL', key, 'x'", "size"),
}


@pytest.mark.parametrize(
    ("mistake", "judge"), [(mistake, judge) for mistake, (_, _, judges) in MUTANTS.items() for judge in judges.split()]
)
def test_a_mistake_in_the_script_is_caught(valkey_url: str, mistake: str, judge: str) -> None:
    old, new, _ = MUTANTS[mistake]
    store = MutantStore(valkey_url, old, new)

    def opened(plan: Plan, **kwargs: int) -> Desk:
        return Desk(store, plan, **kwargs)

    try:
        with pytest.raises(AssertionError):
            JUDGES[judge](opened)
    finally:
        store.close()
