"""Submitting to a cluster: `ftlaunch submit` against `kubectl create -f` of the same manifest, in turns.

Needs KUBECONFIG, with a namespace that may be filled with jobs whose pods find no node; they are deleted.
Modules are compiled before, as pip does it. `--no-preflight` is what compares: kubectl looks for no
claims, quotas or room either. What that look adds is shown beside it.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 15
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
    text = (
        Path(CONFIG)
        .read_text()
        .replace("claim: digits", "empty_dir: {}")
        .replace("claim: runs", "empty_dir: {}")
    )
    config.write_text(text + "  node_selector: {nothing: such}\n")
    os.environ |= {"FTLAUNCH_STATE": str(folder / "state"), "PYTHONPYCACHEPREFIX": str(folder / "compiled")}
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in (PEER, *OURS)}
    for index in range(ROUNDS + 1):
        made = f"bench-{os.getpid()}-{index}"
        manifest = folder / f"{made}.yaml"
        manifest.write_text(run(*FTLAUNCH, "render", str(config), "--name", f"{made}-k")[1])
        times[PEER].append(run("kubectl", "create", "-f", str(manifest))[0])
        run("kubectl", "delete", "-f", str(manifest), "--wait=false")
        for number, (name, flags) in enumerate(OURS.items()):
            own = f"{made}-f{number}"
            times[name].append(run(*FTLAUNCH, "submit", str(config), "--name", own, *flags)[0])
            run(*FTLAUNCH, "delete", own, "--force")
    for what, number in (("wall", 0), ("CPU", 1)):
        medians = {name: statistics.median(row[number] for row in rows[1:]) for name, rows in times.items()}
        for name in OURS:
            print(
                f"{what}: {PEER} {medians[PEER]:.3f} s, {name} {medians[name]:.3f} s: "
                f"{medians[name] / medians[PEER]:.2f}"
            )


PEER = "kubectl create -f"
OURS = {"ftlaunch submit --no-preflight": ("--no-preflight",), "ftlaunch submit": ()}
FTLAUNCH = (str(Path(sys.executable).parent / "ftlaunch"),)


def run(*argv: str) -> tuple[tuple[float, float], str]:
    """Return wall and CPU time in seconds, and standard output."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(argv, check=True, capture_output=True, text=True, cwd=REPOSITORY)
    wall_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return (wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime), done.stdout


if __name__ == "__main__":
    main()
