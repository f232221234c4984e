"""Benchmarks are run by hand, so nobody sees at once that one cannot begin any longer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
IMPORT_ALL = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def test_every_benchmark_finds_what_it_imports() -> None:
    # Either folder is there, as `python benchmarks/bench_x.py` and `python -m benchmarks.bench_x` have it.
    found = (
        path for pattern in ("bench_*", "soak_*", "gpu_check") for path in BENCHMARKS.glob(f"{pattern}.py")
    )
    names = sorted(path.stem for path in found)
    assert len(names) > 15
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{BENCHMARKS}:{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALL, *names],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
