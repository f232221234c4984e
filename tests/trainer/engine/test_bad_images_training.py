from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import yaml

from tests.trainer.engine.ranks import run_ranks
from trainer.checkpoints.pdfiles import read_arrays
from trainer.engine.evaluate import evaluate_weights
from trainer.errors import DataError
from trainer.ranks import Ranks

SKIP = {"num_workers": 0, "bad_images": "skip", "bad_images_limit": 0.2}
BOTH = {"DataLoader__Train__loader": SKIP, "DataLoader__Eval__loader": SKIP}


@pytest.fixture
def damaged(workshop: Any) -> Any:
    for name in ("train3", "train12", "val2"):
        (workshop.folder / f"{name}.png").write_bytes(b"no image")
    return workshop


def rows(workshop: Any, event: str, output: str = "output") -> list[dict[str, Any]]:
    lines = (workshop.folder / output / "metrics.jsonl").read_text().splitlines()
    return [row for line in lines if (row := json.loads(line))["event"] == event]


def weights(workshop: Any, output: str = "output") -> dict[str, Any]:
    return read_arrays(workshop.folder / output / "latest.pdparams")


def test_a_training_goes_on_without_bad_images_and_says_which(damaged: Any, capsys: Any):
    damaged.train(**BOTH)
    printed = capsys.readouterr().out
    assert printed.count("bad image, skipped: ") == 3
    for place in ("train.txt:4: ", "train.txt:13: ", "val.txt:3: "):
        assert printed.count(place) == 1
    assert (
        "[Train][Epoch 1/2]2 images could not be read; others of the list were trained on instead" in printed
    )
    assert "1 image could not be read and is left out" in printed
    assert [row["bad_images"] for row in rows(damaged, "epoch")] == [2, 2]


def test_an_evaluation_counts_what_it_could_read(damaged: Any):
    damaged.train(**BOTH)
    without = damaged.folder / "val.txt"
    found = evaluate_weights(damaged.config(**BOTH), Ranks(), weights=None)
    assert found.bad_images == 1
    lines = without.read_text().splitlines(keepends=True)
    without.write_text("".join(line for line in lines if not line.startswith("val2.")))
    expected = evaluate_weights(damaged.config(**BOTH), Ranks(), weights=None)
    assert expected.bad_images == 0
    assert found.values == pytest.approx(expected.values, rel=1e-6)
    assert found.evaluated is not None
    assert expected.evaluated is not None
    assert found.evaluated.largest_class == expected.evaluated.largest_class == 2 / 5
    assert found.evaluated.images == 5


@pytest.mark.parametrize("at", [1, 2, 5])
def test_a_stopped_training_goes_on_bit_for_bit_beside_bad_images(damaged: Any, at: int):
    damaged.train(**BOTH)
    halves = {**BOTH, "Global__output_dir": str(damaged.folder / "halves")}
    damaged.train_and_stop(at=at, **halves)
    damaged.train(**halves, resume="latest")
    one, other = weights(damaged), weights(damaged, "halves")
    assert all(np.array_equal(one[key], other[key]) for key in one)
    counts = [
        {row["epoch"]: row["bad_images"] for row in rows(damaged, "epoch", of)} for of in ("output", "halves")
    ]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("split", ["Train", "Eval"])
def test_more_than_the_limit_ends_a_training_as_refused_data(damaged: Any, split: str):
    few = {**BOTH, f"DataLoader__{split}__loader": {**SKIP, "bad_images_limit": 0.06}}
    with pytest.raises(DataError, match=r"expected at most 0.06 of the list's \d+ images") as caught:
        damaged.train(**few)
    assert "the first: " in str(caught.value)


def test_two_ranks_count_bad_images_together(damaged: Any):
    changes = {
        **BOTH, "Arch__dropout_prob": 0.0, "Global__epochs": 1,
        "DataLoader__Train__sampler": {"batch_size": 2},
        "Global__output_dir": str(damaged.folder / "together"),
    }  # fmt: skip
    path = damaged.folder / "two.yaml"
    path.write_text(yaml.safe_dump(damaged._document(changes)))
    run_ranks(2, "-m", "trainer", "train", "-c", str(path))
    assert rows(damaged, "epoch", "together")[-1]["bad_images"] == 2


def test_two_ranks_refuse_too_many_at_the_same_step(damaged: Any):
    changes = {
        "DataLoader__Train__loader": {**SKIP, "bad_images_limit": 0.07},
        "DataLoader__Train__sampler": {"batch_size": 2},
        "Global__output_dir": str(damaged.folder / "together"),
    }
    path = damaged.folder / "two.yaml"
    path.write_text(yaml.safe_dump(damaged._document(changes)))
    with pytest.raises(
        AssertionError, match=r"expected at most 0.07 of the list's 15 images .* got 2 so far"
    ):
        run_ranks(2, "-m", "trainer", "train", "-c", str(path))


def test_an_evaluation_of_which_nothing_can_be_read_is_refused_before_training(workshop: Any):
    for path in workshop.folder.glob("val*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match="expected images to evaluate with, got none that can be read"):
        workshop.train(**BOTH)
    assert not (workshop.folder / "output").exists()
    workshop.train(**BOTH, Global__eval_during_train=False, Global__epochs=1)
