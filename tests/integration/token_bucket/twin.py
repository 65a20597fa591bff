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

from worker.jobs import Lane
from worker.rate_limit import SECOND_US
from worker.slots import Lines, NotYet, Reserved
from worker.token_bucket import BucketLevel

if TYPE_CHECKING:
    from worker.rate_limit import Limit, Plan

HOUR_US: Final = 3600 * SECOND_US
LONGEST_LINE_US: Final = 15 * SECOND_US
QUIET_US: Final = 10 * SECOND_US
BLIND_PAUSES_S: Final = (1, 2, 4, 8, 16, 32, 60)


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

    def spend(self, slot: int) -> bool:
        """Takes a token; tells whether one more would have spilled over before."""
        level = self.level_at(slot)
        self.level, self.at = level - 1, slot
        return level > self.limit.burst - 1

    def empty_by(self, moment: int) -> None:
        if self.level_at(moment) > 0:
            self.level, self.at = Fraction(0), moment


@dataclass
class State:
    """All that is remembered."""

    tokens: list[Tokens]
    seen: int
    pause_end: int = 0
    blind_in_a_row: int = 0
    urgent_end: int = 0
    bulk_end: int = 0
    since_bulk: int = 0
    returnable: list[dict[int, int]] = field(default_factory=list)
    """For each limit, the receipts it can take back."""


class Twin:
    """Answers what the bucket must answer; receipts are numbers in order of the grants."""

    def __init__(self, plan: Plan, horizon_us: int, share: int) -> None:
        self.plan, self.horizon, self.share = plan, horizon_us, share
        self.pace = max(limit.interval_us for limit in plan.limits)
        self._kept: State | None = None
        self._receipts = 0

    def forget(self) -> None:
        self._kept = None

    def acquire(self, now: int, lane: Lane, *, ticket: bool) -> Reserved | NotYet:
        state = self._state(now)
        free = self._free(state)
        slot = max(now, free)
        answer: tuple[int, str] | None = None
        if self._may_have(state, now, lane, ticket=ticket):
            state.since_bulk = min(state.since_bulk + 1, self.share) if lane is Lane.URGENT else 0
            answer = slot - now, self._take(state, slot)
        else:
            place = self._queue(state, now, lane, ticket=ticket)
            wait = max(place - now - self.horizon // 2, 1000)
        self._keep(state, now)
        lines = self._lines(state, now)
        return Reserved(answer[0] / SECOND_US, answer[1], lines) if answer else NotYet(wait / SECOND_US, lines)

    def hit(self, now: int) -> bool:
        state = self._state(now)
        nobody_waits = state.urgent_end <= now and state.bulk_end <= now
        granted = nobody_waits and self._free(state) <= now
        if granted:
            self._take(state, now)
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
        if taken_back:
            self._keep(state, now)
        return taken_back

    def penalty(self, now: int, asked_us: int) -> float:
        state = self._state(now)
        length = min(asked_us, HOUR_US)
        if asked_us <= 0:
            if state.pause_end > now:
                return (state.pause_end - now) / SECOND_US
            quiet = now - state.pause_end > QUIET_US
            state.blind_in_a_row = 1 if quiet else min(state.blind_in_a_row + 1, len(BLIND_PAUSES_S))
            length = BLIND_PAUSES_S[state.blind_in_a_row - 1] * SECOND_US
        if now + length > state.pause_end:
            state.pause_end = now + length
            for tokens, rights in zip(state.tokens, state.returnable, strict=True):
                tokens.empty_by(state.pause_end)
                rights.clear()
        self._keep(state, now)
        return max(state.pause_end - now, 0) / SECOND_US

    def peek(self, now: int) -> BucketLevel:
        state = self._state(now)
        moment = max(now, state.pause_end)
        levels = tuple(floor(1000 * tokens.level_at(moment)) / 1000 for tokens in state.tokens)
        return BucketLevel(max(self._free(state) - now, 0) / SECOND_US, self._lines(state, now), levels)

    def _state(self, now: int) -> State:
        if self._kept is None:
            empty = [Tokens(limit, Fraction(0), now + self.horizon) for limit in self.plan.limits]
            return State(empty, now, returnable=[{} for _ in empty])
        tokens_now = [copy(tokens) for tokens in self._kept.tokens]
        state = replace(self._kept, tokens=tokens_now, returnable=[dict(r) for r in self._kept.returnable])
        if state.seen > now:
            back = state.seen - now
            state.pause_end -= back
            state.urgent_end -= back
            state.bulk_end -= back
            for tokens in state.tokens:
                tokens.at -= back
        furthest = max(now, self._free(state)) + LONGEST_LINE_US
        state.urgent_end, state.bulk_end = min(state.urgent_end, furthest), min(state.bulk_end, furthest)
        return state

    def _keep(self, state: State, now: int) -> None:
        state.seen = now
        self._kept = state

    def _free(self, state: State) -> int:
        return max(state.pause_end, *(tokens.one_from() for tokens in state.tokens))

    def _lines(self, state: State, now: int) -> Lines:
        urgent = max(now, self._free(state), state.urgent_end) - now
        bulk = max(urgent, state.bulk_end - now)
        return Lines(urgent / SECOND_US, bulk / SECOND_US, max(state.pause_end - now, 0) / SECOND_US)

    def _take(self, state: State, slot: int) -> str:
        self._receipts += 1
        for tokens, rights in zip(state.tokens, state.returnable, strict=True):
            if tokens.spend(slot):
                rights.clear()
            rights[self._receipts] = 1
        return str(self._receipts)

    def _slot_was_missed(self, state: State, now: int) -> bool:
        slowest = max(state.tokens, key=lambda tokens: tokens.limit.interval_us)
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
