"""Does a job survive a full memory? Only if Redis refuses new ones instead of dropping old ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from producers.checkup.finding import Finding, note, ok, problem, warning
from producers.console import many

if TYPE_CHECKING:
    from producers.checkup.facts import Server

FULL: Final = 0.8
MEBI: Final = 1 << 20


def eviction(server: Server) -> Finding:
    """A record that is evicted is a job that never was."""
    policy = server.text("maxmemory_policy")
    if not policy:
        return note("eviction", "could not be checked: INFO does not say it; jobs need 'maxmemory-policy noeviction'")
    if policy != "noeviction":
        return problem(
            "eviction",
            f"maxmemory-policy {policy}: when memory is full, Redis deletes jobs and their records without a word",
            server.change("maxmemory-policy", "noeviction"),
        )
    evicted = server.number("evicted_keys") or 0
    if evicted:
        return warning(
            "eviction",
            f"noeviction now, but Redis has dropped {many(evicted, 'key')} since it started: jobs may be among them",
            "hand in again what was queued in that time, nothing doubles; CONFIG RESETSTAT sets this count to 0",
        )
    return ok("eviction", "maxmemory-policy noeviction: a full memory refuses jobs, it loses none")


def memory(server: Server) -> Finding:
    """How near the memory is to its end."""
    used, limit = server.number("used_memory"), server.number("maxmemory")
    if used is None:
        return note("memory", "could not be checked: INFO does not say it")
    if limit:
        of, more = f"maxmemory {_size(limit)}", server.change("maxmemory", f"{-(-2 * limit // MEBI)}mb")
    else:
        limit, of = server.number("total_system_memory") or 0, "the machine's memory; no maxmemory is set"
        more = "give the machine more memory"
    if not limit:
        return ok("memory", f"{_size(used)} used; no maxmemory is set")
    share = used / limit
    found = f"{_size(used)} used, {share:.0%} of {of}"
    more = f"{more}; or shorten WARROOMS_RETENTION_DAYS"
    if share >= 1:
        return problem("memory", f"{found}: Redis refuses new jobs", more)
    if share > FULL:
        return warning("memory", found, more)
    return ok("memory", found)


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count / MEBI:.1f} MiB"
