from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.trainer.data.conftest import PLAIN
from trainer.config.data import MultiLabelDataset, SplitSection
from trainer.data.lists import SampleList, load_list
from trainer.data.loader import Loader
from trainer.errors import DataError


def load(folder: Any, text: str, *, class_num: int = 3, **keys: Any) -> SampleList:
    folder.draw(3)
    folder.list.write_text(text)
    dataset = MultiLabelDataset.model_validate(
        {"image_root": str(folder.path), "cls_label_path": str(folder.list), "transform_ops": PLAIN, **keys}
    )
    return load_list(dataset, class_num=class_num)


def test_labels_are_a_number_for_each_class(folder: Any) -> None:
    samples = load(folder, "001.jpg\t1,0,1\n000.jpg\t0, 0,1\tignored\n")
    assert samples.labels.dtype == np.float32
    assert samples.labels.tolist() == [[1, 0, 1], [0, 0, 1]]
    assert samples.present_classes() == {0, 2}
    assert samples.paths[0].endswith("001.jpg")


def test_ratios_stand_beside_the_labels(folder: Any) -> None:
    samples = load(folder, "000.jpg\t1,0,1\n001.jpg\t0,0,1\n", label_ratio=True)
    assert samples.labels.tolist() == [[[1, 0, 1], [0.5, 0, 1]], [[0, 0, 1], [0.5, 0, 1]]]
    assert samples.present_classes() == {0, 2}


def test_all_bad_lines_are_refused_at_once_with_their_numbers(folder: Any) -> None:
    lines = [
        "000.jpg\t1,0,1", "001.jpg 1,0,1", "", "002.jpg\t1,0", "001.jpg\t1,2,0", "\t1,0,1", "none.jpg\t1,0,1",
        "000.jpg\t1,1,1",
    ]  # fmt: skip
    with pytest.raises(DataError) as caught:
        load(folder, "\n".join(lines))
    problems = [problem.replace(f"{folder.list}:", "") for problem in caught.value.problems]
    assert [problem.split(": ")[0] for problem in problems] == ["2", "3", "4", "5", "6", "7", "8"]
    assert problems[0] == "2: expected a path, a tab and a 0 or 1 for each class, got '001.jpg 1,0,1'"
    assert "expected 3 labels, got 2; Arch.class_num is 3" in problems[2]
    assert "expected 0 or 1 for each class, with commas between, got '2'" in problems[3]
    assert "expected label (1, 0, 1) as on line 1" in problems[6]


def test_a_loader_hands_them_on(folder: Any) -> None:
    samples = load(folder, "000.jpg\t1,0,1\n001.jpg\t0,0,1\n")
    split = SplitSection.model_validate(
        {
            "dataset": {"name": "MultiLabelDataset", "image_root": str(folder.path),
                        "cls_label_path": str(folder.list), "transform_ops": PLAIN},
            "sampler": {"batch_size": 2},
        }
    )  # fmt: skip
    loader = Loader(split=split, samples=samples, rank=0, world_size=1, seed=0, training=True)
    (batch,) = loader.batches(0)
    assert batch.labels.tolist() == [[1, 0, 1], [0, 0, 1]]
