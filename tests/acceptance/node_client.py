"""The celery-node client, installed once into a cache folder, in the versions of node/package-lock.json."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

SOURCE: Final = Path(__file__).parent / "node"
FILES: Final = ("package.json", "package-lock.json", "send.js")
NPM_CI: Final = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")


def send(redis_url: str, queue: str, kwargs: Mapping[str, Any]) -> None:
    """Sends one job from Node.

    Skips the test where there is no Node or no npm registry: tests must not need the network.
    """
    command = ["node", str(_installed() / "send.js"), redis_url, queue, json.dumps(kwargs)]
    subprocess.run(command, check=True, timeout=30, capture_output=True, text=True)


def _installed() -> Path:
    contents = b"".join((SOURCE / name).read_bytes() for name in FILES)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "warrooms"
    folder = cache / f"node-{hashlib.sha256(contents).hexdigest()[:16]}"
    if not folder.exists():
        if not (shutil.which("node") and shutil.which("npm")):
            pytest.skip("node and npm are not on this machine")
        cache.mkdir(parents=True, exist_ok=True)
        _install(cache, folder)
    return folder


def _install(cache: Path, folder: Path) -> None:
    """Into a folder of its own first: a half installed one must not be found."""
    with tempfile.TemporaryDirectory(dir=cache) as half:
        target = Path(half) / "node"
        target.mkdir()
        for name in FILES:
            shutil.copy(SOURCE / name, target)
        try:
            subprocess.run(NPM_CI, cwd=target, timeout=60, capture_output=True, text=True, check=True)
        except subprocess.TimeoutExpired:
            pytest.skip("npm ci takes too long")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"npm ci failed: {error.stderr[-300:]}")
        if not folder.exists():
            target.rename(folder)
