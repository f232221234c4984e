"""A batch that makes no numbers ends the run, is left out, or sends the run back: the same on all ranks.

One image has a class of its own, and losses that a config names make no number, or no gradient, of it.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
import yaml

from tests.trainer.engine import no_numbers
from tests.trainer.engine.ranks import run_ranks
from trainer.checkpoints.pdfiles import read_arrays, read_pdfile
from trainer.config import extras
from trainer.engine import on_nan
from trainer.engine.on_nan import UpdateGuard
from trainer.engine.step import Stepper
from trainer.engine.train import Training
from trainer.errors import DivergedError, StoppedError
from trainer.extra import register_loss

STEPS = 4  # of an epoch, of which the second has the odd image
LOSSES = ["NoNumber", "NoGradient"]


@pytest.fixture
def odd(workshop):
    path = workshop.folder / "train.txt"
    lines = path.read_text().splitlines()
    lines[6] = f"train6.png {no_numbers.ODD}"
    path.write_text("\n".join(lines) + "\n")
    register_loss("NoNumber")(no_numbers.no_number)
    register_loss("NoGradient")(no_numbers.no_gradient)
    yield workshop
    extras.forget()


def changes(workshop: Any, mode: str, *, loss: str = "NoNumber", output: str = "output", **more: Any) -> dict:
    return {
        "Global__output_dir": str(workshop.folder / output), "Global__on_nan": mode,
        "Global__print_batch_step": 3, "Global__eval_during_train": False,
        "Arch__class_num": no_numbers.ODD + 1, "Loss__Train": [{loss: {}}], "Loss__Eval": [{"CELoss": {}}],
        "EMA": {"decay": 0.6},
        "DataLoader__Train__sampler": {"batch_size": 4, "shuffle": False},
        "Optimizer": {
            "name": "AdamW", "weight_decay": 0.1, "lr": {"name": "Cosine", "learning_rate": 0.01},
        },
        **more,
    }  # fmt: skip


def rows(workshop: Any, *events: str, output: str = "output") -> list[dict[str, Any]]:
    lines = (workshop.folder / output / "metrics.jsonl").read_text().splitlines()
    return [row for line in lines if (row := json.loads(line))["event"] in events]


def assert_same_run(workshop: Any, one: str, other: str) -> None:
    """Hold weights, average and optimizer state against each other, bit for bit."""
    for name in ("latest.pdparams", "latest.pdema"):
        found, expected = (read_arrays(workshop.folder / of / name) for of in (one, other))
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert np.isfinite(value).all(), key
            np.testing.assert_array_equal(found[key], value, err_msg=key)
    states = [read_pdfile(workshop.folder / of / "latest.pdopt")[0] for of in (one, other)]
    tensors = [{key: v for key, v in state.items() if isinstance(v, np.ndarray)} for state in states]
    assert tensors[0].keys() == tensors[1].keys()
    for key, value in tensors[1].items():
        np.testing.assert_array_equal(tensors[0][key], value, err_msg=key)


def train_without_the_odd_batches(workshop: Any, **given: Any) -> None:
    """What the others are held against: the odd batches are left out before anything is computed of them."""
    real = Stepper.step

    def step(stepper: Stepper, fed: Any, *, step: int) -> Any:
        if (fed.batch.labels == no_numbers.ODD).any():
            return stepper.leave_out(step=step)
        return real(stepper, fed, step=step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stepper, "step", step)
        workshop.train(**changes(workshop, "stop", output="without", **given))


def test_a_run_that_stops_names_step_rate_and_images_and_saves_nothing(odd, capsys):
    said = r"step 2: expected a finite loss, got (inf|nan) \(learning rate 0\.0\d+, images \S+train4\.png, "
    with pytest.raises(DivergedError, match=said + r"\S+train5\.png, \S+train6\.png and 1 more\); lower Opt"):
        odd.train(**changes(odd, "stop"))
    found = rows(odd, "step")
    assert [row["step"] for row in found] == [1, 2]  # the third was done before anybody looked
    assert found[1]["loss"] is None
    assert not (odd.folder / "output/latest.pdparams").exists()


def test_weights_that_are_no_numbers_are_not_saved_though_all_losses_are(odd):
    with pytest.raises(DivergedError, match=r"step 2: expected finite weights, got nan or inf in \d+ of \d+"):
        odd.train(**changes(odd, "stop", loss="NoGradient", Global__iter_per_epoch=2))
    assert [row["loss"] is None for row in rows(odd, "step")] == [False, False]
    assert not (odd.folder / "output/latest.pdparams").exists()


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_that_is_skipped_leaves_the_bits_of_a_run_without_it(odd, loss):
    train_without_the_odd_batches(odd, loss=loss)
    odd.train(**changes(odd, "skip", loss=loss))
    assert_same_run(odd, "output", "without")
    steps = [(row["epoch"], row["step"]) for row in rows(odd, "step")]
    assert steps == [(1 + step // STEPS, step + 1) for step in range(2 * STEPS)]
    skipped = rows(odd, "skip")
    assert [(row["epoch"], row["step"]) for row in skipped] == [(1, 2), (2, STEPS + 2)]
    for row in skipped:
        assert [Path(image).name for image in row["images"]] == [f"train{index}.png" for index in range(4, 8)]
        assert (row["loss"] is None) == (loss == "NoNumber")
    assert all(np.isfinite(row["loss"]) for row in rows(odd, "epoch"))


def test_the_first_batch_of_all_can_be_skipped(odd):
    order = {"DataLoader__Train__sampler": {"batch_size": 8, "shuffle": False}}
    train_without_the_odd_batches(odd, **order)
    odd.train(**changes(odd, "skip", **order))
    assert [row["step"] for row in rows(odd, "skip")] == [1, 3]
    assert_same_run(odd, "output", "without")


def test_an_update_of_several_batches_is_skipped_whole(odd):
    odd.train(**changes(odd, "skip", Global__update_freq=2, Global__epochs=1))
    (row,) = rows(odd, "skip")
    assert (row["step"], len(row["images"])) == (
        1,
        4,
    )  # those of the one batch of the two that made no number
    assert [row["step"] for row in rows(odd, "step")] == [0, 1, 1, 2]
    assert all(
        np.isfinite(value).all() for value in read_arrays(odd.folder / "output/latest.pdparams").values()
    )


def test_too_many_skips_in_a_row_end_the_run(odd, monkeypatch):
    monkeypatch.setattr(on_nan, "SKIPS_IN_A_ROW", 2)
    (odd.folder / "train.txt").write_text(f"train0.png {no_numbers.ODD}\n" * 15)
    with pytest.raises(DivergedError, match=r"step 2: .*, the last of 2 steps in a row that were left out; "):
        odd.train(**changes(odd, "skip"))


@pytest.mark.parametrize(("loss", "every"), [("NoNumber", 1), ("NoGradient", None)])
def test_a_run_that_goes_back_has_the_bits_of_one_without_the_batch(odd, loss, every):
    train_without_the_odd_batches(odd, loss=loss)
    odd.train(**changes(odd, "rewind", loss=loss, Global__save_every_steps=every))
    assert_same_run(odd, "output", "without")
    back = [(row["step"], row["to_step"]) for row in rows(odd, "rewind")]
    assert back == ([(2, 0), (6, 4)] if every is None else [(2, 1), (6, 5)])
    assert [(row["epoch"], row["iter"], row["step"]) for row in rows(odd, "left_out")] == [
        (1, 1, 2),
        (2, 1, 6),
    ]
    last = {(row["step"]): row["loss"] for row in rows(odd, "step")}
    expected = {row["step"]: row["loss"] for row in rows(odd, "step", output="without")}
    assert {step: last[step] for step in expected} == expected
    left_out = json.loads(
        next(iter(odd.folder.glob("output/.ftlaunch/checkpoints/e002*/state.json"))).read_text()
    )
    assert left_out["left_out"] == [{"epoch": epoch, "start": 4, "end": 8} for epoch in (0, 1)]


def test_nothing_of_an_update_that_was_begun_on_bad_weights_is_left_when_the_run_has_gone_back(odd):
    given = {
        "Global__update_freq": 2, "Global__print_batch_step": 4, "Global__epochs": 1,
        "DataLoader__Train__sampler": {"batch_size": 2, "shuffle": False},
    }  # fmt: skip
    odd.train(**changes(odd, "rewind", **given))
    # The odd batch is the second one of update 2; the first one of update 3 was done before anybody looked.
    assert [(row["step"], row["to_step"]) for row in rows(odd, "rewind")] == [(2, 0)]
    assert [row["iter"] for row in rows(odd, "left_out")] == [3]
    train_without_the_odd_batches(odd, **given)
    assert_same_run(odd, "output", "without")


def test_a_resumed_run_leaves_out_what_the_one_before_went_back_for(odd, monkeypatch):
    real = Training._rewind

    def rewind(training: Training, bad: Any) -> None:
        real(training, bad)
        os.kill(os.getpid(), signal.SIGTERM)

    given = changes(odd, "rewind", Global__epochs=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "_rewind", rewind)
        with pytest.raises(StoppedError, match="stopped after step 1"):
            odd.train(**given)
    odd.train(**given, resume="latest")
    assert len(rows(odd, "rewind")) == 1
    assert [row["step"] for row in rows(odd, "left_out")] == [2]
    train_without_the_odd_batches(odd, Global__epochs=1)
    assert_same_run(odd, "output", "without")


def test_a_run_that_goes_back_too_often_ends(odd):
    (odd.folder / "train.txt").write_text(f"train0.png {no_numbers.ODD}\n" * 40)
    with pytest.raises(DivergedError, match=r"step 6: .*, after the run had gone back 5 times; lower "):
        odd.train(**changes(odd, "rewind", Global__save_every_steps=1))
    assert len(rows(odd, "rewind")) == on_nan.REWINDS


def test_two_ranks_leave_out_the_same_batch(odd):
    module = str(Path(no_numbers.__file__))
    for mode in ("skip", "rewind"):
        given = changes(
            odd, mode, output=mode, Global__epochs=1, Launch__extra_modules=[module],
            DataLoader__Train__sampler={"batch_size": 2, "shuffle": False},
        )  # fmt: skip
        (odd.folder / f"{mode}.yaml").write_text(yaml.safe_dump(odd._document(given)))
        run_ranks(2, "-m", "trainer", "train", "-c", str(odd.folder / f"{mode}.yaml"))
    assert_same_run(odd, "rewind", "skip")
    (skipped,), (back,) = rows(odd, "skip", output="skip"), rows(odd, "rewind", output="rewind")
    assert skipped["step"] == back["step"] == 2
    assert sorted(Path(image).name for image in back["images"]) == [
        f"train{index}.png" for index in range(4, 8)
    ]
    assert back["images"] == skipped["images"]


def test_a_guard_takes_back_what_a_gradient_that_is_none_did():
    layer = paddle.nn.Linear(2, 1)
    optimizer = paddle.optimizer.Adam(0.1, parameters=layer.parameters())
    guard = UpdateGuard(layer, [optimizer], ema=None, takes_back=True)
    kept: list[Any] = []
    for factor in (1.0, float("inf"), 2.0, float("nan"), 3.0):
        guard.begin()
        (layer(paddle.ones([1, 2])).sum() * factor).backward()
        whole = guard.update(optimizer.step)
        assert bool(whole) == np.isfinite(factor)
        optimizer.clear_grad()
        state = [tensor.numpy() for tensor in (*layer.parameters(), *optimizer.state_dict().values())]
        if not np.isfinite(factor):
            for now, before in zip(state, kept, strict=True):
                np.testing.assert_array_equal(now, before)
        else:
            assert not kept or any((now != before).any() for now, before in zip(state, kept, strict=True))
        kept = state
