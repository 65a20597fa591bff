"""Are there Sentinels enough to find the primary dead, and is there somebody to take its place?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from producers.checkup.finding import Finding, ok, problem, warning
from producers.console import many

if TYPE_CHECKING:
    from collections.abc import Mapping

    from producers.checkup.facts import Server

WHAT: Final = "sentinels"
ENOUGH: Final = 3
SEES_S: Final = 2
"""By so much a server may be late to see that a replica is silent: it looks once a second, in whole seconds."""

SOONEST_MS: Final = 1000
"""Our clients ask the Sentinels every half second; a primary that was given up sooner could still be asked."""


def watched(server: Server, told: Mapping[str, Mapping[str, Any] | None]) -> Finding:
    """How well the primary is watched.

    Args:
        server: the primary.
        told: what each Sentinel of the address says of it, by its place; None if it is silent, or does not know it.
    """
    states = {place: state for place, state in told.items() if state is not None}
    silent = [place for place in told if place not in states]
    if silent:
        found = f"{', '.join(silent)} does not answer, or does not know this primary"
        return warning(WHAT, found, "start it, or correct REDIS_URL; the others do its work, if they are a majority")
    primaries = sorted({f"{state['ip']}:{state['port']}" for state in states.values()})
    if len(primaries) > 1:
        return warning(WHAT, f"they name different primaries: {', '.join(primaries)}", "wait, then run this again")
    state = next(iter(states.values()))
    return (
        _too_few(server, state)
        or _too_soon(state)
        or _goes_on_alone(server, state)
        or ok(
            WHAT,
            f"{_sentinels(state)} name {primaries[0]}, with {many(_replicas(state), 'replica')}; "
            f"{state['quorum']} must find it silent for {state['down-after-milliseconds'] / 1000:g} s",
        )
    )


def _too_few(server: Server, state: Mapping[str, Any]) -> Finding | None:
    if not server.number("connected_slaves"):
        return problem(
            WHAT,
            "no replica follows the primary: when it dies nobody takes its place, or one that lacks the last jobs",
            "start a replica, better two: REPLICAOF",
        )
    if _count(state) < ENOUGH:
        return warning(
            WHAT,
            f"{_sentinels(state)} only: most of all must be there to choose another primary",
            "run three, on machines of their own",
        )
    return None


def _too_soon(state: Mapping[str, Any]) -> Finding | None:
    after_ms = int(state["down-after-milliseconds"])
    if after_ms >= SOONEST_MS:
        return None
    return warning(
        WHAT,
        f"a primary that is silent for {after_ms} ms is given up: workers may still ask it when another has taken over",
        f"SENTINEL SET {state['name']} down-after-milliseconds 5000, at each Sentinel",
    )


def _goes_on_alone(server: Server, state: Mapping[str, Any]) -> Finding | None:
    wanted, lag = server.setting("min-replicas-to-write"), server.setting("min-replicas-max-lag")
    if wanted is None or lag is None or _replicas(state) < 2:  # noqa: PLR2004 - else none may be away
        return None
    given_up_s = state["down-after-milliseconds"] / 1000
    most_s = max(1, int(given_up_s) - SEES_S)
    if wanted == "0":
        found = "cut off from the others the primary goes on, beside the next one, and what it takes down is lost"
        to_do = f"{server.change('min-replicas-to-write', '1')}, and min-replicas-max-lag {most_s} with it"
    elif int(lag) > most_s:
        found = (
            f"cut off from the others the primary goes on for {lag} s, and after {given_up_s:g} s beside the next one"
        )
        to_do = f"{server.change('min-replicas-max-lag', str(most_s))}, or a longer down-after-milliseconds"
    else:
        return None
    return warning(WHAT, found, f"at each server: {to_do}")


def _count(state: Mapping[str, Any]) -> int:
    return int(state["num-other-sentinels"]) + 1


def _sentinels(state: Mapping[str, Any]) -> str:
    return many(_count(state), "Sentinel")


def _replicas(state: Mapping[str, Any]) -> int:
    return int(state["num-slaves"])
