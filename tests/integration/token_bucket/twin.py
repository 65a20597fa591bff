"""The bucket written a second time, from the header of token_bucket.lua and docs/limiter.md, in another formulation.

The script keeps one time per limit (the TAT of GCRA) and a stamp per limit. The twin keeps what people think of:
a level of tokens at a moment, as an exact fraction, and for every receipt the limits that can still take it back.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING, Final

from worker.health import Health, Level, Sign
from worker.jobs import Lane
from worker.rate_limit import SECOND_US
from worker.slots import Lines, NotYet, Reserved
from worker.token_bucket import BucketLevel, Resumed

if TYPE_CHECKING:
    from worker.rate_limit import Limit, Plan

HOUR_US: Final = 3600 * SECOND_US
DAY_US: Final = 24 * HOUR_US
LONGEST_LINE_US: Final = 15 * SECOND_US
QUIET_US: Final = 10 * SECOND_US
BLIND_PAUSES_S: Final = (1, 2, 4, 8, 16, 32, 60)
TOO_MANY: Final = 5
PROBES_S: Final = (1, 2, 4, 8, 15)
SUSPENDED_S: Final = 55
ANSWERED_BY_S: Final = 45
RAMP_US: Final = 10 * SECOND_US


@dataclass
class Tokens:
    """`level` tokens at the moment `at`; refills by one per interval, never above the capacity."""

    limit: Limit
    level: Fraction
    at: int

    def level_at(self, moment: int) -> Fraction:
        grown = self.level + Fraction(moment - self.at, self.limit.interval_us)
        return min(grown, Fraction(self.limit.burst))

    def one_from(self) -> int:
        """When there is a whole token."""
        return self.at + ceil((1 - self.level) * self.limit.interval_us)

    def delay(self, us: int) -> None:
        """The next token comes so much later."""
        self.level -= Fraction(us, self.limit.interval_us)

    def spend(self, slot: int) -> bool:
        """Takes a token; tells whether one more would have spilled over before."""
        level = self.level_at(slot)
        self.level, self.at = level - 1, slot
        return level > self.limit.burst - 1

    def empty_by(self, moment: int) -> None:
        if self.level_at(moment) > 0:
            self.level, self.at = Fraction(0), moment


@dataclass(frozen=True)
class Outage:
    """The account is paused for its own sake, since a moment.

    Args:
        level: DOWN or SUSPENDED.
        since: when that began.
        next_probe: nobody goes before.
        failed: probes that failed.
        why: the code of the error that tells why.
    """

    level: Level
    since: int
    next_probe: int
    failed: int
    why: str


@dataclass
class State:
    """All that is remembered."""

    tokens: list[Tokens]
    """Forgotten by a change of the rates until they are needed again."""
    seen: int
    pause_end: int = 0
    blind_in_a_row: int = 0
    urgent_end: int = 0
    bulk_end: int = 0
    since_bulk: int = 0
    returnable: list[dict[int, int]] = field(default_factory=list)
    """For each limit, the receipts it can take back."""
    failures: int = 0
    denials: int = 0
    outage: Outage | None = None
    ramp_end: int = 0
    held_until: int = 0

    @property
    def level(self) -> Level:
        if self.outage is not None:
            return self.outage.level
        return Level.SHAKEN if self.failures or self.denials else Level.WELL

    @property
    def closed_until(self) -> int:
        at = max(self.pause_end, self.held_until)
        return at if self.outage is None else max(at, self.outage.next_probe)

    def probe_from(self, moment: int) -> None:
        """The next probe may go out then."""
        assert self.outage is not None
        self.outage = replace(self.outage, next_probe=moment)


class Twin:
    """Answers what the bucket must answer; receipts are numbers in order of the grants."""

    def __init__(self, plan: Plan, horizon_us: int, share: int) -> None:
        self.configured, self.horizon, self.share = plan, horizon_us, share
        self._ordered: tuple[Plan, int | None] | None = None
        self._hold: tuple[int | None] | None = None
        self._kept: State | None = None
        self._receipts = 0
        self._probes: set[str] = set()
        self._restarted = False

    @property
    def plan(self) -> Plan:
        return self._ordered[0] if self._ordered else self.configured

    @property
    def pace(self) -> int:
        return max(limit.interval_us for limit in self.plan.limits)

    def set_rates(self, now: int, plan: Plan, for_us: int | None) -> None:
        self._end_orders(now)
        self._ordered = plan, None if for_us is None else now + for_us
        self._change()

    def unset_rates(self, now: int) -> bool:
        self._end_orders(now)
        was, self._ordered = self._ordered is not None, None
        if was:
            self._change()
        return was

    def hold(self, now: int, for_us: int | None) -> None:
        state = self._state(now)
        self._hold = (None if for_us is None else now + for_us,)
        state.urgent_end = state.bulk_end = 0
        self._keep(state, now)

    def _change(self) -> None:
        """Nobody knows how full buckets of another size are: they are empty when they are needed."""
        if self._kept is not None:
            self._kept.tokens, self._kept.returnable = [], []
            self._kept.urgent_end = self._kept.bulk_end = 0

    def _end_orders(self, now: int) -> None:
        if self._ordered and self._ordered[1] is not None and self._ordered[1] <= now:
            self._ordered = None
            self._change()
        if self._hold and self._hold[0] is not None and self._hold[0] <= now:
            self._hold = None

    def _held_until(self, now: int) -> int:
        if self._hold is None:
            return 0
        return now + DAY_US if self._hold[0] is None else self._hold[0]

    def forget(self) -> None:
        self._kept = None

    def restart(self) -> None:
        self._restarted = True

    def acquire(self, now: int, lane: Lane, *, ticket: bool) -> Reserved | NotYet:
        state = self._state(now)
        free = self._free(state)
        slot = max(now, free)
        answer: tuple[int, str] | None = None
        if self._may_have(state, now, lane, ticket=ticket):
            state.since_bulk = min(state.since_bulk + 1, self.share) if lane is Lane.URGENT else 0
            probes = state.outage is not None
            answer = slot - now, self._take(state, slot, now)
            if probes:
                state.probe_from(slot + ANSWERED_BY_S * SECOND_US)
                self._probes.add(answer[1])
        else:
            place = self._queue(state, now, lane, ticket=ticket)
            wait = max(place - now - self.horizon // 2, 1000)
        self._keep(state, now)
        lines = self._lines(state, now)
        if answer:
            return Reserved(answer[0] / SECOND_US, answer[1], lines, state.level)
        return NotYet(wait / SECOND_US, lines, state.level)

    def hit(self, now: int) -> bool:
        state = self._state(now)
        nobody_waits = state.urgent_end <= now and state.bulk_end <= now
        granted = state.outage is None and nobody_waits and self._free(state) <= now
        if granted:
            self._take(state, now, now)
            state.since_bulk = 0
        self._keep(state, now)
        return granted

    def refund(self, now: int, receipt: str) -> bool:
        state = self._state(now)
        taken_back = False
        for tokens, rights in zip(state.tokens, state.returnable, strict=True):
            if int(receipt) in rights:
                tokens.level += 1
                rights.clear()
                taken_back = True
        freed = self._probe_is_over(state, now, receipt)
        if taken_back or freed:
            self._keep(state, now)
        return taken_back

    def penalty(self, now: int, asked_us: int, receipt: str) -> float:
        state = self._state(now)
        freed = self._probe_is_over(state, now, receipt)
        length = min(asked_us, HOUR_US)
        if asked_us <= 0:
            if state.pause_end > now:
                if freed:
                    self._keep(state, now)
                return self._pause_left(state, now)
            quiet = now - state.pause_end > QUIET_US
            state.blind_in_a_row = 1 if quiet else min(state.blind_in_a_row + 1, len(BLIND_PAUSES_S))
            length = BLIND_PAUSES_S[state.blind_in_a_row - 1] * SECOND_US
        if now + length > state.pause_end:
            state.pause_end = now + length
            for tokens, rights in zip(state.tokens, state.returnable, strict=True):
                tokens.empty_by(state.pause_end)
                rights.clear()
        self._keep(state, now)
        return self._pause_left(state, now)

    def report(self, now: int, sign: Sign, age_us: int, code: str) -> Health:  # noqa: C901 - a table
        state = self._state(now)
        was = state.outage
        if was is not None and now - age_us < was.since:
            return Health(was.level, self._pause_left(state, now), common=True, changed=False)
        match sign:
            case Sign.WELL if was:
                self._reopen(state, now)
            case Sign.WELL:
                state.failures, state.denials = max(state.failures - 1, 0), max(state.denials - 1, 0)
            case Sign.ANSWERED if was:
                state.probe_from(now)
            case Sign.REFUSED:
                self._close(state, now, Level.SUSPENDED, SUSPENDED_S, code)
            case Sign.DENIED:
                if was and was.level is Level.DOWN:
                    self._reopen(state, now)
                state.denials = min(state.denials + 1, TOO_MANY)
                if state.outage or state.denials == TOO_MANY:
                    self._close(state, now, Level.SUSPENDED, SUSPENDED_S, code)
            case Sign.UNWELL if was:
                wait_s = PROBES_S[min(was.failed + 1, len(PROBES_S) - 1)]
                self._close(state, now, was.level, wait_s, was.why if was.level is Level.SUSPENDED else code)
            case Sign.UNWELL:
                state.failures = min(state.failures + 1, TOO_MANY)
                if state.failures == TOO_MANY:
                    self._close(state, now, Level.DOWN, PROBES_S[0], code)
        self._keep(state, now)
        out = state.outage
        pause_s = self._pause_left(state, now) if out else 0.0
        changed = (was and was.level) != (out and out.level)
        return Health(state.level, pause_s, common=out is not None or state.failures > 1, changed=changed)

    def resume(self, now: int) -> Resumed:
        state = self._state(now)
        resumed = Resumed(halted=state.outage is not None, held=self._hold is not None)
        if state.outage is not None:
            state.outage, state.failures, state.denials = None, 0, 0
        self._hold, state.held_until = None, 0
        if resumed:
            self._keep(state, now)
        return resumed

    def trouble(self) -> tuple[Level, str, int] | None:
        out = self._kept and self._kept.outage
        return (out.level, out.why, out.failed) if out else None

    def _close(self, state: State, now: int, level: Level, wait_s: int, why: str) -> None:
        was = state.outage
        if was is None:
            state.urgent_end = state.bulk_end = 0
        since, failed = (now, 0) if was is None else (was.since, was.failed + 1)
        state.outage = Outage(level, since, now + wait_s * SECOND_US, failed, why)

    def _reopen(self, state: State, now: int) -> None:
        if state.outage and state.outage.level is Level.DOWN:
            state.ramp_end = now + RAMP_US
        state.outage, state.failures, state.denials = None, 0, 0

    def _probe_is_over(self, state: State, now: int, receipt: str) -> bool:
        if state.outage is None or receipt not in self._probes:
            return False
        state.probe_from(min(state.outage.next_probe, now))
        return True

    def _pause_left(self, state: State, now: int) -> float:
        return max(state.closed_until - now, 0) / SECOND_US

    def peek(self, now: int) -> BucketLevel:
        state = self._state(now)
        moment = max(now, state.pause_end)  # not until the probe: tokens gather in an outage
        levels = tuple(floor(1000 * tokens.level_at(moment)) / 1000 for tokens in state.tokens)
        return BucketLevel(max(self._free(state) - now, 0) / SECOND_US, self._lines(state, now), levels, self.plan)

    def _state(self, now: int) -> State:
        self._end_orders(now)
        if self._kept is None:
            empty = self._empty(now)
            return State(empty, now, returnable=[{} for _ in empty], held_until=self._held_until(now))
        tokens_now = [copy(tokens) for tokens in self._kept.tokens]
        state = replace(self._kept, tokens=tokens_now, returnable=[dict(r) for r in self._kept.returnable])
        if state.seen > now:
            back = state.seen - now
            state.pause_end -= back
            state.urgent_end -= back
            state.bulk_end -= back
            state.ramp_end -= back
            if state.outage:
                out = state.outage
                state.outage = replace(out, since=out.since - back, next_probe=out.next_probe - back)
            for tokens in state.tokens:
                tokens.at -= back
        state.held_until = self._held_until(now)
        if not state.tokens:
            state.tokens = self._empty(max(now, state.pause_end))
            state.returnable = [{} for _ in state.tokens]
        if self._restarted:
            for tokens, rights in zip(state.tokens, state.returnable, strict=True):
                tokens.empty_by(max(now, state.pause_end) + self.horizon)
                rights.clear()
        furthest = max(now, self._free(state)) + LONGEST_LINE_US
        state.urgent_end, state.bulk_end = min(state.urgent_end, furthest), min(state.bulk_end, furthest)
        return state

    def _empty(self, moment: int) -> list[Tokens]:
        return [Tokens(limit, Fraction(0), moment + self.horizon) for limit in self.plan.limits]

    def _keep(self, state: State, now: int) -> None:
        state.seen = now
        self._kept = state
        self._restarted = False

    def _free(self, state: State) -> int:
        return max(state.closed_until, *(tokens.one_from() for tokens in state.tokens))

    def _lines(self, state: State, now: int) -> Lines:
        urgent = max(now, self._free(state), state.urgent_end) - now
        bulk = max(urgent, state.bulk_end - now)
        return Lines(
            urgent / SECOND_US,
            bulk / SECOND_US,
            self._pause_left(state, now),
            interval_s=self.pace / SECOND_US,
            held=state.held_until > now,
        )

    def _take(self, state: State, slot: int, now: int) -> str:
        self._receipts += 1
        for tokens, rights in zip(state.tokens, state.returnable, strict=True):
            if tokens.spend(slot):
                rights.clear()
            rights[self._receipts] = 1
        if state.ramp_end > now:
            slowest = self._slowest(state)
            left = state.ramp_end - now
            longer = floor(9 * Fraction(min(left, RAMP_US), RAMP_US) * slowest.limit.interval_us)
            slowest.delay(min(longer, max(state.ramp_end - slowest.one_from(), 0)))
        return str(self._receipts)

    def _slowest(self, state: State) -> Tokens:
        return max(state.tokens, key=lambda tokens: tokens.limit.interval_us)

    def _slot_was_missed(self, state: State, now: int) -> bool:
        slowest = self._slowest(state)
        if state.pause_end > now:
            return False
        uncapped = slowest.level + Fraction(now - slowest.at, slowest.limit.interval_us)
        return uncapped >= 2  # one for whoever comes as told, one to spare

    def _may_have(self, state: State, now: int, lane: Lane, *, ticket: bool) -> bool:
        free = self._free(state)
        due = state.since_bulk >= self.share
        if lane is Lane.URGENT and due and state.bulk_end > now - self.horizon and free > now:
            return False
        goes_first = ticket or self._slot_was_missed(state, now)
        waits_for = [now, free]
        if not goes_first:
            waits_for.append(state.urgent_end if lane is Lane.URGENT else state.bulk_end)
        if lane is Lane.BULK and not due:
            waits_for.append(state.urgent_end)
        return max(waits_for) <= now + self.horizon

    def _queue(self, state: State, now: int, lane: Lane, *, ticket: bool) -> int:
        free = max(now, self._free(state))
        if state.outage or state.held_until > now:
            return free
        due = state.since_bulk >= self.share
        if lane is Lane.URGENT:
            end = max(free, state.urgent_end)
            place = end
            if due and state.bulk_end > now - self.horizon and free > now:
                ahead = ticket or self._slot_was_missed(state, now)
                place = max(free if ahead else end, free + self.horizon // 2)
            state.urgent_end = max(end, place) + self.pace
            return place
        place = max(free, state.bulk_end)
        if state.urgent_end > now:
            if not due:
                place = max(place, state.urgent_end)
            turn = free + max(self.share - state.since_bulk, 0) * self.pace
            if not ticket:
                turn = max(turn, state.bulk_end + self.share * self.pace)
            place = min(place, turn)
        state.bulk_end = max(state.bulk_end, place + self.pace)
        return place
