"""The log benchmarks' server: built by Go from `logserver/`, run on the last core, with its certificate."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parent / "logserver"
CORES = sorted(os.sched_getaffinity(0))
JOB, NAMESPACE = "job", "ml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What the server serves.

    Attributes:
        batch: Lines that are sent at once.
        ranks: In each pod.
        together: The logs go on once all are followed.
    """

    pods: int
    lines: int
    batch: int = 50
    ranks: int = 1
    together: bool = False

    @property
    def total(self) -> int:
        return self.pods * self.lines


def build(folder: Path) -> Path:
    """Build the server, or end with what is missing."""
    if shutil.which("go") is None:
        sys.exit(
            "bench_logs: expected Go 1.21 or later to build the server, found no `go`; see go.dev/doc/install"
        )
    program = folder / "logserver"
    subprocess.run(["go", "build", "-o", program, "."], cwd=SOURCE, check=True)
    return program


def pin(core: int) -> dict[str, object]:
    """Options of Popen that keep a process on one core."""
    return {"preexec_fn": lambda: os.sched_setaffinity(0, {core})}


@contextmanager
def serving(program: Path, load: Load) -> Iterator[Path]:
    """Give a folder with `port` and `certificate` of a server that is up."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        command = [
            program, "-pods", load.pods, "-lines", load.lines, "-batch", load.batch, "-ranks", load.ranks,
            f"-together={str(load.together).lower()}", "-certificate", folder / "certificate",
        ]  # fmt: skip
        # one thread, because it has one core
        environ = os.environ | {"GOMAXPROCS": "1"}
        with subprocess.Popen(
            list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ,
            **pin(CORES[-1]),
        ) as server:  # fmt: skip
            assert server.stdout is not None
            (folder / "port").write_text(server.stdout.readline().strip())
            yield folder
            server.kill()
