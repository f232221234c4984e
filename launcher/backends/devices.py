"""How many GPUs this machine offers to docker and local."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping

_PATIENCE_S = 10.0  # nvidia-smi takes seconds where persistence mode is off


def count_gpus(environ: Mapping[str, str] = os.environ) -> int:
    """Count the GPUs that a process of ours would see; 0 where there is no driver."""
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        names = [name.strip() for name in visible.split(",")]
        return len(names) if all(name and name != "-1" for name in names) else 0
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=_PATIENCE_S, check=True, env=environ
        )
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())
