"""Runs what needs a GPU and holds it against what a CPU makes of it: `make gpu-check`.

Each check trains the same small network on the same drawn images by the product's own command, and compares
the losses of its steps with those of a reference: the CPU's, or another run on the GPU. Tolerances are
relative, of each step's loss; the network is trained for few steps with a small rate, because any difference
grows.

Writes `report.md` and `report.json` into a folder. Exit codes: 0 where every check met its expectation, 1
where one did not, and 77 where there is no GPU: then the checks are listed, and nothing is said to have
passed. What needs more GPUs than there are is named as not run in the report.

`python -m benchmarks.gpu_check [--output FOLDER] [--only NAME …] [--device gpu|cpu]`; `--device cpu` runs
those checks that a CPU can do, which is how the tests prove this file, and says nothing of a GPU.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

NO_GPU = 77
"""What test programs exit with that were skipped (Automake)."""
_SIDE, _IMAGES, _BATCH, _CLASSES = 32, 64, 8, 4
_EXACT, _SAME, _HALF = 0.0, 1e-3, 5e-2
_NETWORK = {"name": "PPLCNet_x0_25", "class_num": _CLASSES, "dropout_prob": 0.0, "class_expand": 64}

Losses = Sequence[float]
Changes = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Check:
    """A run, and what it is held against.

    Attributes:
        expects: For people.
        changes: Of the config, by dotted key.
        against: Changes of the reference; it runs on the CPU unless `on_device`.
        on_device: The reference runs on the device too.
        tolerance: Largest relative difference of a step's loss.
        ranks: Devices that it needs, a rank each.
        environ: More variables of the run.
        on_cpu: A CPU can do it, too.
    """

    name: str
    expects: str
    changes: Changes = field(default_factory=dict)
    against: Changes = field(default_factory=dict)
    on_device: bool = False
    tolerance: float = _SAME
    ranks: int = 1
    environ: Mapping[str, str] = field(default_factory=dict)
    on_cpu: bool = False


def _amp(level: str, dtype: str) -> Check:
    scale = {"scale_loss": 128.0, "use_dynamic_loss_scaling": True} if dtype == "float16" else {}
    return Check(
        name=f"amp-{level.lower()}-{dtype}",
        expects=f"AMP {level} in {dtype}: the CPU's losses in float32",
        changes={"AMP": {"level": level, "dtype": dtype, **scale}},
        tolerance=_HALF,
    )


_LOADER = "DataLoader.Train.loader"
_AUTOTUNE = {"Global.autotune": True, "Global.deterministic": False}
_HALVES = _amp("O1", "float16").changes
CHECKS = (
    Check(name="float32", expects="the CPU's losses", on_cpu=True),
    Check(
        name="cudnn-autotune", expects="exhaustive search of kernels: the CPU's losses",
        environ={"FLAGS_cudnn_exhaustive_search": "1"},
    ),
    Check(
        name="autotune", expects="kernels and layouts by trial: the CPU's losses",
        changes=_AUTOTUNE,
    ),
    Check(
        name="channels-last", expects="AMP with layouts by trial, channels last among them: float32's losses",
        changes={**_AUTOTUNE, **_HALVES},
        tolerance=_HALF,
    ),
    _amp("O1", "float16"), _amp("O1", "bfloat16"), _amp("O2", "float16"), _amp("O2", "bfloat16"),
    Check(
        name="to-static", expects="the compiled network: the losses of the eager one on the device",
        changes={"Global.to_static": True}, on_device=True, on_cpu=True,
    ),
    Check(
        name="normalize-on-device", expects="uint8 to the device, normalised there: the losses of float32",
        changes={_LOADER: {"num_workers": 2, "normalize_on": "device"}},
        against={_LOADER: {"num_workers": 0, "normalize_on": "reader"}}, on_device=True, on_cpu=True,
    ),
    Check(
        name="save-beside-training", expects="a checkpoint each other step: the losses without any",
        changes={"Global.save_every_steps": 2}, on_device=True, on_cpu=True,
    ),
    Check(
        name="nccl", expects="ranks over NCCL: the losses of as many ranks over gloo on the CPU", ranks=2,
        changes={"DataLoader.Train.sampler.batch_size": _BATCH // 2},
        against={"DataLoader.Train.sampler.batch_size": _BATCH // 2},
    ),
    Check(
        name="sync-batch-norm", expects="half a batch a rank, statistics of all: the losses of one rank",
        ranks=2,
        changes={"DataLoader.Train.sampler.batch_size": _BATCH // 2, "Arch.use_sync_bn": True},
    ),
)  # fmt: skip


@dataclass(kw_only=True)
class Outcome:
    """What became of a check: `passed`, `failed`, or `not run` with why."""

    name: str
    expects: str
    result: str
    found: str = ""


def write_config(folder: Path, changes: Changes, *, device: str, output: str) -> Path:
    """Write the config of a run; the images are drawn once."""
    if not (folder / "list.txt").exists():
        draws = np.random.default_rng(0)
        lines = []
        for index in range(_IMAGES):
            image = draws.integers(0, 128, (_SIDE, _SIDE, 3), dtype=np.uint8)
            image[:, :, index % 3] += np.uint8(40 * (index % _CLASSES))
            cv2.imwrite(str(folder / f"{index}.png"), image)
            lines.append(f"{index}.png {index % _CLASSES}\n")
        (folder / "list.txt").write_text("".join(lines))
    dataset = {
        "name": "ImageNetDataset", "image_root": str(folder), "cls_label_path": str(folder / "list.txt"),
        "transform_ops": [{"DecodeImage": None}, {"NormalizeImage": {"order": ""}}],
    }  # fmt: skip
    document: dict[str, Any] = {
        "Global": {
            "output_dir": str(folder / output), "device": device, "epochs": 1, "seed": 7,
            "eval_during_train": False, "print_batch_step": 4, "deterministic": True,
        },
        "Arch": dict(_NETWORK),
        "Loss": {"Train": [{"CELoss": {"epsilon": 0.1}}]},
        "Optimizer": {"name": "Momentum", "lr": {"name": "Constant", "learning_rate": 0.001}},
        "DataLoader": {"Train": {
            "dataset": dataset, "sampler": {"batch_size": _BATCH, "shuffle": True},
            "loader": {"num_workers": 0},
        }},
        "Metric": {"Train": [{"TopkAcc": {"topk": [1, 2]}}]},
    }  # fmt: skip
    for key, value in changes.items():
        *parents, last = key.split(".")
        here = document
        for parent in parents:
            here = here.setdefault(parent, {})
        here[last] = value
    path = folder / f"{output}.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def run(*words: str, environ: Mapping[str, str], ranks: int = 1, on_gpu: bool = False) -> None:
    """Run a module of Python, as so many ranks.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    command = [sys.executable, "-m", *words]
    if ranks > 1:
        devices = ["--gpus", ",".join(map(str, range(ranks)))] if on_gpu else ["--nproc_per_node", str(ranks)]
        program = str(Path(sys.executable).with_name(words[0]))  # it takes a program, not a module
        command = [sys.executable, "-m", "paddle.distributed.launch", *devices, program, *words[1:]]
    subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=600, env={**os.environ, **environ},
        cwd=Path(__file__).resolve().parents[1],
    )  # fmt: skip


def train(
    folder: Path, changes: Changes, *, device: str, output: str, ranks: int = 1,
    environ: Mapping[str, str] = {}, options: Sequence[str] = (),
) -> Losses:  # fmt: skip
    """Train by the product's command and return the loss of each step."""
    path = write_config(folder, changes, device=device, output=output)
    more = {} if ranks == 1 or device != "cpu" else {"PADDLE_DISTRI_BACKEND": "gloo"}
    run(
        "trainer", "train", "-c", str(path), *options, environ={**environ, **more}, ranks=ranks,
        on_gpu=device != "cpu",
    )  # fmt: skip
    lines = (folder / output / "metrics.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["event"] == "step"]
    return [math.nan if row["loss"] is None else row["loss"] for row in rows]


def hold(found: Losses, expected: Losses, tolerance: float) -> tuple[bool, str]:
    """Compare the losses of steps; a number that is none meets nothing."""
    if len(found) != len(expected) or not found:
        return False, f"{len(found)} steps instead of {len(expected)}"
    shares = [abs(one - other) / max(abs(other), 1e-9) for one, other in zip(found, expected, strict=True)]
    worst = max(shares) if all(map(math.isfinite, shares)) else math.nan
    return worst <= tolerance, f"largest difference {worst:.2g}, allowed {tolerance:g}"


def compare(check: Check, folder: Path, device: str) -> tuple[bool, str]:
    """Run a check and its reference."""
    ranks = check.ranks if check.changes == check.against else 1
    reference = train(
        folder, check.against, device=device if check.on_device else "cpu", output=f"{check.name}-reference",
        ranks=ranks,
    )  # fmt: skip
    found = train(
        folder, check.changes, device=device, output=check.name, ranks=check.ranks, environ=check.environ
    )
    return hold(found, reference, check.tolerance)


def resume(folder: Path, device: str) -> tuple[bool, str]:
    """Train two epochs at once, and one after the other."""
    whole = train(folder, {"Global.epochs": 2}, device=device, output="whole")
    train(folder, {"Global.epochs": 1}, device=device, output="halves")
    halves = train(
        folder, {"Global.epochs": 2}, device=device, output="halves", options=["--resume", "latest"]
    )
    return hold(halves, whole, _EXACT if device == "cpu" else _SAME)


def host_reads(folder: Path, device: str) -> tuple[bool, str]:
    """Count what the host reads of the device while it hands out steps, in a process of its own."""
    path = write_config(folder, {}, device=device, output="reads")
    counted = folder / "reads.json"
    run("benchmarks.gpu_check", "--count", str(path), str(counted), environ={})
    reads = json.loads(counted.read_text())
    return not sum(reads["reads"].values()) and reads[
        "steps"
    ] > 2, f"{reads['reads']} in {reads['steps']} steps"


def count_reads(path: Path, counted: Path) -> None:
    """Train, and count in each step but the first, which makes the optimizer's state."""
    from benchmarks.host_reads import counting
    from trainer.config.load import load_config
    from trainer.engine.run import run_training
    from trainer.engine.step import Stepper
    from trainer.ranks import Ranks

    reads: dict[str, int] = {}
    steps = 0
    real = Stepper.step

    def step(stepper: Stepper, *given: Any, **named: Any) -> Any:
        nonlocal steps
        with counting() as found:
            taken = real(stepper, *given, **named)
        steps += 1
        if steps > 1:
            for name, count in found.items():
                reads[name] = reads.get(name, 0) + count
        return taken

    Stepper.step = step  # type: ignore[method-assign]
    run_training(load_config(path).config, Ranks())
    counted.write_text(json.dumps({"reads": reads, "steps": steps}))


def measure_step_s(folder: Path, device: str, *, output: str, ranks: int = 1) -> float:
    """Train some epochs, and return the median seconds of a step, the first epoch's left out."""
    changes = {"Global.epochs": 10, _LOADER: {"num_workers": 2}}
    train(folder, changes, device=device, output=output, ranks=ranks)
    lines = (folder / output / "metrics.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if row["event"] == "times"]
    return statistics.median(row["step_s"] for row in rows[1:])


def scaling(folder: Path, device: str) -> tuple[bool, str]:
    """Compare a step of two ranks with one of one rank, with the same batch on each."""
    one_s = measure_step_s(folder, device, output="one")
    ratio = one_s / measure_step_s(folder, device, output="two", ranks=2)
    return ratio >= 0.9, f"{ratio:.2f} of one rank's pace a rank, expected 0.9"


def throughput(folder: Path, device: str) -> tuple[bool, str]:
    """Compare the product's steps with a bare loop over one batch that is on the device already."""
    import paddle

    from trainer.config.load import load_config
    from trainer.models.registry import build_model

    ours_s = measure_step_s(folder, device, output="speed")
    path = folder / "speed.yaml"

    paddle.set_device(device)
    model = build_model(load_config(path).config.arch)
    model.train()
    optimizer = paddle.optimizer.Momentum(0.001, 0.9, model.parameters())
    images, labels = paddle.randn([_BATCH, 3, _SIDE, _SIDE]), paddle.zeros([_BATCH, 1], dtype="int64")

    def steps(count: int) -> float:
        began_s = time.perf_counter()
        for _ in range(count):
            paddle.nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
            optimizer.clear_grad()
        if device != "cpu":
            paddle.device.synchronize()
        return (time.perf_counter() - began_s) / count

    steps(10)
    ratio = steps(70) / ours_s
    return ratio >= 0.97, f"{ratio:.2f} of a bare loop's pace, expected 0.97"


SPECIAL: Mapping[str, tuple[str, Callable[[Path, str], tuple[bool, str]]]] = {
    "resume": ("two epochs, the second in another process: the losses of both at once", resume),
    "host-reads": ("no number is read of the device in a step, and nothing of ours is exchanged", host_reads),
    "throughput": ("0.97 of the pace of a bare loop over one batch on the device", throughput),
    "throughput-of-two": ("two ranks over NCCL: 0.9 of the pace of one, each with as large a batch", scaling),
}
_GPUS_ONLY = ("throughput-of-two",)
NAMES = (*(check.name for check in CHECKS), *SPECIAL)


def needed_gpus(name: str) -> int:
    """Return how many GPUs a check takes."""
    if name in _GPUS_ONLY:
        return 2
    return next((check.ranks for check in CHECKS if check.name == name), 1)


def run_checks(names: Sequence[str], *, device: str, gpus: int) -> list[Outcome]:
    """Run checks one after the other; one that fails does not keep the others."""
    outcomes: list[Outcome] = []
    for name in names:
        check = next((one for one in CHECKS if one.name == name), None)
        expects = check.expects if check is not None else SPECIAL[name][0]
        outcome = Outcome(name=name, expects=expects, result="not run")
        outcomes.append(outcome)
        if device != "cpu" and needed_gpus(name) > gpus:
            outcome.found = f"needs {needed_gpus(name)} GPUs, there is {gpus}"
            continue
        if device == "cpu" and (name in _GPUS_ONLY if check is None else not check.on_cpu):
            outcome.found = "needs a GPU"
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                if check is not None:
                    passed, outcome.found = compare(check, Path(folder), device)
                else:
                    passed, outcome.found = SPECIAL[name][1](Path(folder), device)
            except subprocess.CalledProcessError as error:
                passed, outcome.found = (
                    False,
                    f"exit {error.returncode}: {(error.stderr or '').strip()[-400:]}",
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                passed, outcome.found = False, str(error)
        outcome.result = "passed" if passed else "failed"
        print(f"{name}: {outcome.result}: {outcome.found}", flush=True)
    return outcomes


def write_report(outcomes: Sequence[Outcome], folder: Path, *, device: str) -> None:
    """Write the report for people and for programs."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {"device": device, "checks": [asdict(outcome) for outcome in outcomes]}
    (folder / "report.json").write_text(json.dumps(document, indent=2) + "\n")
    rows = [f"| {one.name} | {one.expects} | {one.result} | {one.found} |" for one in outcomes]
    head = [f"# Checks on {device}", "", "| check | expected | result | found |", "|---|---|---|---|"]
    (folder / "report.md").write_text("\n".join([*head, *rows]) + "\n")


def count_gpus() -> int:
    """Return how many GPUs Paddle sees."""
    import paddle

    return int(paddle.device.cuda.device_count()) if paddle.is_compiled_with_cuda() else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, and return the exit code."""
    parser = argparse.ArgumentParser(prog="gpu_check")
    parser.add_argument("--output", type=Path, default=Path("build/gpu-check"))
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument("--count", nargs=2, type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.count:
        count_reads(*given.count)
        return 0
    gpus = count_gpus() if given.device == "gpu" else 0
    if given.device == "gpu" and not gpus:
        print("no GPU here; on a machine with one these would run:")
        for name in given.only:
            check = next((one for one in CHECKS if one.name == name), None)
            needs = f" ({needed_gpus(name)} GPUs)" if needed_gpus(name) > 1 else ""
            print(f"  {name}{needs}: {check.expects if check is not None else SPECIAL[name][0]}")
        return NO_GPU
    outcomes = run_checks(given.only, device=given.device, gpus=gpus)
    write_report(outcomes, given.output, device=given.device)
    return 1 if any(outcome.result == "failed" for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
