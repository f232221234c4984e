"""Start-up of the two command lines, against an interpreter that imports click and does nothing.

Each command runs ROUNDS times in turn with the others; the median counts.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ROUNDS = 15
COMMANDS = {
    "python -c 'import click'": ["-c", "import click"],
    "ftlaunch --help": ["-m", "launcher", "--help"],
    "ftlaunch list --help": ["-m", "launcher", "list", "--help"],
    "trainer --help": ["-m", "trainer", "--help"],
    "node process, imported": ["-c", "import trainer.node.__main__"],
}


def main() -> None:
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, arguments in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            times[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(found) for name, found in times.items()}
    limit = next(iter(medians.values()))
    for name, median in medians.items():
        print(f"{name:28} {1000 * median:7.1f} ms  {median / limit:5.2f} x")


if __name__ == "__main__":
    main()
