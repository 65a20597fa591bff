"""Who may ask, and for what: bearer tokens by name, compared as digests in constant time. Pure.

    name:token                                   enqueue and read, every account
    name[enqueue+read+operate]:token             these rights
    name[read@payments+search]:token             these rights, and these accounts only
    name[@payments]:token                        enqueue and read, this account only

Entries are separated by commas or line ends. No token is kept, only its digest, and no error repeats one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Self

from worker.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Collection


class Right(StrEnum):
    """What a token may do."""

    ENQUEUE = "enqueue"
    READ = "read"
    OPERATE = "operate"


USUAL: Final = frozenset({Right.ENQUEUE, Right.READ})
"""The rights of an entry that names none: to replay dead letters, somebody must have said so."""

SHORTEST: Final = 16
"""Characters; shorter ones can be guessed."""

HOW: Final = 'set WARROOMS_API_TOKENS, for instance: export WARROOMS_API_TOKENS="ops:$(openssl rand -hex 32)"'

_ENTRY: Final = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,62})"
    r"(?:\[(?P<rights>[a-z+]*)(?:@(?P<accounts>[A-Za-z0-9_+-]+))?\])?"
    r":(?P<token>[A-Za-z0-9._~+/-]+=*)"
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks.

    Args:
        name: the token's name.
        rights: what it may do.
        accounts: the only accounts that exist for it; None means all.
    """

    name: str
    rights: frozenset[Right] = USUAL
    accounts: frozenset[str] | None = None

    def sees(self, account: str) -> bool:
        """Whether the account exists for it."""
        return self.accounts is None or account in self.accounts


@dataclass(frozen=True, slots=True)
class Tokens:
    """Every token that is known, by its digest."""

    _callers: tuple[tuple[bytes, Caller], ...] = field(repr=False)

    @classmethod
    def parse(cls, text: str, accounts: Collection[str]) -> Self:
        """The tokens of a setting.

        Args:
            text: the entries.
            accounts: the accounts that are configured.

        Raises:
            SettingsError: says which entry is wrong, and how; never what it holds.
        """
        entries = [entry for part in re.split(r"[,\n]", text) if (entry := part.strip()) and not entry.startswith("#")]
        if not entries:
            raise SettingsError(f"the API must not be open to everybody: {HOW}")
        callers = [_caller(number, entry, accounts) for number, entry in enumerate(entries, 1)]
        _check_different(callers)
        return cls(tuple(callers))

    def caller(self, token: str) -> Caller | None:
        """Who has this token; None if nobody. It takes as long for every token."""
        asked, found = digest_of(token), None
        for digest, caller in self._callers:
            if hmac.compare_digest(digest, asked):
                found = caller
        return found

    def named(self, name: str) -> tuple[bytes, Caller] | None:
        """The digest of the token with this name, and who has it; None if there is none."""
        return next((known for known in self._callers if known[1].name == name), None)


def digest_of(secret: str) -> bytes:
    """What is compared instead of the secret: as long for every secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


def _caller(number: int, entry: str, accounts: Collection[str]) -> tuple[bytes, Caller]:
    parts = _ENTRY.fullmatch(entry)
    if parts is None:
        raise _wrong(f"entry {number}", "it is not name:token or name[rights@accounts]:token")
    name, token = parts["name"], parts["token"]
    which = f"entry {number} ({name})"
    if len(token) < SHORTEST:
        raise _wrong(which, f"the token needs at least {SHORTEST} characters; make one with: openssl rand -hex 32")
    return digest_of(token), Caller(name, _rights(which, parts["rights"]), _own(which, parts["accounts"], accounts))


def _rights(which: str, text: str | None) -> frozenset[Right]:
    names = [name for name in (text or "").split("+") if name]
    for name in names:
        if name not in set(Right):
            raise _wrong(which, f"{name!r} is no right; the rights are {', '.join(Right)}")
    return frozenset(map(Right, names)) or USUAL


def _own(which: str, text: str | None, accounts: Collection[str]) -> frozenset[str] | None:
    if text is None:
        return None
    names = [name for name in text.split("+") if name]
    for name in names:
        if name not in accounts:
            raise _wrong(which, f"account {name!r} is not known; known accounts: {', '.join(sorted(accounts))}")
    return frozenset(names)


def _check_different(callers: list[tuple[bytes, Caller]]) -> None:
    digests, names = set[bytes](), set[str]()
    for number, (digest, caller) in enumerate(callers, 1):
        which = f"entry {number} ({caller.name})"
        if caller.name in names:
            raise _wrong(which, "there is another one of that name")
        if digest in digests:
            raise _wrong(which, "another entry has the same token")
        digests.add(digest)
        names.add(caller.name)


def _wrong(which: str, why: str) -> SettingsError:
    return SettingsError(f"WARROOMS_API_TOKENS, {which}: {why}")
