"""Whole commands against the benchmark's server, on the first core: `ftlaunch logs -f`, `kubectl logs -l`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from go_server import CORES, JOB, NAMESPACE, Load, pin

from launcher.plan.handle import Handle
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore

_STEP = re.compile(rb"\[rank (\d+)\] INFO step=(\d+) ")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """What a command did: seconds from its start to its end, its largest size, and what it wrote."""

    passed_s: float
    cpu_s: float
    mb: float
    lines: int


def write_kubeconfig(folder: Path) -> Path:
    """Write how kubectl and ftlaunch reach the server."""
    path, port = folder / "kubeconfig", (folder / "port").read_text()
    server = f'{{server: "https://localhost:{port}", certificate-authority: {folder / "certificate"}}}'
    path.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: bench\n"
        f"clusters: [{{name: bench, cluster: {server}}}]\n"
        "users: [{name: bench, user: {token: t}}]\n"
        f"contexts: [{{name: bench, context: {{cluster: bench, user: bench, namespace: {NAMESPACE}}}}}]\n"
    )
    return path


def ftlaunch(folder: Path) -> list[str]:
    """Return the command that follows the job, after making its record."""
    record = RunRecord(
        handle=Handle(backend="kubernetes", namespace=NAMESPACE, job=JOB), run_id="0" * 32,
        stage=Stage.SUBMITTED, project=str(folder), config="c.yaml", command=(), created_s=time.time(),
    )  # fmt: skip
    RunStore(folder / "runs").begin(record, config=b"", manifest="", git=None)
    return [sys.executable, "-m", "launcher", "logs", "-f", JOB]


def kubectl(folder: Path, pods: int) -> list[str]:
    """Return the command that does as much as it can of the same."""
    return [
        "kubectl", f"--cache-dir={folder / 'cache'}", "logs", "-f", "--prefix", "--tail=-1", "-l",
        f"training.kubeflow.org/job-name={JOB}", f"--max-log-requests={pods}",
    ]  # fmt: skip


def run(command: list[str], folder: Path, *, slow: bool = False, limit_s: float = 120.0) -> Ran:
    """Run a command to its end, or for `limit_s`, and read what it writes.

    With `slow`, not a byte is read for 5 s, and then 8 MB a second; each rank's lines are counted through.
    """
    environ = os.environ | {"KUBECONFIG": str(write_kubeconfig(folder)), "FTLAUNCH_STATE": str(folder)}
    target: IO[bytes] | int = subprocess.PIPE if slow else (folder / "out").open("wb")
    began_s = time.perf_counter()
    process = subprocess.Popen(
        ["timeout", "-s", "KILL", str(limit_s), *command] if limit_s else command, stdout=target, env=environ,
        **pin(CORES[0]),
    )  # fmt: skip
    lines = _read_slowly(process) if slow else 0
    _, _, usage = os.wait4(process.pid, 0)
    passed_s = time.perf_counter() - began_s
    if not slow:
        lines = (folder / "out").read_bytes().count(b"\n")
    return Ran(
        passed_s=passed_s, cpu_s=usage.ru_utime + usage.ru_stime, mb=usage.ru_maxrss / 1024, lines=lines
    )


def _read_slowly(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout is not None
    time.sleep(5.0)
    steps: dict[bytes, int] = defaultdict(int)
    rest = b""
    while data := process.stdout.read(800_000):
        whole, _, rest = (rest + data).rpartition(b"\n")
        for line in whole.split(b"\n"):
            match = _STEP.match(line)
            assert match is not None, line
            assert int(match[2]) == steps[match[1]], f"expected step {steps[match[1]]}, got {line!r}"
            steps[match[1]] += 1
        time.sleep(0.1)
    return sum(steps.values())


def check(load: Load, ran: Ran) -> Ran:
    assert ran.lines == load.total, f"expected {load.total} lines, got {ran.lines}"
    return ran
