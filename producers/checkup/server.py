"""Is Redis there, is it one that Celery and our scripts can work with, and is it ours alone?"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from producers.checkup.finding import Finding, note, ok, problem, warning
from producers.checkup.needs import KEYS
from producers.console import many, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from producers.checkup.facts import Server

OLDEST: Final = (7, 0)
"""The ones before took scripts along to replicas, so that a failover would not be noticed (worker/scripts.py)."""

SLOW_S: Final = 0.05
LARGEST_SKEW_S: Final = 2.0
FULL: Final = 0.8
SHOWN: Final = 3
LONGEST_NAME: Final = 40


def reached(place: str, round_trip_s: float) -> Finding:
    """The server answers, and how soon: the time a worker loses before every call.

    Args:
        place: where, without credentials.
        round_trip_s: the median of a few round trips, in seconds.
    """
    found = f"{place} answers in {round_trip_s * 1000:.1f} ms"
    if round_trip_s <= SLOW_S:
        return ok("redis", found)
    return warning(
        "redis",
        f"{found}: each call waits for that, and it is part of the spread that the limiter covers",
        "run the workers near Redis, or raise WARROOMS_SPREAD_S (docs/limiter.md)",
    )


def loading(server: Server) -> Finding | None:
    """The server is still reading its data, and nothing else can be checked; None if it is not."""
    if not server.number("loading"):
        return None
    eta_s = server.number("loading_eta_seconds")
    eta = f", about {eta_s} s to go" if eta_s is not None else ""
    return problem("loading", f"Redis is still reading its data from disk{eta}", "wait, then run this again")


def version(server: Server) -> Finding:
    """Old servers lack commands."""
    have = server.version
    if have is None:
        return note("version", f"{server.name}: INFO says none; Redis 7.0 or newer is needed")
    if have < OLDEST:
        return problem("version", f"{server.name} is older than 7.0", "upgrade to Redis 7.2 or newer, or Valkey")
    return ok("version", server.name)


def role(server: Server) -> Finding:
    """Writes need a primary that is not waiting for replicas."""
    if mode(server) == "sentinel":
        return problem(
            "role",
            "a Sentinel: it knows where Redis is and keeps no data",
            "say so in REDIS_URL, with the name of the primary that it watches: redis+sentinel://host:26379/NAME/0",
        )
    match server.text("role"):
        case "master":
            return _primary(server)
        case "slave":
            primary = f"{server.text('master_host')}:{server.text('master_port')}"
            return problem("role", f"a replica of {primary}: it takes no jobs", "point REDIS_URL to the primary")
    return note("role", "could not be checked: INFO does not say it")


def mode(server: Server) -> str:
    """`standalone`, `sentinel` or `cluster`; empty if INFO does not say it."""
    said = server.text("redis_mode") or server.text("server_mode")
    return "cluster" if server.number("cluster_enabled") else said


def _primary(server: Server) -> Finding:
    replicas = server.number("connected_slaves") or 0
    wanted = int(server.setting("min-replicas-to-write") or 0)
    good = server.number("min_slaves_good_slaves")
    if wanted and good is not None and good < wanted:
        return problem(
            "role",
            f"a primary that refuses writes: {good} of the {wanted} replicas it insists on are there",
            f"mend the replicas, or {server.change('min-replicas-to-write', '0')}",
        )
    insists = f", insists on {wanted}" if wanted else ""
    return ok("role", f"a primary with {many(replicas, 'replica')}{insists}")


def cluster(server: Server) -> Finding:
    """Celery's transport uses keys of several slots in one step."""
    match mode(server):
        case "cluster":
            found = "cluster mode is on, which Celery does not support"
            return problem("cluster", found, "use one Redis with 'cluster-enabled no'")
        case "":
            return note("cluster", "could not be checked: INFO does not say it; cluster mode would not work")
    return ok("cluster", "off, as Celery needs it")


def clock(skew_s: float | None, round_trip_s: float = 0.0) -> Finding:
    """Redis' clock against this machine's.

    Args:
        skew_s: how far Redis' clock is ahead, in seconds; None if TIME is refused.
        round_trip_s: how exact that is, in seconds.
    """
    if skew_s is None:
        return note("clock", "could not be checked: TIME is refused")
    way = "ahead of" if skew_s > 0 else "behind"
    if abs(skew_s) - round_trip_s > LARGEST_SKEW_S:
        return warning(
            "clock",
            f"Redis' clock is {abs(skew_s):.1f} s {way} this machine's: times shown here lie by that; the limits do "
            "not, they go by Redis' clock alone",
            "set both clocks by NTP ('timedatectl' and 'chronyc tracking' say which one is wrong)",
        )
    return ok("clock", f"Redis' and this machine's agree within {max(abs(skew_s), round_trip_s, 0.001):.3f} s")


def clients(server: Server) -> Finding:
    """Room for connections, and how long an idle one is kept."""
    connected, most = server.number("connected_clients"), server.number("maxclients")
    most = most or int(server.setting("maxclients") or 0)
    if connected is None:
        return note("clients", "could not be checked: INFO does not say it")
    of = f"{number(connected)} of at most {number(most)}" if most else number(connected)
    if most and connected > FULL * most:
        return warning("clients", f"{of} are connected", server.change("maxclients", str(2 * most)))
    idle_s = int(server.setting("timeout") or 0)
    cut = f"; idle ones are cut after {idle_s} s, ours connect again by themselves" if idle_s else ""
    return ok("clients", f"{of} connected{cut}")


@dataclass(frozen=True, slots=True)
class Sample:
    """Some of the database's keys.

    Args:
        names: their names, each once.
        total: how many keys there are in all.
    """

    names: Sequence[str]
    total: int

    @property
    def foreign(self) -> list[str]:
        """Those that neither we nor Celery made."""
        return [name for name in self.names if not any(fnmatchcase(name, ours) for ours in KEYS)]


def database(sample: Sample | None) -> Finding:
    """Whether the database is ours alone: a FLUSHDB of its other owner would take the jobs along."""
    if sample is None:
        return note("database", "could not be checked: SCAN is refused")
    if not sample.names:
        return ok("database", "empty")
    keys = f"{many(sample.total, 'key')}"
    if len(sample.names) < sample.total:
        keys += f", {number(len(sample.names))} of them looked at"
    foreign = sample.foreign
    if not foreign:
        return ok("database", f"{keys}, none of another program")
    shown = ", ".join(name[:LONGEST_NAME] for name in sorted(foreign)[:SHOWN])
    more = ", …" if len(foreign) > SHOWN else ""
    return warning(
        "database",
        f"{keys}, {number(len(foreign))} of another program: {shown}{more}",
        "give warrooms a database of its own: another number at the end of REDIS_URL, once its queues are empty, for "
        "workers and producers alike",
    )
