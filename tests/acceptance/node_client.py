"""The celery-node client, in the versions of node/package-lock.json."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.npm import installed

if TYPE_CHECKING:
    from collections.abc import Mapping

SOURCE: Final = Path(__file__).parent / "node"


def send(redis_url: str, queue: str, kwargs: Mapping[str, Any]) -> None:
    """Sends one job from Node.

    Skips the test where there is no Node or no npm registry: tests must not need the network.
    """
    command = ["node", str(installed(SOURCE, "send.js") / "send.js"), redis_url, queue, json.dumps(kwargs)]
    subprocess.run(command, check=True, timeout=30, capture_output=True, text=True)
