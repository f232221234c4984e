from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("weights_worker.py")


def test_no_mutant_of_a_file_of_weights_crashes_runs_or_takes_more_than_is_promised(
    tmp_path: Path, seed: int, rounds: Callable[[int], int]
) -> None:
    """A process of its own, because a signal, or memory beyond the limit, would end the tests."""
    count = rounds(600)
    done = subprocess.run(
        [sys.executable, str(WORKER), str(seed), str(count), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr[-2000:]}"
    found = re.fullmatch(r"(\d+) mutants of seed \d+: (\d+) read, (\d+) refused\n", done.stdout)
    assert found is not None
    assert int(found[1]) == count
    assert int(found[2]) > count // 100  # else it is noise that is tried, and not files of weights
    assert int(found[3]) > count // 10
