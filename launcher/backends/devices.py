"""The GPUs that this machine offers to docker and local."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping

_PATIENCE_S = 10.0  # nvidia-smi takes seconds where persistence mode is off


def list_gpus(
    environ: Mapping[str, str] = os.environ, *, ask: Callable[[], str] | None = None
) -> tuple[str, ...]:
    """Return the GPUs that a process of ours would see, as `CUDA_VISIBLE_DEVICES` names them.

    Args:
        environ: Where `CUDA_VISIBLE_DEVICES` may narrow them.
        ask: Returns what `nvidia-smi -L` prints; None runs it.
    """
    lines = (ask or _ask_driver)().splitlines()
    present = tuple(str(index) for index in range(sum(line.startswith("GPU ") for line in lines)))
    visible = environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None or not present:
        return present
    chosen: list[str] = []
    for name in (part.strip() for part in visible.split(",")):
        if name not in present and not name.startswith(("GPU-", "MIG-")):
            break  # CUDA, too, sees only what comes before the first wrong name (CUDA C++ Programming Guide)
        chosen.append(name)
    return tuple(chosen)


def count_gpus(environ: Mapping[str, str] = os.environ) -> int:
    """Count the GPUs that a process of ours would see; 0 where there is no driver."""
    return len(list_gpus(environ))


def _ask_driver() -> str:
    try:
        done = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=_PATIENCE_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
