"""Does a job survive a crash of Redis? Only if Redis keeps an append-only file, and writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from producers.checkup.finding import Finding, note, ok, problem, warning

if TYPE_CHECKING:
    from producers.checkup.facts import Server

WHAT: Final = "persistence"


def persistence(server: Server) -> list[Finding]:
    """The append-only file, and whatever went wrong with the last writing of a file.

    Args:
        server: what it says of itself.
        on_disk_s: after how many seconds a test write was on disk; None if that was not tried, or did not happen.
    """
    enabled = server.number("aof_enabled")
    if enabled is None:
        return [note(WHAT, "could not be checked: INFO does not say it; jobs need 'appendonly yes'")]
    kept = _fsync(server) if enabled else _off(server)
    return [kept, *_failures(server, aof=bool(enabled))]


def _off(server: Server) -> Finding:
    save = server.setting("save")
    if server.config is None:
        found = "the append-only file is off: a crash loses every job since the last snapshot, or all of them"
        return problem(WHAT, found, server.change("appendonly", "yes"))
    found = (
        f"snapshots only (save {save}): a crash loses every job since the last one"
        if save
        else "nothing is written to disk: a restart of Redis loses every job"
    )
    return problem(
        WHAT,
        found,
        "CONFIG SET appendonly yes first, while Redis runs; then CONFIG REWRITE (or 'appendonly yes' in redis.conf) to "
        "keep it. Never by redis.conf and a restart: Redis would begin empty",
    )


def _fsync(server: Server) -> Finding:
    if server.setting("no-appendfsync-on-rewrite") == "yes":
        return warning(
            WHAT,
            "append-only file, but without fsync while it is rewritten: a crash just then loses up to 30 s",
            server.change("no-appendfsync-on-rewrite", "no"),
        )
    match server.setting("appendfsync"):
        case "always":
            return ok(WHAT, "append-only file, fsync before every answer: no job that was accepted is lost")
        case "everysec":
            return ok(WHAT, "append-only file, fsync every second: a crash of the machine loses up to 2 s")
        case "no":
            return warning(
                WHAT,
                "append-only file, but fsync is left to the system: a crash of the machine loses up to 30 s",
                server.change("appendfsync", "everysec"),
            )
    return note(
        WHAT,
        "append-only file; how often it is synced could not be read",
        "see that the service's parameters say appendfsync everysec or always",
    )


def _failures(server: Server, *, aof: bool) -> list[Finding]:
    free = "free space on the disk of Redis' data folder, and read Redis' log; it takes writes again by itself"
    findings = []
    if aof and _failed(server, "aof_last_write_status"):
        found = "the last write to the append-only file failed: Redis refuses jobs until one succeeds"
        findings.append(problem("aof write", found, free))
    if aof and _failed(server, "aof_last_bgrewrite_status"):
        found = "the last rewrite of the append-only file failed: it grows until the disk is full"
        findings.append(
            warning("aof rewrite", found, "see Redis' log (disk space, memory for a fork), then BGREWRITEAOF")
        )
    if _failed(server, "rdb_last_bgsave_status"):
        findings.append(_snapshot(server, free))
    return findings


def _snapshot(server: Server, free: str) -> Finding:
    stops = server.setting("stop-writes-on-bgsave-error") != "no" and server.setting("save") != ""
    if stops:
        found = "the last snapshot failed, and with it Redis refuses writes (stop-writes-on-bgsave-error)"
        return problem("snapshot", found, f"{free} after a BGSAVE that succeeds")
    return warning(
        "snapshot", "the last snapshot failed", "see Redis' log (disk space, memory for a fork), then BGSAVE"
    )


def _failed(server: Server, name: str) -> bool:
    return server.text(name) not in {"", "ok"}
