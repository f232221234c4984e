"""CustomLabelDataset: images whose labels operations draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.trainer.data.conftest import IDENTITY, draw
from trainer.config.data import CustomLabelDataset, SplitSection
from trainer.data.lists import load_list
from trainer.data.loader import Loader
from trainer.errors import DataError

TURN = [{"DecodeImage": {}}, {"ResizeImage": {"size": 16}}, {"RandomRot90": None}, IDENTITY]
KEY = "random_rot90_orientation"


def dataset(folder: Path, text: str, **keys: Any) -> CustomLabelDataset:
    (folder / "list.txt").write_text(text)
    values = {"image_root": str(folder), "sample_list_path": str(folder / "list.txt"), "label_key": KEY}
    return CustomLabelDataset.model_validate({**values, "transform_ops": TURN, **keys})


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in ("a.png", "b c.png", "d.png"):
        cv2.imwrite(str(tmp_path / name), draw(ord(name[0])))
    return tmp_path


def test_a_line_is_a_path(images: Path) -> None:
    samples = load_list(dataset(images, "a.png\nb c.png\n"), class_num=4)
    assert [Path(path).name for path in samples.paths] == ["a.png", "b c.png"]
    assert samples.labels is None
    assert samples.present_classes() == {0, 1, 2, 3}


def test_a_path_ends_at_a_delimiter_that_is_given(images: Path) -> None:
    samples = load_list(dataset(images, "a.png\t3\nb c.png\t1\n", delimiter="\t"), class_num=4)
    assert [Path(path).name for path in samples.paths] == ["a.png", "b c.png"]


def test_bad_lines_are_named(images: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_list(dataset(images, "a.png\n\nnone.png\n/d.png\na.png\n"), class_num=4)
    said = [problem.partition("list.txt:")[2] for problem in caught.value.problems]
    assert [line.partition(",")[0] for line in said] == [
        "2: expected a path", "3: expected an image file", "4: expected an image file",
    ]  # fmt: skip


@pytest.mark.parametrize("workers", [0, 3])
def test_the_label_is_what_was_done_to_the_image(images: Path, workers: int) -> None:
    names = ["a.png", "b c.png", "d.png"]
    custom = dataset(images, "\n".join(names))
    split = SplitSection.model_validate(
        {
            "dataset": {"name": "CustomLabelDataset", **custom.model_dump(exclude={"transform_ops"}),
                        "transform_ops": TURN},
            "sampler": {"batch_size": 2, "shuffle": True}, "loader": {"num_workers": workers},
        }
    )  # fmt: skip
    samples = load_list(custom, class_num=4)
    loader = Loader(split=split, samples=samples, rank=0, world_size=1, seed=1, training=True)
    upright = [cv2.resize(cv2.imread(str(images / name)), (16, 16))[:, :, ::-1] for name in names]
    seen = set()
    for epoch in range(6):
        for batch in loader.batches(epoch):
            assert (batch.labels.dtype, batch.labels.shape) == (np.int64, (len(batch.images), 1))
            for image, label, index in zip(batch.images, batch.labels[:, 0], batch.indices, strict=True):
                assert np.array_equal(image.transpose(1, 2, 0), np.rot90(upright[index], label))
                seen.add(int(label))
    assert seen == {0, 1, 2, 3}
