"""Where an image is cut, padded and turned, against slow readings of the specification."""

from __future__ import annotations

import math
import random
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from tests.trainer.data.conftest import IDENTITY, Pixels, agree, draw, encode, run, transform
from trainer.data.rng import Stream
from trainer.errors import ImageError

few = settings(max_examples=25, deadline=None)
sides = st.integers(8, 48)
FLAGS = [cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_AREA, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4]


def test_a_random_part_is_cut_out() -> None:
    for seed in range(8):
        python = random.Random(seed)
        top, left = python.randint(0, 20), python.randint(0, 10)
        result = run(encode(draw(1)), {"RandomCropImage": {"size": [30, 10]}}, IDENTITY, seed=seed)
        assert np.array_equal(result, draw(1)[top : top + 10, left : left + 30, ::-1])


@pytest.mark.parametrize("op", ["RandomCropImage", "RandCropImageV2"])
def test_a_part_larger_than_the_image_is_refused(op: str) -> None:
    with pytest.raises(ImageError, match="expected at least 41 × 41 pixels, got 40 × 30"):
        run(encode(draw(1)), {op: {"size": 41}}, IDENTITY)


def test_the_second_random_crop_draws_one_place_too_many_and_never_cuts_short() -> None:
    def reading(image: Pixels) -> Pixels:
        top, left = random.randint(0, 30 - 28 + 1), random.randint(0, 40 - 38 + 1)
        return image[min(top, 2) :, min(left, 2) :][:28, :38]

    agree([{"RandCropImageV2": {"size": [38, 28]}}], reading, images=30)


def test_the_second_random_crop_draws_nothing_for_an_image_that_has_the_size() -> None:
    operation, stream = transform({"RandCropImageV2": {"size": [40, 30]}}, IDENTITY), Stream(3)
    before = stream.state()
    result = operation(encode(draw(1)), stream.rng)
    assert np.array_equal(result.transpose(1, 2, 0), draw(1)[:, :, ::-1])
    assert stream.state() == before


@few
@given(width=sides, height=sides, size=st.integers(4, 24), pad=st.integers(0, 8))
def test_a_square_is_cut_at_its_ratio_and_resized(width: int, height: int, size: int, pad: int) -> None:
    def reading(image: Pixels) -> Pixels:
        side = int(size / (size + pad) * min(width, height))
        top, left = (height - side) // 2, (width - side) // 2
        return cv2.resize(image[top : top + side, left : left + side], (size, size))

    op = {"CropImageAtRatio": {"size": size, "pad": pad}}
    agree([op], reading, images=1, width=width, height=height)


@few
@given(
    width=sides, height=sides, right=st.integers(0, 9), below=st.integers(0, 9),
    mode=st.sampled_from([0, 1, 2]), fill=st.sampled_from([0, 127.5, [1, 2, 3.25]]),
)  # fmt: skip
def test_padding_to_a_size_puts_the_image_where_the_mode_says(
    width: int, height: int, right: int, below: int, mode: int, fill: Any
) -> None:
    def reading(image: Pixels) -> Pixels:
        padded = np.zeros((height + below, width + right, 3), dtype=np.float32)
        top, left = {0: (0, 0), 1: (below // 2, right // 2), 2: (below, right)}[mode]
        for row in range(height + below):
            for column in range(width + right):
                inside = top <= row < top + height and left <= column < left + width
                padded[row, column] = image[row - top, column - left] if inside else fill
        return padded

    op = {"Padv2": {"size": [width + right, height + below], "pad_mode": mode, "fill_value": fill}}
    agree([op], reading, images=1, width=width, height=height)


def test_padding_goes_to_the_next_multiple_where_there_is_no_size() -> None:
    result = run(encode(draw(1)), {"Padv2": {"size_divisor": 16}}, IDENTITY)
    assert result.shape == (32, 48, 3)
    assert np.array_equal(result[:30, :40], draw(1)[:, :, ::-1])
    assert set(np.unique(result[30:])) == set(np.unique(result[:, 40:])) == {127.5}


def test_padding_takes_offsets_across_and_down() -> None:
    op = {"Padv2": {"size": [50, 40], "pad_mode": -1, "offsets": [7, 3], "fill_value": 0}}
    result = run(encode(draw(1)), op, IDENTITY)
    assert np.array_equal(result[3:33, 7:47], draw(1)[:, :, ::-1])


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"size": [39, 60]}, "expected at most 39 × 60 pixels, got 40 × 30; resize it before Padv2"),
        ({"size": 44, "pad_mode": -1, "offsets": [5, 0]},
         "expected at most 44 × 44 pixels, got 40 × 30 at 5, 0"),
    ],
)  # fmt: skip
def test_an_image_larger_than_its_padding_is_refused(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ImageError, match=says):
        run(encode(draw(1)), {"Padv2": keys}, IDENTITY)


def test_the_whole_chain_of_pulc_keeps_its_formula() -> None:
    """That of its attribute configs."""
    ops = [
        {"ResizeImage": {"size": [19, 25]}}, {"Padv2": {"size": [21, 27], "pad_mode": 1, "fill_value": 0}},
        {"RandomCropImage": {"size": [19, 25]}}, {"RandFlipImage": {"flip_code": 1}},
    ]  # fmt: skip
    norm = {"NormalizeImage": {"scale": "1.0/255.0", "mean": [0.5], "std": [0.25], "order": ""}}

    def reading(image: Pixels) -> Pixels:
        padded = np.pad(cv2.resize(image, (19, 25)), ((1, 1), (1, 1), (0, 0)))
        top, left = random.randint(0, 2), random.randint(0, 2)
        part = padded[top : top + 25, left : left + 19]
        part = part[:, ::-1] if random.randint(0, 1) else part
        return (part.astype(np.float32) * np.float32(1 / 255) - np.float32(0.5)) / np.float32(0.25)

    agree(ops, reading, last=norm)


@pytest.mark.parametrize("fill", [0, 7, [1, 2, 3]])
def test_pillow_s_padding_is_met(fill: Any) -> None:
    def reading(image: Pixels) -> Pixels:
        colour = tuple(fill) if isinstance(fill, list) else (fill,) * 3
        return np.asarray(ImageOps.expand(Image.fromarray(image), border=3, fill=colour))

    agree([{"Pad": {"padding": 3, "fill": fill}}], reading, images=2)


def test_opencv_s_padding_is_met() -> None:
    def reading(image: Pixels) -> Pixels:
        return np.pad(image, ((2, 2), (2, 2), (0, 0)), constant_values=9)

    agree([{"Pad": {"padding": 2, "fill": 9, "backend": "cv2"}}], reading, images=2)


@pytest.mark.parametrize("prob", [1, 0.5])
def test_what_lies_around_a_random_area_is_overwritten(prob: float) -> None:
    def reading(image: Pixels) -> Pixels:
        if np.random.random() >= prob:
            return image
        height, width = image.shape[:2]
        for _ in range(10):
            area = np.random.uniform(0.2, 1.0) * height * width
            aspect = math.exp(np.random.uniform(math.log(0.5), math.log(3)))
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if w <= width and h <= height:
                top, left = random.randint(0, height - h), random.randint(0, width - w)
                break
        else:
            raise AssertionError("no try fits")
        padded = np.full_like(image, 5)
        padded[top : top + h, left : left + w] = image[top : top + h, left : left + w]
        return padded

    keys = {"prob": prob, "padding_num": 5, "scale": [0.2, 1.0], "ratio": [0.5, 3.0]}
    agree([{"CropWithPadding": keys}], reading)


def test_an_image_is_turned_by_quarters_and_the_turn_is_noted() -> None:
    operation = transform({"RandomRot90": None}, IDENTITY)
    for seed in range(12):
        rng = Stream(seed).rng
        result = operation(encode(draw(1)), rng).transpose(1, 2, 0)
        quarters = random.Random(seed).choice([0, 1, 2, 3])
        expected = draw(1)[:, :, ::-1]
        for _ in range(quarters):  # a quarter counter-clockwise: the last column becomes the first row
            expected = expected.transpose(1, 0, 2)[::-1]
        assert np.array_equal(result, expected)
        assert rng.labels == {"random_rot90_orientation": quarters}


@pytest.mark.parametrize("prob", [1, 0.4])
def test_an_image_goes_through_a_smaller_square(prob: float) -> None:
    def reading(image: Pixels) -> Pixels:
        if np.random.random() >= prob:
            return image
        side = int(np.random.uniform(0.2, 1.0) * 30)
        small = cv2.resize(image, (side, side), interpolation=np.random.choice(FLAGS))
        return cv2.resize(small, (40, 30), interpolation=np.random.choice(FLAGS))

    agree([{"RandomInterpolationAugment": {"prob": prob}}], reading)
