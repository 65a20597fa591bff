"""May this user do what is needed, and does Redis take jobs now: what it said to each command."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from producers.checkup.finding import Finding, ok, problem
from producers.checkup.needs import KEYS

if TYPE_CHECKING:
    from collections.abc import Sequence

RULE: Final = f"{' '.join(f'~{keys}' for keys in KEYS)} &* +@all -@dangerous +info +config|get"
"""What a user of Redis needs: a worker, Flower and the commands ran with it, and ACL LOG stayed empty."""


class Lack(StrEnum):
    """What a refusal is about."""

    COMMAND = "command"
    KEY = "key"
    CHANNEL = "channel"
    STATE = "state"
    """Redis refuses everybody: no memory, no disk, a replica, a command it does not have."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A command that Redis refused.

    Args:
        command: its words, in one line.
        message: Redis' own.
        permission: whether it is a matter of permission (NOPERM).
    """

    command: str
    message: str
    permission: bool

    @property
    def lack(self) -> Lack:
        """What is missing; Redis says it in words only."""
        if not self.permission:
            return Lack.STATE
        if re.search(r"permissions? to run", self.message):
            return Lack.COMMAND
        return Lack.CHANNEL if "channel" in self.message else Lack.KEY

    @property
    def name(self) -> str:
        """The command's name, `ZADD`, `SCRIPT LOAD`."""
        words = self.command.split()
        return " ".join(words[: 2 if words[0] == "SCRIPT" else 1])

    @property
    def rule(self) -> str:
        """The ACL rule that permits it; empty if none does."""
        match self.lack:
            case Lack.COMMAND:
                return f"+{self.name.lower().replace(' ', '|')}"
            case Lack.CHANNEL:
                return "&*"
            case Lack.KEY:
                words = self.command.split()[1:]
                return next(
                    (f"~{keys}" for keys in KEYS if any(fnmatchcase(word, keys) for word in words)), f"~{KEYS[0]}"
                )
        return ""


def permissions(refusals: Sequence[Refusal], user: str) -> Finding:
    """Whether this user may do everything that workers and producers do.

    Args:
        refusals: what was refused.
        user: the name that Redis knows us by.
    """
    lacking = [refusal for refusal in refusals if refusal.permission]
    if not lacking:
        return ok("permissions", f"user {user!r} may do all that workers and producers do")
    rules = list(dict.fromkeys(refusal.rule for refusal in lacking))
    told = {
        Lack.COMMAND: ("run", [refusal.name for refusal in lacking if refusal.lack is Lack.COMMAND]),
        Lack.KEY: ("touch keys", [rule[1:] for rule in rules if rule[0] == "~"]),
        Lack.CHANNEL: ("use channels", [refusal.command.split()[1] for refusal in lacking if refusal.rule == "&*"]),
    }
    found = "; ".join(f"may not {verb} {', '.join(dict.fromkeys(names))}" for verb, names in told.values() if names)
    to_do = f"ACL SETUSER {user} {' '.join(rules)} (and in the ACL file; the README has the whole rule)"
    return problem("permissions", f"user {user!r} {found}", to_do)


def writing(refusals: Sequence[Refusal], failure: str) -> Finding | None:
    """Whether Redis takes jobs now, whoever asks; None if permissions are all that is missing.

    Args:
        refusals: what was refused.
        failure: why a job's way, tried for real on a key of its own, failed; empty if it did not.
    """
    states = [refusal for refusal in refusals if refusal.lack is Lack.STATE]
    if states:
        first = states[0]
        others = f" and {len(states) - 1} more" if len(states) > 1 else ""
        return problem(
            "writing", f"Redis refuses {first.name}{others}: {first.message.strip()}", _remedy(first.message)
        )
    if refusals:
        return None
    if failure:
        return problem("writing", f"a test job did not get through Redis: {failure}", _remedy(failure))
    return ok("writing", "a test job was written, queued, popped and deleted; scripts run")


def _remedy(message: str) -> str:
    remedies = {
        "permissions": f"ACL SETUSER <user> {RULE}",
        "read only replica": "point REDIS_URL to the primary",
        "maxmemory": "see 'memory' here: raise maxmemory, or make room",
        "MISCONF": "see 'aof write' and 'snapshot' here: mend the disk",
        "NOREPLICAS": "see 'role' here: mend the replicas",
        "unknown command": "this server has no such command, or it was renamed: use one that has it",
    }
    return next((remedy for sign, remedy in remedies.items() if sign in message), "see Redis' log")
