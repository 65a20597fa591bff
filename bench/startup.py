"""How long `make demo` takes after set-up, and `warrooms --help`; medians of three.

python -m bench.startup
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

ROUNDS = 3
WARROOMS = str(Path(sys.executable).parent / "warrooms")


def seconds(*command: str) -> float:
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=Path(__file__).parent.parent)
    return time.monotonic() - began


def main() -> None:
    demo = [seconds("make", "demo") for _ in range(ROUNDS)]
    usage = [seconds(WARROOMS, "--help") for _ in range(ROUNDS * 3)]
    print(json.dumps({"make_demo_s": round(median(demo), 1), "help_s": round(median(usage), 3)}))


if __name__ == "__main__":
    main()
