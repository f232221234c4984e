"""When ranks fetch, how far a host runs ahead of its device, and how ranks without a node process stop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.trainer.engine.ranks import run_ranks
from trainer.checkpoints.pdfiles import read_arrays
from trainer.engine.step import RUN_AHEAD, _Agreement, _RunAhead
from trainer.protocol.exits import Exit

STOPS = """
import os, signal
from pathlib import Path
from paddle.nn import functional
from trainer.extra import register_loss

@register_loss("Stops")
def stops(file):
    calls = []
    def compute(logits, labels):
        calls.append(1)
        if len(calls) == 2 and os.environ["PADDLE_TRAINER_ID"] == "1" and Path(file).is_file():
            os.kill(os.getpid(), signal.SIGTERM)
        return functional.cross_entropy(logits, labels)
    return compute
"""


def test_ranks_agree_about_once_a_second_whatever_a_step_takes():
    times = iter([0.0, 0.25, 0.45, 10.0])
    agreement = _Agreement(lambda: next(times))
    assert agreement.steps == 1  # nothing is known of the first step
    assert agreement.measure() == pytest.approx(0.25)
    agreement.settle(1, seconds=0.3)  # the mean over all ranks
    assert agreement.steps == 3
    agreement.settle(10, seconds=agreement.measure())
    assert agreement.steps == 50
    agreement.settle(0, seconds=1.0)  # a fetch of nothing says nothing
    assert agreement.steps == 50
    agreement.settle(2, seconds=agreement.measure())
    assert agreement.steps == 1


def test_the_host_waits_for_a_step_that_is_over_once_it_has_told_the_next():
    told: list[tuple[str, int]] = []

    class Event:
        count = 0

        def __init__(self) -> None:
            self.number = Event.count
            Event.count += 1

        def record(self) -> None:
            told.append(("record", self.number))

        def synchronize(self) -> None:
            told.append(("wait", self.number))

    ahead = _RunAhead(Event)
    for _ in range(4):
        ahead.hold()
    assert RUN_AHEAD == 1
    assert told == [
        ("record", 0), ("record", 1), ("wait", 0), ("record", 2), ("wait", 1), ("record", 3), ("wait", 2),
    ]  # fmt: skip


def test_ranks_without_a_node_process_stop_after_the_same_step_when_one_is_told(workshop, tmp_path):
    module, file = tmp_path / "stops.py", tmp_path / "armed"
    module.write_text(STOPS)
    file.touch()

    def train(output: str, *more: str, code: int = 0) -> Path:
        given: dict[str, Any] = {
            "Global__output_dir": str(workshop.folder / output), "Global__print_batch_step": 100,
            "Global__eval_during_train": False, "Loss__Train": [{"Stops": {"file": str(file)}}],
            "DataLoader__Train__sampler": {"batch_size": 2}, "Launch__extra_modules": [str(module)],
        }  # fmt: skip
        path = workshop.folder / f"{output}.yaml"
        path.write_text(yaml.safe_dump(workshop._document(given)))
        run_ranks(2, "-m", "trainer", "train", "-c", str(path), *more, code=code)
        return workshop.folder / output

    stopped = train("stopped", code=Exit.STOPPED)
    steps = [json.loads(line)["step"] for line in (stopped / "metrics.jsonl").read_text().splitlines()]
    assert max(steps) < 8  # before the end
    file.unlink()
    train("stopped", "--resume", "latest")
    whole = train("whole")
    one, other = (read_arrays(folder / "latest.pdparams") for folder in (stopped, whole))
    for key, value in other.items():
        np.testing.assert_array_equal(one[key], value, err_msg=key)
