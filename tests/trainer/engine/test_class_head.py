"""A head goes with the names of its classes, whatever their numbers are."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest

from trainer.checkpoints.pdfiles import read_arrays
from trainer.engine.class_head import saved_names

SMALL = {"name": "PPLCNet_x0_25", "class_num": 3, "dropout_prob": 0.0, "class_expand": 64}
STILL = {"Global__epochs": 1, "Global__iter_per_epoch": 1, "Optimizer__lr": {"learning_rate": 0.0}}


def name_classes(workshop: Any, *names: str) -> None:
    text = "".join(f"{number} {name}\n" for number, name in enumerate(names))
    (workshop.folder / "labels.txt").write_text(text)


def begin(workshop: Any, source: str, *, classes: int, output: str = "second", **changes: Any) -> Any:
    """Begin a training from weights at a rate of 0; returns its head, [K, 64 + 1]."""
    arch = {**SMALL, "class_num": classes, "pretrained": str(workshop.folder / source)}
    workshop.train(**{**STILL, "Arch": arch, "Global__output_dir": str(workshop.folder / output), **changes})
    return head(workshop, output), (workshop.folder / output / "train.log").read_text()


def head(workshop: Any, output: str) -> Any:
    arrays = read_arrays(workshop.folder / output / "latest.pdparams")
    return np.concatenate([arrays["fc.weight"].T, arrays["fc.bias"][:, None]], axis=1)


@pytest.fixture
def first(workshop: Any) -> Any:
    name_classes(workshop, "ash", "elm", "oak")
    workshop.train(Arch=SMALL, Global__epochs=1, Optimizer__lr={"learning_rate": 0.1})
    return head(workshop, "output")


@pytest.mark.parametrize("source", ["output/epoch_1.pdparams", "output/best_model/model"])
def test_rows_of_classes_that_stay_are_kept(workshop: Any, first: Any, source: str) -> None:
    name_classes(workshop, "ash", "beech", "elm", "fir", "oak")
    found, log = begin(workshop, source, classes=5)
    assert np.array_equal(found[[0, 2, 4]], first)
    assert not (found[[1, 3]][:, None] == first[None]).all(axis=2).any()
    assert "pretrained weights: head: 3 of 5 classes are kept by their names in " in log
    assert "; 2 drawn anew: beech, fir\n" in log
    assert "of another shape" not in log


def test_classes_in_another_order_keep_their_rows(workshop: Any, first: Any) -> None:
    name_classes(workshop, "oak", "ash", "elm")
    found, log = begin(workshop, "output/best_model", classes=3)
    assert np.array_equal(found, first[[2, 0, 1]])
    assert "head: 3 of 3 classes are kept by their names" in log
    name_classes(workshop, "fir", "elm", "yew")
    found, log = begin(workshop, "output/best_model", classes=3, output="third")
    assert np.array_equal(found[1], first[1])
    assert "1 of 3 classes are kept" in log
    assert "2 drawn anew: fir, yew; 2 gone: ash, oak" in log


def test_a_network_of_one_class_more_leaves_no_trace(workshop: Any, first: Any) -> None:
    """It is built to find the head where both have as many classes; dropout and orders stay as they were."""
    name_classes(workshop, "oak", "ash", "elm")
    begin(workshop, "output/best_model", classes=3, Arch__dropout_prob=0.5)
    by_name = read_arrays(workshop.folder / "second/latest.pdparams")
    (workshop.folder / "labels.txt").unlink()
    begin(workshop, "output/best_model", classes=3, output="third", Arch__dropout_prob=0.5)
    by_number = read_arrays(workshop.folder / "third/latest.pdparams")
    assert {key for key in by_name if not np.array_equal(by_name[key], by_number[key])} == {
        "fc.weight", "fc.bias",
    }  # fmt: skip


def test_without_names_or_a_common_one_a_head_is_taken_by_number(workshop: Any, first: Any) -> None:
    name_classes(workshop, "1", "2", "3")
    found, log = begin(workshop, "output/best_model", classes=3)
    assert np.array_equal(found, first)
    assert "head: no class has a name that " in log
    name_classes(workshop, "ash", "ash", "oak")
    found, log = begin(workshop, "output/best_model", classes=3, output="third")
    assert np.array_equal(found, first)
    assert "head: " not in log


def test_names_are_found_beside_a_file_that_was_copied(workshop: Any, first: Any) -> None:
    place = workshop.folder / "elsewhere"
    place.mkdir()
    shutil.copyfile(workshop.folder / "output/best_model.pdparams", place / "mine.pdparams")
    assert saved_names(place / "mine") is None
    (place / "labels.txt").write_text("0 ash\n1 elm\n2 oak\n")
    found = saved_names(place / "mine")
    assert found is not None
    assert list(found.names) == ["ash", "elm", "oak"]
    name_classes(workshop, "elm", "ash", "oak", "yew")
    rows, _ = begin(workshop, "elsewhere/mine.pdparams", classes=4)
    assert np.array_equal(rows[:3], first[[1, 0, 2]])


def test_a_changed_name_is_said_where_a_run_goes_on(workshop: Any, first: Any) -> None:
    name_classes(workshop, "ash", "elm", "fir")
    workshop.train(Arch=SMALL, Global__epochs=2, resume="latest")
    log = (workshop.folder / "output/train.log").read_text()
    assert "class names: ash, elm, fir, was ash, elm, oak" in log


def test_the_networks_of_a_pair_keep_their_heads(workshop: Any) -> None:
    name_classes(workshop, "ash", "elm", "oak")
    pair = {"name": "DistillationModel", "class_num": 3, "models": [{"Teacher": SMALL}, {"Student": SMALL}]}
    workshop.train(Arch=pair, Global__epochs=1)
    before = read_arrays(workshop.folder / "output/latest.pdparams")
    name_classes(workshop, "oak", "elm", "ash")
    workshop.train(
        **STILL, Arch=pair, Global__output_dir=str(workshop.folder / "second"),
        Global__pretrained_model=str(workshop.folder / "output/latest"),
    )  # fmt: skip
    after = read_arrays(workshop.folder / "second/latest.pdparams")
    for name in ("Teacher", "Student"):
        assert np.array_equal(after[f"{name}.fc.bias"], before[f"{name}.fc.bias"][::-1])
