"""Benchmarks are run by hand, so nobody sees at once that one cannot begin any longer."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.kube.errors import AbsentError, ConflictError

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


class Namespaces:
    """A cluster with one namespace, of which each of `states` is what the next request for it finds."""

    def __init__(self, *states: str) -> None:
        self.states, self.made = list(states), 0

    def create(self, _resource: object, _body: object, *, namespace: str) -> None:
        if self.states[0] != "none":
            raise ConflictError("taken")
        self.made += 1

    def get(self, _resource: object, _name: str, *, namespace: str) -> dict[str, Any]:
        state = self.states.pop(0)
        if state == "gone by now":
            raise AbsentError("gone")
        return {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"} if state == "goes" else {}}


@pytest.mark.parametrize(
    ("states", "made"),
    [(["none"], 1), (["there"], 0), (["goes", "goes", "none"], 1), (["goes", "gone by now", "none"], 1)],
)
def test_a_benchmark_waits_for_a_namespace_that_the_run_before_deleted(
    monkeypatch: pytest.MonkeyPatch, states: list[str], made: int
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    scale_cluster = importlib.import_module("scale_cluster")
    monkeypatch.setattr(scale_cluster.time, "sleep", lambda _s: None)
    cluster = Namespaces(*states)
    scale_cluster.make_namespace(cluster, "scale-full")
    assert cluster.made == made
    assert cluster.states == (["none"] if made else [])
