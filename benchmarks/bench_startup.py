"""Start-up of the two command lines, as a ratio to an interpreter that imports click and does nothing, and to
`kubectl version --client`, the command that users compare with, where there is one.

Each command runs ROUNDS times in turn with the others; the median counts.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROUNDS = 15
CLICK, KUBECTL = "python -c 'import click'", "kubectl version --client"
PYTHON = {
    CLICK: ["-c", "import click"],
    "ftlaunch --help": ["-m", "launcher", "--help"],
    "ftlaunch --version": ["-m", "launcher", "--version"],
    "ftlaunch list, of nothing": ["-m", "launcher", "list"],
    "ftlaunch submit --help": ["-m", "launcher", "submit", "--help"],
    "ftlaunch validate": ["-m", "launcher", "validate", "examples/quickstart.yaml"],
    "trainer --help": ["-m", "trainer", "--help"],
    "trainer train --help": ["-m", "trainer", "train", "--help"],
    "node process, imported": ["-c", "import trainer.node.__main__"],
}


def main() -> None:
    commands = {name: [sys.executable, *arguments] for name, arguments in PYTHON.items()}
    kubectl = shutil.which("kubectl")
    if kubectl is not None:
        commands[KUBECTL] = [kubectl, "version", "--client"]
    times: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as empty:
        environ = {**os.environ, "FTLAUNCH_STATE": empty}
        for _ in range(ROUNDS):
            for name, command in commands.items():
                began = time.perf_counter()
                subprocess.run(command, check=True, capture_output=True, env=environ)
                times[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(found) for name, found in times.items()}
    for name, median in medians.items():
        ratio = f"{median / medians[KUBECTL]:5.2f} x kubectl" if KUBECTL in medians else "no kubectl here"
        print(f"{name:26} {1000 * median:7.1f} ms  {median / medians[CLICK]:5.2f} x click  {ratio}")


if __name__ == "__main__":
    main()
