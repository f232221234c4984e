from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.trainer.data.conftest import IDENTITY, Folder, Pixels
from trainer.config.data import ImageNetDataset, SplitSection
from trainer.data.loader import Loader
from trainer.data.ops.build import Transforms
from trainer.data.rng import Stream


def photograph(seed: int, *, width: int = 400, height: int = 300) -> Pixels:
    rough = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)


def jpeg(image: Pixels, *, mode: str = "RGB", orientation: int | None = None, kind: str = "JPEG") -> bytes:
    exif, file = Image.Exif(), io.BytesIO()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.fromarray(image).convert(mode).save(file, kind, exif=exif)
    return file.getvalue()


def both(op: dict[str, Any], data: bytes, *, backend: str = "cv2", seed: int = 0) -> tuple[Pixels, Pixels]:
    """Return the pixels of exact and of fast decoding, and see that both drew the same."""
    ops = [{"DecodeImage": {"backend": backend}}, op, IDENTITY]
    parsed = ImageNetDataset.model_validate({"image_root": "", "cls_label_path": "", "transform_ops": ops})
    found = []
    streams = [Stream(seed), Stream(seed)]
    for fast, stream in zip((False, True), streams, strict=True):
        transform = Transforms(parsed.transform_ops, fast=fast).choose()
        found.append(transform(data, stream.rng))
    assert streams[0].state() == streams[1].state()
    return found[0], found[1]


OPS: dict[str, dict[str, Any]] = {
    "rand-crop": {"RandCropImage": {"size": 32}},
    "rand-crop-pil": {"RandCropImage": {"size": 32, "backend": "pil", "interpolation": "bicubic"}},
    "rand-crop-random": {"RandCropImage": {"size": [40, 24], "interpolation": "random"}},
    "resized-crop": {"RandomResizedCrop": {"size": 32}},
    "short": {"ResizeImage": {"resize_short": 48}},
    "size": {"ResizeImage": {"size": [48, 40]}},
    "of-paddle": {"Resize": {"size": 48}},
}


@pytest.mark.parametrize("backend", ["cv2", "pil"])
@pytest.mark.parametrize("name", OPS)
def test_fast_pixels_are_near_the_exact_ones_and_are_not_the_same(name: str, backend: str) -> None:
    differences = []
    for seed in range(6):
        exact, fast = both(OPS[name], jpeg(photograph(seed)), backend=backend, seed=seed)
        assert fast.shape == exact.shape
        differences.append(np.abs(exact - fast).mean())
    assert 0 < max(differences) < 8  # of 255


@pytest.mark.parametrize("backend", ["cv2", "pil"])
def test_a_part_that_would_have_to_be_enlarged_is_decoded_whole(backend: str) -> None:
    data = jpeg(photograph(1, width=60, height=50))
    exact, fast = both({"RandCropImage": {"size": 32}}, data, backend=backend)
    assert np.array_equal(exact, fast)
    exact, fast = both({"ResizeImage": {"size": [31, 25]}}, data, backend=backend)
    assert np.array_equal(exact, fast)  # 60 / 31 is less than two


@pytest.mark.parametrize("orientation", range(2, 9))
def test_what_exif_turns_is_turned_by_opencv_and_decoded_whole(orientation: int) -> None:
    data = jpeg(photograph(2), orientation=orientation)
    exact, fast = both({"ResizeImage": {"resize_short": 40}}, data)
    assert np.array_equal(exact, fast)
    upright = both({"ResizeImage": {"resize_short": 40}}, jpeg(photograph(2)))[0]
    assert (exact.shape == upright.shape) == (orientation < 5)


def test_exif_that_turns_nothing_keeps_nothing_from_being_fast() -> None:
    plain = both({"ResizeImage": {"resize_short": 40}}, jpeg(photograph(2)))[1]
    told = both({"ResizeImage": {"resize_short": 40}}, jpeg(photograph(2), orientation=1))
    assert np.array_equal(told[1], plain)
    assert not np.array_equal(told[0], told[1])


def test_pillow_does_not_turn_an_image_here_either() -> None:
    exact, fast = both({"ResizeImage": {"size": 40}}, jpeg(photograph(2), orientation=6), backend="pil")
    assert 0 < np.abs(exact - fast).mean() < 6


@pytest.mark.parametrize("backend", ["cv2", "pil"])
@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_come_out_as_in_the_exact_way(mode: str, backend: str) -> None:
    exact, fast = both({"ResizeImage": {"size": 40}}, jpeg(photograph(3), mode=mode), backend=backend)
    assert fast.shape == exact.shape == (3, 40, 40)
    assert 0 < np.abs(exact - fast).mean() < 6
    if mode == "L":
        assert np.array_equal(fast[0], fast[1])


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP"])
def test_what_is_no_jpeg_is_decoded_whole(kind: str) -> None:
    exact, fast = both({"RandCropImage": {"size": 32}}, jpeg(photograph(4), kind=kind))
    assert np.array_equal(exact, fast)


@pytest.mark.parametrize("width", [255, 256, 257, 263])
def test_sizes_that_no_block_divides_lose_no_pixel_at_the_edge(width: int) -> None:
    ramp = np.repeat(np.linspace(0, 255, width).astype(np.uint8)[None, :, None], 250, axis=0)
    exact, fast = both({"ResizeImage": {"size": 32}}, jpeg(np.repeat(ramp, 3, axis=2)))
    assert np.abs(exact - fast)[:, :, [0, -1]].max() < 8


def test_a_loader_decodes_as_its_section_says(folder: Folder) -> None:
    (folder.path / "0.jpg").write_bytes(jpeg(photograph(0)))
    folder.list.write_text("0.jpg 0\n")
    ops = [{"DecodeImage": {}}, {"ResizeImage": {"size": 20}}, IDENTITY]
    found = []
    for decode in ("exact", "fast"):
        split = folder.split(ops, loader={"decode": decode}, batch_size=1)
        loader = Loader(split=split, samples=folder.samples(), rank=0, world_size=1, seed=0, training=True)
        found.append(next(loader.batches(0)).images)
    assert not np.array_equal(found[0], found[1])


def test_fast_is_refused_where_nothing_makes_images_smaller() -> None:
    dataset = {"name": "ImageNetDataset", "image_root": "", "cls_label_path": ""}
    ops = [{"DecodeImage": {}}, {"CropImage": {"size": 20}}, IDENTITY]
    with pytest.raises(ValueError, match=r"expected RandCropImage, .* got CropImage; set decode: exact"):
        SplitSection.model_validate(
            {
                "dataset": {**dataset, "transform_ops": ops}, "sampler": {"batch_size": 1},
                "loader": {"decode": "fast"},
            }
        )  # fmt: skip
