"""What `init` asks the trainer, in processes of its own: for weights, lists, and the time of a step.

The launcher imports neither Paddle nor the trainer's inside; a copy without Paddle is told so, not failed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from launcher.processes import kill_tree
from trainer.protocol.python_command import python_command

_PROBE_S = 3.0
_STEPS = 13
"""The first is left out: it plans kernels and waits for the first images."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Where the weights of an architecture are: on this machine, or at an address that answers."""

    arch: str
    place: str
    is_here: bool


def find_weights(archs: Sequence[str]) -> Weights | None:
    """Return the weights of the first of `archs` that has them here, else of the first that can be fetched.

    Where weights are looked for is the trainer's rule (`trainer weights list`). Whether they can be fetched
    is tried by one HEAD request; `FTL_OFFLINE` forbids that.
    """
    places = {arch: place for arch in archs if (place := _place(arch)) is not None}
    for arch, place in places.items():
        if "://" not in place:
            return Weights(arch, place, is_here=True)
    arch, place = next(iter(places.items()), ("", ""))
    return Weights(arch, place, is_here=False) if place and _answers(place) else None


def _place(arch: str) -> str | None:
    # No limit: it asks no network, so a slow answer tells of a slow machine, and not that there are none.
    done = subprocess.run(
        python_command("trainer", ["weights", "list", arch]), capture_output=True, text=True, check=False
    )
    for line in done.stdout.splitlines():
        name, _, place = line.partition("\t")
        if name == arch and (Path(place).is_file() or place.startswith(("https://", "http://"))):
            return place
    return None


def _answers(url: str) -> bool:
    if os.environ.get("FTL_OFFLINE", os.environ.get("FTLAUNCH_OFFLINE", "")) not in ("", "0"):
        return False
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - an address of the trainer's table
    try:
        with urllib.request.urlopen(request, timeout=_PROBE_S) as answer:  # noqa: S310 - as above
            return 200 <= int(answer.status) < 300
    except (OSError, ValueError):
        return False


def make_lists(folder: Path) -> tuple[bool, list[str]]:
    """Have `trainer make-lists` write the lists; returns whether it did, and what it said."""
    done = subprocess.run(
        python_command("trainer", ["make-lists", str(folder), "--no-next"]),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode == 0, [*done.stdout.splitlines(), *done.stderr.splitlines()]


def can_train() -> bool:
    """Tell whether Paddle is installed beside the launcher."""
    return importlib.util.find_spec("paddle") is not None


class StepEstimate(NamedTuple):
    """What the sizes of the layers tell of a step: bytes of the device, multiply-adds of an image."""

    bytes: int
    multiplications: int


def estimate_step(text: str) -> StepEstimate | None:
    """Return what a step of a config takes; None where its network or the images' size tell nothing."""
    with tempfile.TemporaryDirectory(prefix="ftlaunch-init-") as scratch:
        config = Path(scratch) / "cfg.yaml"
        config.write_text(text, encoding="utf-8")
        arguments = [
            "fit-batch",
            "-c",
            str(config),
            "--estimate",
            "--output",
            "json",
            "-o",
            "Arch.pretrained=False",
        ]
        done = subprocess.run(
            python_command("trainer", arguments), capture_output=True, text=True, check=False
        )
    with contextlib.suppress(ValueError, KeyError, TypeError):
        found = json.loads(done.stdout)
        return StepEstimate(int(found["device_bytes"]), int(found["multiplications"]))
    return None


def measure_step(text: str, *, batch: int, limit_s: float) -> tuple[float | None, int | None]:
    """Train a few steps of a config on this machine, and return the seconds and the memory that they take.

    Args:
        text: The config. Nothing of it is kept; checkpoints go to a folder that is removed.
        batch: Images of a step.
        limit_s: When to stop, start of the process included.

    Returns:
        The median of the steps, or None where fewer than two were done in this time, or training failed; and
        the most bytes that the process took, or None where nobody knows.
    """
    with tempfile.TemporaryDirectory(prefix="ftlaunch-init-") as scratch:
        config, output = Path(scratch) / "cfg.yaml", Path(scratch) / "output"
        config.write_text(text, encoding="utf-8")
        changes = {
            "Global.output_dir": str(output), "Global.epochs": 1, "Global.iter_per_epoch": _STEPS,
            "Global.eval_during_train": False, "Global.save_interval": 0, "Arch.pretrained": False,
            "Optimizer.lr.warmup_epoch": 0,
        }  # fmt: skip
        args = [arg for key, value in changes.items() for arg in ("-o", f"{key}={value}")]
        child = subprocess.Popen(
            python_command("trainer", ["train", "-c", str(config), *args]), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(limit_s)
        finally:
            kill_tree(child)
        step_s = _median_step(next(iter(sorted(output.rglob("metrics.jsonl"))), None), batch)
        return step_s, _most_memory() if step_s is not None else None


def _most_memory() -> int | None:
    """Return the most bytes that any process took that this one has started and waited for."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << (0 if sys.platform == "darwin" else 10)


def _median_step(metrics: Path | None, batch: int) -> float | None:
    rates: list[float] = []
    for line in metrics.read_text(encoding="utf-8").splitlines() if metrics is not None else ():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            row = json.loads(line)
            if row["event"] == "step" and float(row["images_per_s"]) > 0:
                rates.append(float(row["images_per_s"]))
    return batch / statistics.median(rates[1:]) if len(rates) > 1 else None
