"""The physical bound: how fast anyone could open n rooms, if they knew how the server counts.

The caller of the bound has no latency and no doubt: it asks the sandbox's own model of the server at every microsecond
that could pass, and is never refused. With 50 a second and 1,000 a minute, from the first call on (n counted from 1),

    sliding log         60 * ((n-1) // 1000) + ((n-1) % 1000) // 50       s: 1 / 19 / 259 for 100 / 1,000 / 5,000 rooms
    fixed window        the same, if the first call is also the first of its windows
    token bucket, GCRA  max((n-50) / 50, (n-1000) * 60 / 1000)            s: 1 / 19 / 240
    sliding counter     about n / 50 up to 1,000, then n * 60 / 1000      s: 2 / 20 / 300

A caller that does not know the model can count on no more than what all five let through (`ALL_MODELS`): the last row.
For the first thousand that supposes that nothing went out in the two minutes before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sandbox.models import MODELS, SECOND_US, rates_of

if TYPE_CHECKING:
    from sandbox.models import Model

ALL_MODELS: Final = tuple(MODELS)


def earliest_s(rates: str, models: tuple[str, ...], counts: tuple[int, ...]) -> dict[int, float]:
    """When the n-th call can be let through at the earliest by all of these models, for each n asked for.

    Args:
        rates: in `limits`' notation.
        models: names of `sandbox.models`; one for a caller that knows it.
        counts: the n; the first call comes at 0 s.
    """
    servers = [MODELS[model](rate, 0) for model in models for rate in rates_of(rates)]
    now_us, at_s = 0, {}
    for n in range(1, max(counts) + 1):
        now_us = _next_us(servers, now_us)
        if n in counts:
            at_s[n] = round(now_us / SECOND_US, 2)
    return at_s


def _next_us(servers: list[Model], now_us: int) -> int:
    """The first moment from `now_us` on at which all let a call through, which is then counted."""
    while wait_us := max(server.wait_us(now_us) for server in servers):
        now_us += wait_us
    for server in servers:
        server.spend(now_us)
    return now_us
