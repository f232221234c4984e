"""Holds ASHA against all trials to the end, over ten seeds: `python -m benchmarks.sweep_asha`.

| step | what it does |
|---|---|
| `train` | trains every trial of every seed to its end, and keeps the curves; goes on where it was ended |
| `compare` | runs the launcher's own driver over those curves, with `--prune asha` |

A study has 24 trials of 27 epochs: learning rate, momentum, weight decay and label smoothing of a network
with one hidden layer, drawn at random by the launcher; the first trial has ordinary values. Sets are
scikit-learn's digits (1,437 images to train on, 360 to measure on) and Fashion-MNIST, 200 and 100 images a
class. Each seed is another study: other draws, other initial weights, another order of images.

The jobs of `compare` are stand-ins that pass an epoch with each look and measure what was measured in
`train`. That is what a job would do: a trial that is stopped has measured the same until then as one that is
not (tests/e2e/test_sweep.py holds that a stopped and resumed trial ends in the same bits). All above the
jobs is the launcher's: the journal, the draws, the rungs, the driver, the winner.

A seed counts as kept where ASHA's winner is the winner of all trials to the end, or is no worse than it by
more than the seeds' spread: the standard deviation between trainings of one config with other seeds, pooled
over the winners of all studies, each of which is trained twice more.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from launcher.backends.states import JobState
from launcher.sweep.driver import Driver, Picture
from launcher.sweep.machine import Place
from launcher.sweep.results import count_epochs, find_winner
from launcher.sweep.space import parse_space
from launcher.sweep.study import Settings, begin_study
from launcher.sweep.trial_jobs import ABSENT, Seen, TrialJob
from launcher.sweep.trials import Trial, Trials

RATE, MOMENTUM, DECAY = "Optimizer.lr.learning_rate", "Optimizer.momentum", "Optimizer.regularizer.coeff"
SMOOTHING = "Loss.Train.0.CELoss.epsilon"
OVER = (
    f"{RATE}=log(1e-3,1)", f"{MOMENTUM}=uniform(0.5,0.98)", f"{DECAY}=log(1e-5,1e-2)",
    f"{SMOOTHING}=[0.0,0.1]",
)  # fmt: skip
FIRST: Mapping[str, object] = {RATE: 0.05, MOMENTUM: 0.9, DECAY: 1e-4, SMOOTHING: 0.1}
SETS = ("digits", "fashion")
TRIALS, EPOCHS, PARALLEL, SEEDS, BATCH, HIDDEN, CLASSES = 24, 27, 4, 10, 64, 64, 10
REPEATS = 2
"""Further trainings of each study's winner, for the spread between seeds."""
MOST_STEPS, LEAST_KEPT = 0.40, 8
Key = tuple[str, int, int, int]
"""Set, seed of the study, trial, repeat."""


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("step", choices=("train", "compare", "all"), nargs="?", default="all")
    asked.add_argument("--curves", type=Path, default=Path("build/sweep_asha.jsonl"))
    asked.add_argument("--seeds", type=int, default=SEEDS)
    asked.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    options = asked.parse_args()
    if options.step != "compare":
        train_all(options.curves, sets=options.sets, seeds=options.seeds)
    if options.step == "train":
        return 0
    curves = read_curves(options.curves)
    met = [compare(curves, name, seeds=options.seeds) for name in options.sets]
    return 0 if all(met) else 1


# the trainings


def train_all(path: Path, *, sets: Sequence[str], seeds: int) -> None:
    """Train what is not in the file yet, seed by seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for seed in range(seeds):
        for name in sets:
            for number in range(TRIALS):
                _train_once(path, (name, seed, number, 0))
            best = _winner_of(read_curves(path), name, seed)
            for repeat in range(1, REPEATS + 1):
                _train_once(path, (name, seed, best, repeat))


def read_curves(path: Path) -> dict[Key, list[float]]:
    """Return what was measured, an accuracy an epoch, by training; a line that was cut off counts as none."""
    found: dict[Key, list[float]] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        name, seed, number, repeat = row["key"]
        found[name, seed, number, repeat] = row["curve"]
    return found


def values_of(seed: int, number: int) -> Mapping[str, Any]:
    """Return what a trial of a study has: the launcher's own draw, and of the first what is ordinary."""
    return FIRST if number == 0 else parse_space(OVER).draw(seed=seed, number=number)


def _train_once(path: Path, key: Key) -> None:
    if key in read_curves(path):
        return
    name, seed, number, repeat = key
    began_s = time.process_time()
    with np.errstate(all="ignore"):  # too large a rate ends in numbers that are none, as it should
        curve = train(_load(name), values_of(seed, number), seed=1000 * seed + number + 100_000 * repeat)
    row = {"key": key, "curve": curve, "cpu_s": round(time.process_time() - began_s, 2)}
    with path.open("a") as file:
        if path.stat().st_size and not path.read_bytes().endswith(b"\n"):
            file.write("\n")
        file.write(json.dumps(row) + "\n")


Data = tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]
_LOADED: dict[str, Data] = {}


def _load(name: str) -> Data:
    """Return images [N, H * W] about 0 and labels [N], to train on and to measure on."""
    if name not in _LOADED:
        _LOADED[name] = _load_digits() if name == "digits" else _load_fashion()
    return _LOADED[name]


def _load_digits() -> Data:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = ((digits.images - 8) / 8).astype(np.float32).reshape(-1, 64)
    labels = digits.target.astype(np.int64)
    held = np.arange(len(labels)) % 5 == 0  # as the quick start holds them out
    return images[~held], labels[~held], images[held], labels[held]


def _load_fashion() -> Data:
    """Read Fashion-MNIST, its images made 14 pixels wide by the mean of four."""
    import gzip

    from benchmarks.first_model_sets import FASHION

    parts: list[NDArray[Any]] = []
    for prefix, each in (("train", 200), ("t10k", 100)):
        raw = gzip.decompress((FASHION / f"{prefix}-images-idx3-ubyte.gz").read_bytes())
        targets = gzip.decompress((FASHION / f"{prefix}-labels-idx1-ubyte.gz").read_bytes())
        labels = np.frombuffer(targets[8:], np.uint8)
        images = np.frombuffer(raw[16:], np.uint8).reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4))
        chosen = np.concatenate([np.flatnonzero(labels == label)[:each] for label in range(10)])
        parts += [
            ((images[chosen] - 128) / 128).astype(np.float32).reshape(-1, 196),
            labels[chosen].astype(np.int64),
        ]
    return parts[0], parts[1], parts[2], parts[3]


def train(data: Data, values: Mapping[str, Any], *, seed: int) -> list[float]:
    """Train a network with one hidden layer, the rate falling by a cosine; return accuracy by epoch.

    By hand and not by Paddle: steps this small take Paddle 2 ms each and numpy 0.1 ms, of which there are
    400,000.
    """
    images, labels, held_images, held_labels = data
    draws = np.random.RandomState(seed)
    weights = [_draw_layer(draws, images.shape[1], HIDDEN), _draw_layer(draws, HIDDEN, CLASSES)]
    speeds = [np.zeros_like(layer) for layer in weights]
    wanted = np.full((len(labels), CLASSES), values[SMOOTHING] / CLASSES, np.float32)
    wanted[np.arange(len(labels)), labels] += 1 - values[SMOOTHING]
    steps = math.ceil(len(labels) / BATCH)
    curve = []
    for epoch in range(EPOCHS):
        shuffled = draws.permutation(len(labels))
        for step in range(steps):
            batch = shuffled[step * BATCH : (step + 1) * BATCH]
            rate = values[RATE] * (1 + math.cos(math.pi * (epoch * steps + step) / (EPOCHS * steps))) / 2
            slopes = _slopes(weights, images[batch], wanted[batch])
            for index, slope in enumerate(slopes):
                speeds[index] = values[MOMENTUM] * speeds[index] + slope + values[DECAY] * weights[index]
                weights[index] = weights[index] - rate * speeds[index]
        _, scores = _apply(weights, held_images)
        curve.append(float((scores.argmax(axis=1) == held_labels).mean()))
    return curve


Array = NDArray[np.float32]


def _draw_layer(draws: np.random.RandomState, inputs: int, outputs: int) -> Array:
    """Return weights [inputs + 1, outputs], the last row of which is the bias (He et al. 2015)."""
    layer = draws.standard_normal((inputs + 1, outputs)) * math.sqrt(2 / inputs)
    layer[-1] = 0
    return layer.astype(np.float32)


def _apply(weights: Sequence[Array], images: Array) -> tuple[Array, Array]:
    """Return hidden [B, HIDDEN] and scores [B, CLASSES]."""
    hidden = np.maximum(images @ weights[0][:-1] + weights[0][-1], 0)
    return hidden, hidden @ weights[1][:-1] + weights[1][-1]


def _slopes(weights: Sequence[Array], images: Array, wanted: Array) -> tuple[Array, Array]:
    """Return the gradients of the cross-entropy's mean over a batch, shaped as the weights."""
    hidden, scores = _apply(weights, images)
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    error = (shares - wanted) / len(images)
    back = (error @ weights[1][:-1].T) * (hidden > 0)
    return (
        np.vstack([images.T @ back, back.sum(axis=0)]),
        np.vstack([hidden.T @ error, error.sum(axis=0)]),
    )


# the comparison


@dataclass
class Replayed:
    """Jobs that pass an epoch with each look, and measure what was measured before."""

    seed: int
    curves: Mapping[int, Sequence[float]]
    epochs: dict[int, int] = field(default_factory=dict)
    stopped: set[int] = field(default_factory=set)

    def start(self, trial: Trial, job: TrialJob, *, place: Place) -> None:
        del place
        if trial.params != dict(values_of(self.seed, trial.number)):
            raise AssertionError(f"{job.name}: drawn otherwise than trained: {trial.params}")
        self.epochs.setdefault(job.number, 0)

    def look(self, jobs: Sequence[TrialJob]) -> dict[str, Seen]:
        return {job.name: self._see(job.number) for job in jobs}

    def _see(self, number: int) -> Seen:
        if number not in self.epochs:
            return Seen(state=ABSENT)
        if number not in self.stopped:
            self.epochs[number] = min(EPOCHS, self.epochs[number] + 1)
        passed = self.epochs[number]
        state = JobState.SUCCEEDED if passed == EPOCHS else JobState.RUNNING
        if number in self.stopped:
            state = JobState.CANCELLED
        curve = {epoch + 1: self.curves[number][epoch] for epoch in range(passed)}
        return Seen(state=state.value, curve=curve, measured=("top1",))

    def stop(self, job: TrialJob) -> None:
        self.stopped.add(job.number)

    def resume(self, job: TrialJob) -> None:
        self.stopped.discard(job.number)


def play(curves: Mapping[int, Sequence[float]], *, seed: int) -> Picture:
    """Run a study over curves that are known, by the launcher's driver, with ASHA."""
    with tempfile.TemporaryDirectory(prefix="sweep-asha-") as state:
        os.environ["FTLAUNCH_STATE"] = state
        settings = Settings(
            name="asha", study_id=f"{seed:032x}", config="/cfg.yaml", workdir=state, created_s=time.time(),
            over=OVER, on="local", options={}, sampler="random", prune="asha", metric="top1", goal="max",
            trials=TRIALS, parallel=PARALLEL, epochs=EPOCHS, seed=seed, first=FIRST,
        )  # fmt: skip
        study = begin_study(settings, b"Global: {output_dir: /output}\n")
        port = Replayed(seed=seed, curves=curves)
        places = [Place(slot=slot) for slot in range(PARALLEL)]
        return Driver(study, Trials(study), port, places=places).run(pause=lambda: None)


def _winner_of(curves: Mapping[Key, Sequence[float]], name: str, seed: int) -> int:
    """Return the first of the best trials, each by its best epoch, as the launcher ranks them."""
    return max(range(TRIALS), key=lambda number: (max(curves[name, seed, number, 0]), -number))


def spread_of(curves: Mapping[Key, Sequence[float]], name: str) -> float:
    """Return the standard deviation between trainings of one config, pooled over the winners of studies."""
    groups: dict[tuple[int, int], list[float]] = {}
    for (of, seed, number, _), curve in curves.items():
        if of == name:
            groups.setdefault((seed, number), []).append(max(curve))
    # the training that won was chosen for being good: the further ones alone are drawn without a choice
    repeated = [values[1:] for values in groups.values() if len(values) > REPEATS]
    return math.sqrt(statistics.fmean(statistics.variance(values) for values in repeated))


def compare(curves: Mapping[Key, Sequence[float]], name: str, *, seeds: int) -> bool:
    """Print a line a seed and one for all; return whether both bars are met."""
    seeds = min(
        seeds,
        sum((name, seed, _winner_of_or(curves, name, seed), REPEATS) in curves for seed in range(seeds)),
    )
    if not seeds:
        print(f"{name}: NOT RUN: expected curves of `train`, got none")
        return False
    spread = spread_of(curves, name)
    print(f"{name}: {TRIALS} trials of {EPOCHS} epochs, {seeds} studies; spread between seeds {spread:.4f}")
    shares, same, kept = [], 0, 0
    for seed in range(seeds):
        mine = {number: curves[name, seed, number, 0] for number in range(TRIALS)}
        best = _winner_of(curves, name, seed)
        asha = play(mine, seed=seed)
        chosen = find_winner(asha.trials, goal="max")
        assert chosen is not None
        highest, reached = max(mine[best]), chosen.value or 0.0
        shares.append(count_epochs(asha.trials) / (TRIALS * EPOCHS))
        lost = highest - reached
        same += best == chosen.number
        kept += lost <= spread
        print(
            f"  seed {seed}: {shares[-1]:.1%} of the epochs; trial {chosen.number + 1} with {reached:.4f}, "
            f"of all {best + 1} with {highest:.4f}{'' if lost <= spread else '  LOST'}"
        )
    steps = statistics.fmean(shares)
    print(
        f"  {steps:.1%} of the epochs (at most {max(shares):.1%}); the same winner in {same}, the same or "
        f"within the spread in {kept} of {seeds}"
    )
    return max(shares) <= MOST_STEPS and kept >= math.ceil(LEAST_KEPT / SEEDS * seeds)


def _winner_of_or(curves: Mapping[Key, Sequence[float]], name: str, seed: int) -> int:
    """Return a study's winner, or -1 where it was not trained yet."""
    there = all((name, seed, number, 0) in curves for number in range(TRIALS))
    return _winner_of(curves, name, seed) if there else -1


if __name__ == "__main__":
    sys.exit(main())
