"""Becomes Node with one of this folder's programs: `python -m bench.contenders.bullmq worker.mjs`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

from bench.npm import installed

FILES: Final = ("worker.mjs", "enqueue.mjs", "queue.mjs")


def main() -> None:
    folder = installed(Path(__file__).parent, *FILES)
    os.execvp("node", ["node", str(folder / sys.argv[1])])  # noqa: S606, S607 - our own program


if __name__ == "__main__":
    main()
