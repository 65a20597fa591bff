"""The password of `warrooms up`'s Flower, which needs one to start: made once, kept in a file, never printed."""

from __future__ import annotations

import os
import re
import secrets
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SETTING: Final = "WARROOMS_FLOWER_PASSWORD_FILE"

SAID: Final = (SETTING, "FLOWER_BASIC_AUTH", "FLOWER_AUTH", "WARROOMS_FLOWER_OPEN")
"""Whoever has set one of these has decided who may log in."""

_OPTION: Final = re.compile(r"--(basic[-_])?auth\b")


def password_env(file: Path, commands: Iterable[str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What tells a Flower its password; nothing if there is no Flower, or a person has said who may log in.

    Args:
        file: has the password; made, for its owner alone, if it is missing or empty.
        commands: the command lines of the Flowers.
        environ: what the person has set.
    """
    listed = list(commands)
    if not listed or any(environ.get(name) for name in SAID) or any(_OPTION.search(one) for one in listed):
        return {}
    if not file.exists() or not file.read_bytes().strip():
        opener = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(opener, "w", encoding="ascii") as opened:
            opened.write(f"{secrets.token_urlsafe(16)}\n")
    return {SETTING: str(file)}
