"""Which samples an epoch trains on where a run goes from two ranks to one and back, in the middle of epochs.

    python -m benchmarks.soak_samples CONFIG STOP_AFTER FOLDER

is a rank that trains as `trainer train` does, stops by SIGTERM after so many steps, and writes the samples
of each step to a file. `find_wrong_epochs` starts such ranks, 2, then 1, then 2, and holds each epoch against
the list: every sample once, padding left out.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.conftest import config
from tests.trainer.engine.ranks import run_ranks
from trainer.config.load import load_config
from trainer.engine.run import run_training
from trainer.engine.step import Stepper
from trainer.engine.train import Training
from trainer.errors import StoppedError
from trainer.ranks import read_ranks

EPOCHS = 4


def train(config_file: Path, stop_after: int, folder: Path) -> None:
    """Be a rank; 0 never stops before the end."""
    ranks = read_ranks()
    written = (folder / f"{os.getpid()}.jsonl").open("w")
    real_step, real_advance = Stepper.step, Training._advance
    state: dict[str, int] = {}

    def step(stepper: Stepper, fed: Any, *, step: int) -> Any:
        samples = [
            int(index) for index, valid in zip(fed.batch.indices, fed.batch.valid, strict=True) if valid
        ]
        written.write(json.dumps({"epoch": state.get("epoch", 0), "samples": samples}) + "\n")
        written.flush()
        return real_step(stepper, fed, step=step)

    def advance(training: Training, epoch: int, *of: Any, **counted: Any) -> None:
        real_advance(training, epoch, *of, **counted)
        if stop_after and training.state.step == stop_after:
            os.kill(os.getpid(), signal.SIGTERM)

    real_epoch = Training._epoch

    def begin(training: Training, epoch: int) -> None:
        state["epoch"] = epoch
        real_epoch(training, epoch)

    Stepper.step, Training._advance, Training._epoch = step, advance, begin  # type: ignore[method-assign, assignment]
    with contextlib.suppress(StoppedError), written:
        run_training(load_config(config_file).config, ranks, resume="latest")


def find_wrong_epochs(folder: Path, images: Path, *, stops: tuple[int, int]) -> list[str]:
    """Train with 2, 1 and 2 ranks, stopped after two steps; name epochs whose samples are not the list's.

    Args:
        folder: For the run.
        images: With `train_list.txt`.
        stops: Steps after which the ranks are told to stop.
    """
    folder.mkdir(parents=True)
    document = config(
        Global__epochs=EPOCHS, Global__output_dir=str(folder / "output"), Global__save_every_steps=3,
        DataLoader__Train__sampler__batch_size=5,
    )  # fmt: skip
    for split in document["DataLoader"].values():
        listed = split["dataset"]["cls_label_path"].removeprefix("data/")
        split["dataset"] |= {"image_root": str(images), "cls_label_path": str(images / listed)}
    path = folder / "cfg.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    for ranks, stop in ((2, stops[0]), (1, stops[1]), (2, 0)):
        run_ranks(ranks, "-m", "benchmarks.soak_samples", str(path), str(stop), str(folder))
    found: dict[int, Counter[int]] = {}
    for file in folder.glob("*.jsonl"):
        for line in file.read_text().splitlines():
            row = json.loads(line)
            found.setdefault(row["epoch"], Counter()).update(row["samples"])
    count = len((images / "train_list.txt").read_text().splitlines())
    expected = Counter(range(count))
    return [
        f"epoch {epoch + 1}: missing {sorted(expected - found.get(epoch, Counter()))[:9]}, "
        f"more than once {sorted(found.get(epoch, Counter()) - expected)[:9]}"
        for epoch in range(EPOCHS)
        if found.get(epoch) != expected
    ]


if __name__ == "__main__":
    train(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
