"""Which dead letters are meant: job ids and filters, checked and applied. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from producers.bad_input import BadInput
from producers.parsing import shown
from worker.errors import API_CODES, OWN_CODES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.records import Record

UNIT_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

KNOWN_CODES: Final = {code.casefold(): code for code in (*API_CODES, *OWN_CODES)}
"""Every code that a dead letter is known to have, by how people may write it; the API may yet give others."""

NO_CODE: Final = "none"
"""How a dead letter without a code is called."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The dead letters that a person means; ages are those of the last failure, in seconds; `typed` are the codes."""

    targets: tuple[str, ...] = ()
    batch: str | None = None
    codes: frozenset[str] = frozenset()
    typed: tuple[str, ...] = ()
    older_than_s: float | None = None
    newer_than_s: float | None = None
    account: str | None = None

    @classmethod
    def of(
        cls,
        targets: Sequence[str] | None,
        batch: str | None,
        codes: Sequence[str] | None,
        older_than: str | None,
        newer_than: str | None,
        account: str | None,
    ) -> Self:
        """The choice that a command's arguments make.

        Raises:
            BadInput: a duration is none, or no age can be meant.
        """
        older_s = None if older_than is None else seconds("--older-than", older_than)
        newer_s = None if newer_than is None else seconds("--newer-than", newer_than)
        if older_s is not None and newer_s is not None and older_s >= newer_s:
            raise BadInput(
                f"nothing is older than {shown(older_than)} and newer than {shown(newer_than)}; "
                "failures between one and two hours old are --older-than 1h --newer-than 2h"
            )
        typed = tuple(code.strip() for code in codes or ())
        wanted = frozenset(code.casefold() for code in typed)
        return cls(tuple(dict.fromkeys(targets or ())), batch, wanted, typed, older_s, newer_s, account)

    @property
    def names_something(self) -> bool:
        """Whether anything was said at all."""
        return bool(self.targets or self.batch or self.codes or self.account) or not (
            self.older_than_s is None and self.newer_than_s is None
        )

    @property
    def unfamiliar_codes(self) -> frozenset[str]:
        """Codes that are neither the API's nor ours: new ones, or misspelt."""
        return self.codes - KNOWN_CODES.keys() - {NO_CODE}

    def as_typed(self, code: str) -> str:
        """A code as the person wrote it."""
        return next((one for one in self.typed if one.casefold() == code), code)

    def takes(self, record: Record, now_s: float) -> bool:
        """Whether the filters let a dead letter through."""
        age_s = now_s - (record.finished_at or record.updated_at)
        return (
            (self.batch is None or self.batch in record.batches)
            and (not self.codes or code_of(record).casefold() in self.codes)
            and (self.older_than_s is None or age_s >= self.older_than_s)
            and (self.newer_than_s is None or age_s <= self.newer_than_s)
        )


def code_of(record: Record) -> str:
    """The code of a dead letter; `none` if it has none."""
    return record.code or NO_CODE


def seconds(option: str, text: str) -> float:
    """A duration as people write it (`30s`, `15m`, `2h`, `3d`, `1h30m`), in seconds.

    Raises:
        BadInput: it is none.
    """
    plain = text.strip().lower()
    parts = re.findall(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhd])", plain, re.ASCII)
    if not parts or "".join(number + unit for number, unit in parts) != plain:
        hint = f"; did you mean {plain}s or {plain}m?" if re.fullmatch(r"[0-9]{1,9}", plain, re.ASCII) else ""
        raise BadInput(f"{option} must be a duration like 30s, 15m, 2h or 3d, got {shown(text)}{hint}")
    return sum(float(number) * UNIT_S[unit] for number, unit in parts)
