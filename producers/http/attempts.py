"""Wrong tokens at the login form: each address may send a few, then it waits; nobody else does. In memory. Pure.

A token is long and random, so this keeps logs and machines quiet rather than tokens safe.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

AT_ONCE: Final = 10
"""Wrong tokens that an address may send in a row."""

EVERY_S: Final = 6.0
"""After that, one every so many seconds."""

MOST: Final = 4096
"""Addresses that are remembered; who has been silent longest is forgotten first."""

_NETWORK_BITS: Final = 64
"""Of an IPv6 address: the rest is its owner's to choose."""


class Attempts:
    """Wrong tokens by address.

    Args:
        clock: seconds of any clock that only goes forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._paid_s = OrderedDict[str, float]()  # until when each address has used up what it may

    def wait_s(self, address: str) -> float:
        """How long this address must wait until its next token is looked at, in seconds; 0 if not at all."""
        ahead_s = self._paid_s.get(_network(address), 0.0) - self._clock()
        return max(0.0, ahead_s - (AT_ONCE - 1) * EVERY_S)

    def wrong(self, address: str) -> None:
        """It sent a wrong one."""
        network, now_s = _network(address), self._clock()
        self._paid_s[network] = max(self._paid_s.get(network, 0.0), now_s) + EVERY_S
        self._paid_s.move_to_end(network)
        while len(self._paid_s) > MOST:
            self._paid_s.popitem(last=False)


def _network(address: str) -> str:
    try:
        known = ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(known, IPv6Address) and known.ipv4_mapped is None:
        return str(int(known) >> (128 - _NETWORK_BITS))
    return str(known)
