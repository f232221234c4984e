from __future__ import annotations

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from trainer.checkpoints.pdfiles import read_arrays


class LogWriter:
    """Keeps what VisualDL would write; takes what `visualdl.LogWriter.add_scalar` takes."""

    made: list[LogWriter]

    def __init__(self, *, logdir):
        self.logdir, self.scalars, self.closed = logdir, [], False
        LogWriter.made.append(self)

    def add_scalar(self, *, tag: str, value: float, step: int) -> None:
        assert not self.closed
        self.scalars.append((tag, step, value))

    def close(self):
        self.closed = True


@pytest.fixture
def visualdl(monkeypatch):
    module = ModuleType("visualdl")
    module.LogWriter = LogWriter  # type: ignore[attr-defined]
    module.__spec__ = SimpleNamespace(name="visualdl")  # type: ignore[assignment]
    LogWriter.made = []
    monkeypatch.setitem(sys.modules, "visualdl", module)
    return LogWriter.made


def test_scalars_are_the_rows_of_the_journal(workshop, visualdl):
    workshop.train(Global__use_visualdl=True)
    (writer,) = visualdl
    assert (writer.logdir, writer.closed) == (str(workshop.folder / "output"), True)
    rows = [json.loads(line) for line in (workshop.folder / "output/metrics.jsonl").read_text().splitlines()]
    steps = [row for row in rows if row["event"] == "step"]
    evaluations = [row for row in rows if row["event"] == "eval"]
    for tag, expected in (
        ("train_loss", [(row["step"], row["loss"]) for row in steps]),
        ("train_top1", [(row["step"], row["top1"]) for row in steps]),
        ("lr", [(row["step"], row["lr"]) for row in steps]),
        ("eval_top1", [(row["epoch"], row["top1"]) for row in evaluations]),
    ):
        assert [(step, value) for name, step, value in writer.scalars if name == tag] == expected
    assert not [name for name, _, _ in writer.scalars if name.endswith(("iter", "epoch", "step"))]


def test_without_the_package_it_is_said_and_training_goes_on(workshop):
    workshop.train(Global__use_visualdl=True, Global__epochs=1)
    log = (workshop.folder / "output/train.log").read_text()
    assert log.count("visualdl is not installed; the numbers are in metrics.jsonl") == 1


@pytest.mark.filterwarnings("ignore:.*do not have 'place' interface:UserWarning")  # paddle, of itself
def test_a_compiled_model_trains_to_the_same_weights(workshop):
    for name, compiled in (("plain", False), ("compiled", True)):
        workshop.train(
            Global__output_dir=str(workshop.folder / name), Global__to_static=compiled, Global__epochs=1,
            Arch__dropout_prob=0.0,
        )  # fmt: skip
    plain, other = (read_arrays(workshop.folder / name / "latest.pdparams") for name in ("plain", "compiled"))
    assert list(plain) == list(other)
    for key, value in plain.items():
        np.testing.assert_allclose(other[key], value, rtol=1e-5, atol=1e-7, err_msg=key)
