from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from trainer.config.data import ImageNetDataset, SplitSection
from trainer.data.lists import SampleList, load_list
from trainer.data.ops.build import build_transform
from trainer.data.rng import Rng, Stream

NORMALIZE = {
    "NormalizeImage": {"scale": "1.0/255.0", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.25], "order": ""}
}
PLAIN: list[dict[str, Any]] = [{"DecodeImage": {}}, {"ResizeImage": {"size": 16}}, NORMALIZE]
RANDOM: list[dict[str, Any]] = [
    {"DecodeImage": {}},
    {"RandCropImage": {"size": 16}},
    {"RandFlipImage": {}},
    NORMALIZE,
]
Pixels = np.ndarray[Any, Any]
IDENTITY = {"NormalizeImage": {"scale": 1.0, "mean": [0.0], "std": [1.0], "order": ""}}


def draw(seed: int, *, width: int = 40, height: int = 30) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Draw a smooth image, so that JPEG keeps it and every crop differs."""
    rough = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)


def encode(image: np.ndarray[Any, Any], ending: str = ".png") -> bytes:
    return bytes(cv2.imencode(ending, image)[1])


def transform(*ops: dict[str, Any], first: dict[str, Any] | None = None) -> Callable[[bytes, Rng], Pixels]:
    dataset = ImageNetDataset.model_validate(
        {"image_root": "", "cls_label_path": "", "transform_ops": [first or {"DecodeImage": {}}, *ops]}
    )
    return build_transform(dataset.transform_ops)


def run(data: bytes, *ops: dict[str, Any], seed: int = 0) -> Pixels:
    """Apply operations that leave pixels as they are, and return them as [H, W, C]."""
    return transform(*ops)(data, Stream(seed).rng).transpose(1, 2, 0)


def agree(
    ops: Sequence[dict[str, Any]],
    reading: Callable[[Pixels], Pixels],
    *,
    seed: int = 0,
    images: int = 25,
    width: int = 40,
    height: int = 30,
    first: dict[str, Any] | None = None,
    last: dict[str, Any] | None = IDENTITY,
) -> None:
    """Compare operations with a reading of them that draws from the seeded modules, image after image.

    The reading takes and returns [H, W, C], RGB. `first` decodes; `last` makes numbers, where `ops` do not.
    """
    operation, stream = transform(*ops, *([last] if last else []), first=first), Stream(seed)
    random.seed(seed)
    np.random.seed(seed)
    for number in range(images):
        image = draw(number, width=width, height=height)
        expected = reading(image[:, :, ::-1].copy())
        result = operation(encode(image), stream.rng).transpose(1, 2, 0)
        np.testing.assert_array_equal(result, expected, err_msg=f"image {number}")


class Folder:
    """A folder of images with a list file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.list = path / "train_list.txt"

    def draw(self, count: int, *, classes: int = 3) -> Folder:
        lines = []
        for index in range(count):
            (self.path / f"{index:03d}.jpg").write_bytes(encode(draw(index), ".jpg"))
            lines.append(f"{index:03d}.jpg {index % classes}\n")
        self.list.write_text("".join(lines))
        return self

    def dataset(self, ops: Sequence[dict[str, Any]] = PLAIN, **keys: Any) -> ImageNetDataset:
        return ImageNetDataset.model_validate(
            {
                "image_root": str(self.path),
                "cls_label_path": str(self.list),
                "transform_ops": list(ops),
                **keys,
            }
        )

    def samples(self, *, class_num: int = 3) -> SampleList:
        return load_list(self.dataset(), class_num=class_num)

    def split(
        self,
        ops: Sequence[dict[str, Any]] = PLAIN,
        *,
        loader: dict[str, Any] | None = None,
        batch_ops: Sequence[dict[str, Any]] = (),
        **sampler: Any,
    ) -> Any:
        dataset = self.dataset(ops).model_dump(exclude={"transform_ops"})
        return SplitSection.model_validate(
            {
                "dataset": {
                    "name": "ImageNetDataset",
                    **dataset,
                    "transform_ops": list(ops),
                    "batch_transform_ops": list(batch_ops),
                },
                "sampler": {"batch_size": 4, **sampler},
                "loader": loader or {},
            }
        )


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def write_list(folder: Folder) -> Callable[[str], Folder]:
    def write(text: str) -> Folder:
        folder.list.write_text(text)
        return folder

    return write
