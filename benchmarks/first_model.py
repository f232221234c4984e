"""Is what `ftlaunch init` writes, unedited and from scratch, as good as the best of many random trials?

    python benchmarks/first_model.py build/first-model [--trials 30] [--sets digits,shapes] [--preset good]

On six small data sets (`first_model_sets.py`) the config of `init` is trained as it is. Then configs are
drawn at random, as somebody might who tries things out: network, rate, optimizer, batch, crop, mirroring,
label smoothing, strides. All of a set see the same images as often; what counts of each is its best top-1
on images that are held out. Wanted: init's is at least 95 % of the best trial's. Before, the traps of the
drawn sets must be named by `trainer data-report` or `trainer check`.

What was trained is kept in FOLDER/results.jsonl: run again, it goes on. Trial k of each set comes before
trial k + 1 of any, so that a run that is stopped has as many of each. Trial k is drawn from the seed, set
and k alone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from first_model_sets import FASHION, SETS, make_set

WANTED = 0.95
TRAPS = {"shapes": "unbalanced", "textures": "unreadable", "colours": "label-doubts", "marks": "turned"}
"""Kind of finding, in a data report, that names each set's trap."""
Values = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--sets", default=",".join(SETS), help="names with commas between")
    parser.add_argument("--preset", default="good")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fashion", type=Path, default=FASHION, help="the four files of Fashion-MNIST")
    parser.add_argument("--report-only", action="store_true", help="train nothing, print what there is")
    options = parser.parse_args()
    folder, names = options.folder.resolve(), options.sets.split(",")
    if "fashion" in names and not options.fashion.is_dir() and not options.report_only:
        print(f"fashion: NOT RUN: expected dataset-fashion-mnist in {options.fashion}")
        names.remove("fashion")
    if not options.report_only:
        for name in names:
            prepare(folder / name, name, options.preset, options.fashion)
        for trial in range(-1, options.trials):
            for name in names:
                run_trial(folder, name, options.preset, options.seed, trial)
    return report(folder, names)


def prepare(place: Path, name: str, preset: str, fashion: Path) -> None:
    """Make a set, its config and its data report, unless they are there."""
    make_set(name, place / "images", fashion=fashion)
    config = place / f"{preset}.yaml"
    if not config.exists():
        # As somebody's own lists, with what cannot be read: `init` leaves that out of lists that it makes.
        call(place, "lists", "trainer", "make-lists", "images", "--no-read", "--overwrite")
        told = ("--data", "images", "--preset", preset, "--no-measure", "--force")
        call(place, "init", "launcher", "init", config.name, *told)
    if not (place / "data-report").exists():
        lists = ["images/train_list.txt", "images/val_list.txt"]
        call(place, "data-report", "trainer", "data-report", *lists, "--label-doubts", may_fail=True)
        call(place, "check", "trainer", "check", "-c", config.name, "--images", "all", may_fail=True)


def run_trial(folder: Path, name: str, preset: str, seed: int, trial: int) -> None:
    """Train init's config (trial −1), or one that is drawn, unless that was done."""
    label = preset if trial < 0 else f"{seed}/{trial}"
    if any(row["set"] == name and row["trial"] == label for row in read_results(folder)):
        return
    place = folder / name
    values = yaml.safe_load((place / f"{preset}.yaml").read_text())
    drawn: Values = {}
    if trial >= 0:
        drawn = draw(values, random.Random(f"{seed}/{name}/{trial}"))
    output = place / "output" / label.replace("/", "-")
    shutil.rmtree(output, ignore_errors=True)
    values["Global"] |= {"output_dir": str(output), "save_interval": 0}
    config = place / "trial.yaml"
    config.write_text(yaml.safe_dump(values))
    began_s = time.monotonic()
    code = call(place, "train", "trainer", "train", "-c", config.name, may_fail=True)
    rows = [
        json.loads(line) for file in output.rglob("metrics.jsonl") for line in file.read_text().splitlines()
    ]
    top1 = [row["top1"] for row in rows if row["event"] == "eval"]
    found = {
        "set": name, "trial": label, "top1": max(top1, default=None), "code": code, "drawn": drawn,
        "seconds": round(time.monotonic() - began_s),
    }  # fmt: skip
    with (folder / "results.jsonl").open("a") as file:
        file.write(json.dumps(found) + "\n")
    shutil.rmtree(output, ignore_errors=True)
    print(json.dumps(found), flush=True)


def draw(values: Values, chance: random.Random) -> Values:
    """Change a config at random, and return what was drawn."""
    drawn: Values = {
        "arch": chance.choice(["PPLCNet_x0_25", "PPLCNet_x0_5", "MobileNetV3_small_x0_35"]),
        "strides": chance.choice(["init", "all 2"]),
        "optimizer": chance.choice(["AdamW", "Momentum"]),
        "batch": chance.choice([16, 32, 64]),
        "smallest_area": round(chance.uniform(0.3, 1.0), 2),
        "flip": chance.choice([True, False]),
        "smoothing": chance.choice([0.0, 0.1]),
    }
    low, high = (-4.0, -1.5) if drawn["optimizer"] == "AdamW" else (-3.0, -0.3)
    drawn["rate"] = float(f"{10 ** chance.uniform(low, high):.2g}")
    decay = chance.choice([1e-4, 1e-3, 0.05] if drawn["optimizer"] == "AdamW" else [0.0, 1e-4, 1e-3])
    drawn["decay"] = decay
    arch = values["Arch"]
    arch["name"] = drawn["arch"]
    if drawn["strides"] == "all 2" or not drawn["arch"].startswith("PPLCNet"):
        arch.pop("stride_list", None)
    lr = {
        "name": "Cosine",
        "learning_rate": drawn["rate"],
        "warmup_epoch": values["Optimizer"]["lr"]["warmup_epoch"],
    }
    if drawn["optimizer"] == "AdamW":
        values["Optimizer"] = {"name": "AdamW", "weight_decay": decay, "lr": lr}
    else:
        values["Optimizer"] = {"name": "Momentum", "momentum": 0.9, "lr": lr}
        if decay:
            values["Optimizer"]["regularizer"] = {"name": "L2", "coeff": decay}
    values["Loss"]["Train"] = [{"CELoss": {"epsilon": drawn["smoothing"]} if drawn["smoothing"] else {}}]
    train = values["DataLoader"]["Train"]
    train["sampler"]["batch_size"] = drawn["batch"]
    ops = [op for op in train["dataset"]["transform_ops"] if "RandFlipImage" not in op]
    crop = next(op["RandCropImage"] for op in ops if "RandCropImage" in op)
    crop["scale"] = [drawn["smallest_area"], 1.0]
    if drawn["flip"]:
        ops.insert(2, {"RandFlipImage": {"flip_code": 1}})
    train["dataset"]["transform_ops"] = ops
    return drawn


def call(place: Path, log: str, module: str, *args: str, may_fail: bool = False) -> int:
    """Run a command of ours in a folder, without network or weights; its words go to FOLDER/LOG.log."""
    env = {**os.environ, "FTL_OFFLINE": "1", "FTL_WEIGHTS": str(place / "no-weights"), "HOME": str(place)}
    with (place / f"{log}.log").open("w") as words:
        code = subprocess.run(
            [sys.executable, "-P", "-m", module, *args], cwd=place, env=env, stdout=words, stderr=words,
            check=False,
        ).returncode  # fmt: skip
    if code and not may_fail:
        sys.exit(f"{place}: {module} {' '.join(args)} ended with {code}; see {log}.log")
    return code


def read_results(folder: Path) -> list[Values]:
    file = folder / "results.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def find_trap(place: Path, name: str) -> str:
    """Say how a trap is named; empty where it is not."""
    kind = TRAPS.get(name)
    report = place / "data-report" / "report.json"
    if kind is None or not report.exists():
        return "-" if kind is None else ""
    titles = [item["title"] for item in json.loads(report.read_text())["findings"] if item["kind"] == kind]
    return titles[0] if titles else ""


def report(folder: Path, names: list[str]) -> int:
    """Print the table; return 1 where something is missing or below what is wanted."""
    results, failed = read_results(folder), 0
    print("| set | init | best trial | trials | init of best | s, init | trap, as data-report names it |")
    print("|---|---|---|---|---|---|---|")
    for name in names:
        rows = [row for row in results if row["set"] == name]
        ours = next((row for row in rows if "/" not in row["trial"] and row["top1"] is not None), None)
        trials = [row["top1"] or 0.0 for row in rows if "/" in row["trial"]]
        trap = find_trap(folder / name, name)
        share = ours["top1"] / max(trials) if ours and trials and max(trials) else None
        failed += not trap or share is None or share < WANTED
        print(_row(name, ours, trials, share, trap))
    return int(bool(failed))


def _row(
    name: str, ours: Mapping[str, Any] | None, trials: list[float], share: float | None, trap: str
) -> str:
    cells = [
        name,
        f"{ours['top1']:.3f}" if ours else "-",
        f"{max(trials):.3f}" if trials else "-",
        str(len(trials)),
        f"{share:.1%}" if share is not None else "-",
        str(ours["seconds"]) if ours else "-",
        trap or "NOT NAMED",
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
