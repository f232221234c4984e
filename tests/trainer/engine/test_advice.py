from __future__ import annotations

import shutil

from trainer.engine.advice import find_oddities
from trainer.engine.setup import load_lists


def oddities(workshop, **changes):
    config = workshop.config(**changes)
    return list(find_oddities(config, load_lists(config)))


def ops(size):
    return [{"DecodeImage": None}, {"ResizeImage": {"size": size}}, {"NormalizeImage": {"order": ""}}]


def test_a_usual_config_is_not_odd(workshop):
    assert oddities(workshop) == []


def test_classes_without_images_are_told(workshop):
    first, second = oddities(workshop, Arch__class_num=10)
    assert first == (
        "DataLoader.Train: expected images of all 10 classes of Arch.class_num, got none of 3, 4, 5, 6, 7, …"
    )
    assert second.startswith("DataLoader.Eval: ")


def test_sizes_that_disagree_are_told(workshop):
    changes = {
        "DataLoader__Train__dataset__transform_ops": ops(32),
        "DataLoader__Eval__dataset__transform_ops": ops(48),
    }
    (said,) = oddities(workshop, Global__image_shape=[3, 32, 32], **changes)
    assert "DataLoader.Train 32 × 32, DataLoader.Eval 48 × 48, Global.image_shape 32 × 32" in said


def test_images_of_both_lists_are_found_by_their_content(workshop):
    shutil.copy(workshop.folder / "train3.png", workshop.folder / "val0.png")
    (said,) = oddities(workshop)
    assert "got 1 that are: " in said
    assert said.count("val0.png is ") == 1
    assert "train3.png" in said
