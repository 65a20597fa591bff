"""The truth about what arrived. Every stamp is taken from a monotonic clock when the request's head was read.

The worst windows are exact and kept up to date call by call: stamps come in order, so each window needs one
pointer that only moves forward. Memory: 15 bytes a call, and 8 more in its account's list.
"""

from __future__ import annotations

from array import array
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sandbox.models import SECOND_US

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sandbox.envelope import JsonObject

MINUTE_US: Final = 60 * SECOND_US
OTHER: Final = "other"

# What stands in the place of an HTTP status; real ones begin at 100.
PENDING, CUT, HUNG, ABANDONED = 0, 1, 2, 3
_NO_STATUS: Final = {PENDING: "pending", CUT: "cut", HUNG: "hung", ABANDONED: "abandoned"}


class Verdict(StrEnum):
    """What the gateway made of a call at its head."""

    ACCEPTED = "accepted"  # admitted by every limit
    REFUSED = "refused"  # 429 from a limit
    PAUSED = "paused"  # 429 because it came during a pause
    TURNED_AWAY = "turned away"  # 401, 404, 405: no limit was asked


class WorstWindow:
    """The most calls in any window of `window_us` microseconds; a call exactly that old has left it."""

    def __init__(self, window_us: int) -> None:
        self._window_us, self._left, self.count = window_us, 0, 0

    def add(self, times_us: Sequence[int]) -> None:
        """Take note of the last of `times_us`, which are in order and the same list every time."""
        begins_us = times_us[-1] - self._window_us
        while times_us[self._left] <= begins_us:
            self._left += 1
        self.count = max(self.count, len(times_us) - self._left)


class Tally:
    """The counts of one account, or of all together."""

    def __init__(self) -> None:
        self.times_us: array[int] = array("q")
        self.verdicts: Counter[Verdict] = Counter()
        self.endpoints: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.first_minute: Counter[Verdict] = Counter()
        self.worst_1s, self.worst_60s = WorstWindow(SECOND_US), WorstWindow(MINUTE_US)

    def add(self, now_us: int, endpoint: str, verdict: Verdict) -> None:
        """Count one arrival."""
        self.times_us.append(now_us)
        self.verdicts[verdict] += 1
        self.endpoints[endpoint] += 1
        if now_us - self.times_us[0] < MINUTE_US:
            self.first_minute[verdict] += 1
        self.worst_1s.add(self.times_us)
        self.worst_60s.add(self.times_us)

    def json(self) -> JsonObject:
        """The counts; rates in calls per second, times in seconds from the first arrival."""
        span_us = self.times_us[-1] - self.times_us[0] if self.times_us else 0
        later = self.verdicts - self.first_minute
        return {
            "arrivals": len(self.times_us),
            "accepted": self.verdicts[Verdict.ACCEPTED],
            "refusals": self.verdicts[Verdict.REFUSED],
            "arrivals_in_pause": self.verdicts[Verdict.PAUSED],
            "turned_away": self.verdicts[Verdict.TURNED_AWAY],
            "worst_1s": self.worst_1s.count,
            "worst_60s": self.worst_60s.count,
            "span_s": span_us / SECOND_US,
            "first_minute": _speed(self.first_minute, min(span_us, MINUTE_US)),
            "after_first_minute": _speed(later, max(0, span_us - MINUTE_US)),
            "by_endpoint": dict(self.endpoints),
            "by_status": {_named(status): count for status, count in sorted(self.statuses.items())},
        }


def _speed(verdicts: Counter[Verdict], span_us: int) -> JsonObject:
    arrivals, accepted, seconds = verdicts.total(), verdicts[Verdict.ACCEPTED], span_us / SECOND_US
    return {
        "seconds": seconds,
        "arrivals": arrivals,
        "accepted": accepted,
        "arrivals_per_s": round(arrivals / seconds, 4) if seconds else 0.0,
        "accepted_per_s": round(accepted / seconds, 4) if seconds else 0.0,
    }


def _named(status: int) -> str:
    return _NO_STATUS.get(status, str(status))


class Ledger:
    """Every call of the API, in order of arrival."""

    def __init__(self, endpoints: Iterable[str]) -> None:
        self._endpoints = [*endpoints, OTHER]
        self._endpoint_numbers = {path: number for number, path in enumerate(self._endpoints)}
        self._accounts: list[str] = []
        self._account_numbers: dict[str, int] = {}
        self._tallies: dict[str, Tally] = {}
        self._total = Tally()
        self._account_of, self._endpoint_of = array("I"), array("B")
        self._status_of: array[int] = array("H")
        self.in_flight, self.max_in_flight = 0, 0

    def arrive(self, now_us: int, account: str, path: str, verdict: Verdict) -> int:
        """Write down an arrival; returns its number. An unknown key's account is the empty string."""
        endpoint = path if path in self._endpoint_numbers else OTHER
        if account not in self._account_numbers:
            self._account_numbers[account] = len(self._accounts)
            self._accounts.append(account)
            self._tallies[account] = Tally()
        self._account_of.append(self._account_numbers[account])
        self._endpoint_of.append(self._endpoint_numbers[endpoint])
        self._status_of.append(PENDING)
        self._total.add(now_us, endpoint, verdict)
        self._tallies[account].add(now_us, endpoint, verdict)
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        return len(self._status_of) - 1

    def settle(self, number: int, status: int) -> None:
        """Write down how a call ended, once: an HTTP status, CUT, HUNG or ABANDONED."""
        self._status_of[number] = status
        self._total.statuses[status] += 1
        self._tallies[self._accounts[self._account_of[number]]].statuses[status] += 1

    def leave(self) -> None:
        """A call is no longer in flight."""
        self.in_flight -= 1

    def json(self) -> JsonObject:
        """The counts of all calls, and under `accounts` those of each account with a known key."""
        accounts = {name: tally.json() for name, tally in self._tallies.items() if name}
        unknown = len(self._tallies[""].times_us) if "" in self._tallies else 0
        return self._total.json() | {
            "unknown_key": unknown,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "accounts": accounts,
        }

    def arrivals(self) -> list[tuple[float, str, str, int | str]]:
        """Each call as (seconds since the first, account, endpoint, status), to be replayed elsewhere."""
        times_us = self._total.times_us
        return [
            (
                (time_us - times_us[0]) / SECOND_US,
                self._accounts[account],
                self._endpoints[endpoint],
                _NO_STATUS.get(status, status),
            )
            for time_us, account, endpoint, status in zip(
                times_us, self._account_of, self._endpoint_of, self._status_of, strict=True
            )
        ]
