"""Following many pods' logs over TLS: lines a second, against a bare pump that only splits and prefixes lines.

The server is a Go program on the last core (`logserver/`), the client has the first core: see `log_client.py` for
what each client does. Wall time counts everything from the first look at the job to the last line, and the ratio to
the pump is taken from runs one after the other. Processor time a line says the same where other work takes the core.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from go_server import CORES, Load, build, pin, serving

CASES = [
    Load(pods=64, lines=6000),
    Load(pods=512, lines=800),
    Load(pods=512, lines=5000),
    Load(pods=64, lines=3000, batch=1),
    Load(pods=64, lines=6000, ranks=8),
]


def measure(program: Path, what: str, load: Load) -> dict[str, float]:
    client = Path(__file__).parent / "log_client.py"
    with serving(program, load) as folder:
        done = subprocess.run(
            [sys.executable, client, what, folder, str(load.pods)], stdout=subprocess.PIPE, check=True, **pin(CORES[0])
        )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["lines"] == load.total, found
    return found


def show(what: str, found: dict[str, float]) -> None:
    print(
        f"  {what:7s}{found['lines'] / found['s']:9,.0f} lines/s  {found['cpu_s'] / found['lines'] * 1e6:5.2f} us of the "
        f"processor a line  attached in {found['attached_s']:.2f} s, last line {found['s']:.2f} s, end {found['end_s']:.2f} s"
        f"  {found['mb']:.0f} MB",
        flush=True,
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        program = build(Path(name))
        for load in CASES:
            print(f"{load.pods} pods, {load.lines} lines each, {load.batch} at once, {load.ranks} ranks a pod")
            bare = measure(program, "pump", load)
            ours = measure(program, "follow", load)
            show("pump", bare)
            show("follow", ours)
            print(f"  {bare['s'] / ours['s']:.2f} x the pump by wall time, {bare['cpu_s'] / ours['cpu_s']:.2f} x by processor time")


if __name__ == "__main__":
    main()
