from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.trainer.data.conftest import IDENTITY, RANDOM, Folder, draw, encode
from trainer.config import extras
from trainer.config.data import ImageNetDataset
from trainer.config.ops import ImageOp
from trainer.data.loader import Loader
from trainer.data.normalization import Levels, Normalization, find_normalization, split_ops, write_image
from trainer.data.ops.build import build_transform
from trainer.data.rng import Stream
from trainer.extra import register_op

CROP = [{"RandCropImage": {"size": 16}}, {"RandFlipImage": {}}]
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def parse(ops: list[dict[str, Any]]) -> tuple[ImageOp, ...]:
    dataset = {"image_root": "", "cls_label_path": "", "transform_ops": ops}
    return ImageNetDataset.model_validate(dataset).transform_ops


ENDS: dict[str, list[dict[str, Any]]] = {
    "hwc": [{"DecodeImage": {}}, *CROP, {"NormalizeImage": {"order": "hwc", "mean": MEAN, "std": STD}}],
    "order-empty": [{"DecodeImage": {}}, *CROP, {"NormalizeImage": {"order": ""}}],
    "chw-after-move": [{"DecodeImage": {}}, *CROP, {"ToCHWImage": {}}, {"NormalizeImage": {"order": "chw"}}],
    "move-at-the-end": [{"DecodeImage": {}}, *CROP, {"NormalizeImage": {"order": ""}}, {"ToCHWImage": {}}],
    "decoded-chw": [{"DecodeImage": {"channel_first": True}}, {"NormalizeImage": {"order": "chw"}}],
    "bgr": [{"DecodeImage": {"to_rgb": False}}, *CROP, {"NormalizeImage": {"order": ""}}],
    "scale-a-string": [{"DecodeImage": {}}, *CROP, {"NormalizeImage": {"scale": "1.0/255.0", "order": ""}}],
    "scale-1": [{"DecodeImage": {}}, {"NormalizeImage": {"scale": 1, "mean": [0], "std": [1], "order": ""}}],
    "one-mean-for-all": [{"DecodeImage": {}}, {"NormalizeImage": {"mean": [0.5], "std": [0.3], "order": ""}}],
    "half": [{"DecodeImage": {}}, *CROP, {"NormalizeImage": {"order": "", "output_fp16": True}}],
    "four-channels": [{"DecodeImage": {}}, *CROP, {"NormalizeImage": {"order": "", "channel_num": 4}}],
    "four-channels-chw": [
        {"DecodeImage": {}}, {"ToCHWImage": {}},
        {"NormalizeImage": {"order": "chw", "channel_num": 4, "output_fp16": True}},
    ],
    "of-paddle": [{"DecodeImage": {}}, {"ToTensor": {}}, {"Normalize": {"mean": MEAN, "std": STD}}],
    "of-paddle-hwc": [
        {"DecodeImage": {}}, {"ToTensor": {"data_format": "HWC"}},
        {"Normalize": {"mean": MEAN, "std": STD, "data_format": "HWC"}},
    ],
    "to-tensor-alone": [{"DecodeImage": {"backend": "pil", "to_np": False}}, {"ToTensor": {}}],
    "in-the-range-of-levels": [
        {"DecodeImage": {}}, {"Normalize": {"mean": [120, 110, 100], "data_format": "HWC"}},
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", ENDS)
def test_uint8_and_the_table_give_the_bits_of_the_whole_list(name: str) -> None:
    ops = parse(ENDS[name])
    normalization = find_normalization(ops)
    assert normalization is not None
    whole, part = build_transform(ops), build_transform(ops, uint8=True)
    for number in range(4):
        data = encode(draw(number))
        expected, image = whole(data, Stream(number).rng), part(data, Stream(number).rng)
        assert (image.dtype, image.shape[2]) == (np.uint8, 3)
        found = normalization.apply(image[None])[0]
        assert found.dtype == np.float32
        assert found.tobytes() == expected.tobytes()


NOT_ENDS: dict[str, list[dict[str, Any]]] = {
    "erased-after": [{"DecodeImage": {}}, {"NormalizeImage": {"order": ""}}, {"RandomErasing": {}}],
    "flipped-after": [{"DecodeImage": {}}, {"NormalizeImage": {"order": ""}}, {"RandFlipImage": {}}],
    "floats-before": [{"DecodeImage": {}}, {"PCALighting": {}}, {"NormalizeImage": {"order": ""}}],
    "padded-to-floats": [{"DecodeImage": {}}, {"Padv2": {"size": 48}}, {"NormalizeImage": {"order": ""}}],
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_ENDS)
def test_what_needs_floating_point_numbers_keeps_the_whole_list_with_the_reader(name: str) -> None:
    assert find_normalization(parse(NOT_ENDS[name])) is None


def test_channels_that_are_turned_round_stay_with_the_reader() -> None:
    turned = {"Normalize": {"mean": MEAN, "std": STD, "data_format": "HWC", "to_rgb": True}}
    ops = parse([{"DecodeImage": {}}, {"ToTensor": {"data_format": "HWC"}}, turned])
    assert find_normalization(ops) is None


def test_operations_of_the_user_may_make_anything_so_nothing_is_left_to_the_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(extras, "_REGISTERED", {})
    register_op("Halve")(lambda: lambda image, rng: image / 2)
    assert find_normalization(parse([{"DecodeImage": {}}, {"Halve": {}}, IDENTITY])) is None


def test_operations_that_stay_are_those_before_the_end() -> None:
    ops = parse(ENDS["chw-after-move"])
    head, tail = split_ops(ops)
    assert [op.label for op in head] == ["DecodeImage", "RandCropImage", "RandFlipImage"]
    assert [op.label for op in tail] == ["ToCHWImage", "NormalizeImage"]


def test_a_loader_of_uint8_has_the_same_images_labels_and_places(folder: Folder) -> None:
    split = folder.draw(10).split(RANDOM, shuffle=True)
    samples = folder.samples()
    floats, levels = (
        Loader(split=split, samples=samples, rank=0, world_size=1, seed=3, training=True, uint8=uint8)
        for uint8 in (False, True)
    )
    for one, other in zip(floats.batches(1), levels.batches(1), strict=True):
        assert (one.images.dtype, other.images.dtype) == (np.float32, np.uint8)
        assert other.images.shape == (len(one.images), 16, 16, 3)
        assert levels.normalized(other.images).tobytes() == one.images.tobytes()
        assert (one.labels == other.labels).all()
        assert (one.indices == other.indices).all()
        assert one.end == other.end


def test_images_that_are_mixed_stay_floating_point(folder: Folder) -> None:
    split = folder.draw(8).split(RANDOM, batch_ops=[{"MixupOperator": {"alpha": 0.2}}])
    loader = Loader(
        split=split, samples=folder.samples(), rank=0, world_size=1, seed=0, training=True, uint8=True
    )
    assert loader.normalization is None
    assert next(loader.batches(0)).images.dtype == np.float32


def test_no_image_at_all_makes_no_row() -> None:
    normalization = Normalization(table=np.zeros((3, 256), dtype=np.float32))
    assert normalization.apply(np.zeros((0, 4, 5, 3), dtype=np.uint8)).shape == (0, 3, 4, 5)


@pytest.mark.parametrize("channels", [3, 4])
def test_an_image_that_is_looked_up_late_says_what_memory_it_takes(channels: int) -> None:
    table = np.random.default_rng(0).normal(size=(channels, 256)).astype(np.float32)
    table[3:] = 0
    levels = Levels(image=draw(1).astype(np.uint8), normalization=Normalization(table=table))
    made = levels.array()
    assert (levels.shape, levels.dtype, levels.nbytes, levels.size) == (
        made.shape, made.dtype, made.nbytes, made.size,
    )  # fmt: skip
    place = np.full_like(made, 7)
    write_image(levels, place)
    assert place.tobytes() == made.tobytes()
    assert made[0, 2, 3] == table[0, levels.image[2, 3, 0]]
