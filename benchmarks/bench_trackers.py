"""What trackers that hang cost a training: the time of its steps, the processor, and no bit of its weights.

    python benchmarks/bench_trackers.py [--rounds 4] [--epochs 2] [--images 640]

Two jobs in turn on this machine (`--on local`), equal but for `Launch.track`: none, and MLflow at an address
that takes connections and never answers, beside TensorBoard. Times are `step_s` of metrics.jsonl without each
job's first epoch, whose steps plan kernels; the processor's time of the trackers is that of /proc, last seen.
Before, the processes alone: what share of a processor they take while nothing answers (`--rounds 0`: no
more), which a machine that others use tells too.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import yaml

SIDE, CLASSES, BATCH = 64, 4, 32
_TICKS = os.sysconf("SC_CLK_TCK")


def draw(folder: Path, *, images: int, side: int = SIDE) -> None:
    """Draw noise, and a list of it."""
    draws = np.random.default_rng(0)
    folder.mkdir()
    lines = []
    for index in range(images):
        name = f"{index}.jpg"
        cv2.imwrite(str(folder / name), draws.integers(0, 255, (side, side, 3), dtype=np.uint8))
        lines.append(f"{name} {index % CLASSES}\n")
    (folder / "train_list.txt").write_text("".join(lines))


def make_config(folder: Path, name: str, *, epochs: int, track: list[object]) -> Path:
    """Write a config whose job writes to `name`."""
    ops = [{"DecodeImage": {}}, {"NormalizeImage": {"order": ""}}]
    document = {
        "Global": {
            "output_dir": name, "device": "cpu", "epochs": epochs, "seed": 7, "print_batch_step": 5,
            "eval_during_train": False, "report": False,
        },
        "Arch": {"name": "PPLCNet_x0_25", "class_num": CLASSES, "dropout_prob": 0.0},
        "Loss": {"Train": [{"CELoss": {"weight": 1.0}}]},
        "Optimizer": {"name": "Momentum", "momentum": 0.9, "lr": {"name": "Constant", "learning_rate": 0.01}},
        "DataLoader": {
            "Train": {
                "dataset": {
                    "name": "ImageNetDataset", "image_root": "data", "cls_label_path": "data/train_list.txt",
                    "transform_ops": ops,
                },
                "sampler": {
                    "name": "DistributedBatchSampler", "batch_size": BATCH, "drop_last": True,
                    "shuffle": True,
                },
                "loader": {"num_workers": 0},
            }
        },
        "Launch": {"name": name, "track": track},
    }  # fmt: skip
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def tracker_seconds(found: dict[int, float], folder: Path) -> None:
    """Note the processor's seconds of each tracker's process of jobs below a folder."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command, environ = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
            if b"trainer.trackers" in command and str(folder).encode() in environ:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                found[int(entry.name)] = (int(fields[11]) + int(fields[12])) / _TICKS
        except (OSError, ValueError, IndexError):
            continue


def run(folder: Path, config: Path, output: Path) -> tuple[list[float], str, float, float]:
    """Run a job; returns its steps' seconds, its weights' hash, the trackers' seconds, and its own."""
    environ = {**os.environ, "FTLAUNCH_STATE": str(folder / "state")}
    command = [sys.executable, "-m", "launcher", "submit", str(config), "--on", "local", "--wait"]
    began_s, seconds = time.monotonic(), dict[int, float]()
    with subprocess.Popen(command, cwd=folder, env=environ, stdout=-3, stderr=-3) as job:
        while job.poll() is None:
            tracker_seconds(seconds, folder)
            time.sleep(0.2)
    assert job.returncode == 0, command
    took_s = time.monotonic() - began_s
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    steps = [row["step_s"] for row in rows if row["event"] == "step" and row["epoch"] > 1]
    digest = hashlib.sha256((output / "latest.pdparams").read_bytes()).hexdigest()
    return steps, digest, sum(seconds.values()), took_s


def measure_share(folder: Path, targets: list[dict[str, object]], *, seconds: float) -> float:
    """Return the share of one processor that targets take which do not answer, once they have started."""
    (folder / "share").mkdir()
    (folder / "share" / "metrics.jsonl").write_text(
        "".join(f'{{"event": "step", "step": {step}, "loss": 1.0}}\n' for step in range(1, 10_001))
    )
    children = []
    for target in targets:
        request = {
            "target": target, "job": "bench", "run_id": "0" * 32, "output_dir": str(folder / "share"),
            "state_dir": str(folder / "share" / "state"),
        }  # fmt: skip
        child = subprocess.Popen(
            [sys.executable, "-m", "trainer.trackers"], stdin=subprocess.PIPE, stdout=-3,
            env={**os.environ, "FTLAUNCH_BENCH": str(folder)},
        )  # fmt: skip
        assert child.stdin is not None
        child.stdin.write(json.dumps(request).encode() + b"\n")
        child.stdin.flush()
        children.append(child)
    time.sleep(seconds)
    before, after = dict[int, float](), dict[int, float]()
    tracker_seconds(before, folder)
    time.sleep(seconds)
    tracker_seconds(after, folder)
    for child in children:
        child.kill()
        child.wait()
    assert len(after) == len(targets)
    return (sum(after.values()) - sum(before.values())) / seconds


def swallow(server: socket.socket) -> None:
    """Take connections and never answer."""
    kept = []
    while True:
        kept.append(server.accept())


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--share-s", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--images", type=int, default=640)
    args = parser.parse_args()
    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=swallow, args=(server,), daemon=True).start()
    mlflow = {"mlflow": {"uri": f"http://127.0.0.1:{server.getsockname()[1]}"}}
    kinds: dict[str, list[object]] = {"none": [], "hang": ["tensorboard", mlflow]}
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    medians: dict[str, list[float]] = {kind: [] for kind in kinds}
    digests, spent = set(), []
    with tempfile.TemporaryDirectory(prefix="ftlaunch-bench-") as name:
        folder = Path(name)
        share = measure_share(
            folder, [{"tracker": "tensorboard"}, {"tracker": "mlflow", "settings": mlflow["mlflow"]}],
            seconds=args.share_s,
        )  # fmt: skip
        print(f"share of one processor once they have started: {100 * share:.2f} %", flush=True)
        if not args.rounds:
            return
        draw(folder / "data", images=args.images)
        for number in range(args.rounds):
            for kind in kinds if number % 2 == 0 else reversed(kinds):
                output = f"{kind}{number}"
                config = make_config(folder, output, epochs=args.epochs, track=kinds[kind])
                steps, digest, seconds, took_s = run(folder, config, folder / output)
                times[kind] += steps
                medians[kind].append(statistics.median(steps))
                digests.add(digest)
                if kind == "hang":
                    spent.append(seconds)
                print(f"{output}: {1000 * medians[kind][-1]:.2f} ms a step, {seconds:.1f} s of trackers' "
                      f"processor, {took_s:.0f} s in all", flush=True)  # fmt: skip
    for kind in kinds:
        found = times[kind]
        tenth = statistics.quantiles(found, n=10)[0]
        print(f"{kind}: {len(found)} steps, median {1000 * statistics.median(found):.2f} ms, fastest tenth "
              f"{1000 * tenth:.2f} ms")  # fmt: skip
    ratios = [hung / plain for hung, plain in zip(medians["hang"], medians["none"], strict=True)]
    print("hang / none, round by round: " + ", ".join(f"{ratio:.3f}" for ratio in ratios))
    print(f"trackers' processor: {statistics.median(spent):.1f} s a job")
    print("weights: " + ("the same bits" if len(digests) == 1 else f"{len(digests)} different"))


if __name__ == "__main__":
    main()
