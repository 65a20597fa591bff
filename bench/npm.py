"""Packages from npm, installed once into a cache folder, in the versions of a lock file."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

CI: Final = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
LOCKED: Final = ("package.json", "package-lock.json")
LONGEST_S: Final = 60.0


class NotInstalled(Exception):
    """There is no Node here, or no npm registry."""


def installed(source: Path, *more: str) -> Path:
    """A folder with the packages that `source` locks, and with more files of it.

    Raises:
        NotInstalled: they cannot be had.
    """
    names = (*LOCKED, *more)
    contents = b"".join((source / name).read_bytes() for name in names)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "warrooms"
    folder = cache / f"{source.name}-{hashlib.sha256(contents).hexdigest()[:16]}"
    if not folder.exists():
        if not (shutil.which("node") and shutil.which("npm")):
            raise NotInstalled("node and npm are not on this machine")
        cache.mkdir(parents=True, exist_ok=True)
        _install(source, names, cache, folder)
    return folder


def _install(source: Path, names: Sequence[str], cache: Path, folder: Path) -> None:
    """Into a folder of its own first: a half installed one must not be found."""
    with tempfile.TemporaryDirectory(dir=cache) as half:
        target = Path(half) / source.name
        target.mkdir()
        for name in names:
            shutil.copy(source / name, target)
        try:
            subprocess.run(CI, cwd=target, timeout=LONGEST_S, capture_output=True, text=True, check=True)
        except subprocess.TimeoutExpired:
            raise NotInstalled("npm ci takes too long") from None
        except subprocess.CalledProcessError as error:
            raise NotInstalled(f"npm ci failed: {error.stderr[-300:]}") from None
        if not folder.exists():
            target.rename(folder)
