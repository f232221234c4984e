"""Submitting to a cluster: `ftlaunch submit` against `kubectl create -f` of the same manifest, in turns.

Needs KUBECONFIG, with a namespace that may be filled with jobs whose pods find no node; they are deleted.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 11
REPOSITORY = Path(__file__).resolve().parents[1]
CONFIG = str(REPOSITORY / "examples/quickstart.yaml")


def main() -> None:
    if not os.environ.get("KUBECONFIG"):
        print("bench_submit: NOT RUN: expected KUBECONFIG with a cluster to submit to, got none")
        return
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder))


def measure(folder: Path) -> None:
    config = folder / "cfg.yaml"
    config.write_text(Path(CONFIG).read_text() + "  node_selector: {nothing: such}\n")
    os.environ["FTLAUNCH_STATE"] = str(folder / "state")
    ours, theirs = [], []
    for index in range(ROUNDS):
        plain, own = f"bench-{os.getpid()}-k{index}", f"bench-{os.getpid()}-f{index}"
        manifest = folder / f"{plain}.yaml"
        manifest.write_text(run(*FTLAUNCH, "render", str(config), "--name", plain)[1])
        theirs.append(run("kubectl", "create", "-f", str(manifest))[0])
        ours.append(run(*FTLAUNCH, "submit", str(config), "--name", own)[0])
        run("kubectl", "delete", "-f", str(manifest), "--wait=false")
        run(*FTLAUNCH, "delete", own, "--force")
    first, second = statistics.median(theirs), statistics.median(ours)
    print(f"kubectl create -f: {first:.2f} s")
    print(f"ftlaunch submit:   {second:.2f} s, {second / first:.2f} times as long")


FTLAUNCH = (sys.executable, "-m", "launcher")


def run(*argv: str) -> tuple[float, str]:
    began = time.perf_counter()
    done = subprocess.run(argv, check=True, capture_output=True, text=True, cwd=REPOSITORY)
    return time.perf_counter() - began, done.stdout


if __name__ == "__main__":
    main()
